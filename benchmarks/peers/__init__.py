"""tenth and the trainers that people use today, side by side on one machine: see README.md."""
