"""Data in, text and weights out."""
