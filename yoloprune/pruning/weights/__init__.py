"""Weight pruning: masks of single weights, their files, and inference that skips the zeros."""
