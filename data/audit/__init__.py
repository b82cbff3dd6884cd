"""What a data set is examined for before there is any figure of it: leaks, near copies, shortcuts, and its health."""
