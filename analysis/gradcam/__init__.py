"""Where a detector sees its evidence, and how far the maps can be believed."""
