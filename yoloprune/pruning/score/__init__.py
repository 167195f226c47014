"""Scores: how important each channel is."""
