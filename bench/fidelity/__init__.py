"""The fidelity bench: how good the traces are that a model makes in so many minutes.

`python -m bench.fidelity --help`, from the root of the repository.
"""
