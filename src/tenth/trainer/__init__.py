"""The built-in trainer: one plain transformer and one loop. It reaches the supervisor through `tenth.client` only."""
