"""Tables of traces: files, frames and arrays in; labels, channels and meta-data out."""

from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import ReadReport

__all__ = ["ReadOptions", "ReadReport"]
