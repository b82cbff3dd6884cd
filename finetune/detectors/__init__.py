"""The detector: image to logit as one module, its file, and a finished run that judges images."""
