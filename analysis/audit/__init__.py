"""`make audit`: what is wrong with data sets, before or without training on them."""
