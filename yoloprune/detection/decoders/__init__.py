"""From the outputs of networks of any origin to boxes, a row a family."""
