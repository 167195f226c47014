"""What a command does, as functions that a Python user calls too."""
