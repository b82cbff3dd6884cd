"""A grid of heads over cached features: trained in buckets, judged on validation, one chosen."""

SEARCH = "search"  # the word of INPUTS that lets the convex heads choose
