"""Recovery without training: slim networks fitted to their dense ones."""
