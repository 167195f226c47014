"""Which channels depend on each other, which to remove, and the surgery that removes them."""
