"""The demo: a real run under the whole law, with automatic people; and forgeries of its record."""
