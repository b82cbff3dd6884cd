"""What a finished run says of new images."""
