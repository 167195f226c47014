"""Networks written for other programs."""
