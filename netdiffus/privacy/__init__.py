"""Differential privacy: a private table of traces, and its ledger."""
