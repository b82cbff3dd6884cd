"""The words of classes and splits in all files, tables and options."""

LABELS = ("real", "fake")
SPLITS = ("train", "val", "test")
