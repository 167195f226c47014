"""How well a network detects."""
