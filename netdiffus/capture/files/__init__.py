"""Capture files: which there are, of what kind, and their bytes."""
