"""From the chosen head to one network, image to logit."""
