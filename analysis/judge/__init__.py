"""Scores -> figures with intervals."""
