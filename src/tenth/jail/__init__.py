"""The jail: where code that a model wrote runs, one process per program, and nowhere else."""
