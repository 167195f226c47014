"""Graphs run in torch."""
