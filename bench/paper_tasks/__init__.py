"""The tasks of the NetDiffus paper: what synthetic traces are good for.

Run `python -m bench.paper_tasks`.
"""
