"""Keeping house: what is there, what of it nobody needs, and the ways out of it and back."""
