"""Attacks on a model, or on what any generator made: an audit of what they give away."""
