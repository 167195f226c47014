"""Darknet networks as graphs."""
