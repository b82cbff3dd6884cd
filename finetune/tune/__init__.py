"""The search of a recipe's settings."""
