"""The ground everybody stands on: how a thing on disk is named, written whole, checked, and found again."""
