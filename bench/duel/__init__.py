"""The duel: which preset makes the best traces in equal processor time.

`python -m bench.duel --help`, from the root of the repository.
"""
