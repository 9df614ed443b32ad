"""One file format each: its bytes to a table."""
