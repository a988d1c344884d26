"""What happened: entries, the Merkle tree over them, signed heads, and the files they live in."""
