"""Training and fine-tuning of networks with [yolo] heads."""
