"""From the raw maps of a network to boxes, and boxes onto pictures."""
