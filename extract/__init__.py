"""Stage one: a frozen, pretrained backbone runs once over every image and what it saw is kept."""
