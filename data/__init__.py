"""From a folder of images to a manifest: one row an image, hashed, labelled in words, split, audited."""
