"""What a model or its traces give away of the traces that were learned from."""
