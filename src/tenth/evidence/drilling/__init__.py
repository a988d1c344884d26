"""Would the reviewers notice? A shadow, what is planted in it, and the packet about it."""
