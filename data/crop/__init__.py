"""Faces in photographs: found, cut out, written as a data set of their own."""
