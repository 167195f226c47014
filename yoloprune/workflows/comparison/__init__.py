"""Programs that thin networks, side by side: one row each in a table."""
