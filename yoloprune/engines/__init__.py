"""What runs networks: one protocol, a row an engine."""
