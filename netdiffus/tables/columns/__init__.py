"""What the columns of a table are: their roles, names, cells and numbers."""
