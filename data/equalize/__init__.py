"""Both classes written again at one size and quality, so that how files were stored tells nothing."""
