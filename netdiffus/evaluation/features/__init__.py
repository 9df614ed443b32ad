"""What is computed of each trace before sets are compared."""
