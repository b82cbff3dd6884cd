"""Stage two: many heads trained on cached features in the time of one, chosen on validation data alone."""
