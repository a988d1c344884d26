"""What a signatory does at a gate: read, sign, and carry what was signed elsewhere."""
