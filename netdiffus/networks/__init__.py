"""The networks that learn traces."""
