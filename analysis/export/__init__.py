"""A finished run as an ONNX file that needs nothing of this project."""
