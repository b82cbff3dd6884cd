"""Run folders -> records: what there is on a data set."""
