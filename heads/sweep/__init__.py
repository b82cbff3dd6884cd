"""A grid of heads over cached features: trained in buckets, judged on validation, one chosen."""
