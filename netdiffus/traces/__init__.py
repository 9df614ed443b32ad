"""Traces: what all stages hand on, how they are split, and the bundled ones."""
