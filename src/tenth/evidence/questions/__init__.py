"""What two checkpoints can do: questions nobody could foresee, asked of both."""
