"""Does the quarantine of this machine hold? Attempts to get out, made inside; and somebody outside who would notice."""
