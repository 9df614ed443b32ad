"""Traces of packets as captures and as tables of flows."""
