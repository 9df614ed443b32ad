"""What privatised traces are worth, by epsilon. Run `python -m bench.privacy`."""
