"""A run as it goes on: what is heard of it, what has been raised, and how it is drawn."""
