"""Backbones: what is known of each, its weights, and the network cut at any tap."""
