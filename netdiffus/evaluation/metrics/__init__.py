"""How near one set of traces is to another, and what classifiers make of it."""
