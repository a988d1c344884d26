"""Commands that write evidence for a gate: each reads a sealed checkpoint and writes JSON into one folder."""
