"""Whole long traces: sums over segments first, then the points of each segment."""

from netdiffus.segments.model import SegmentModel as SegmentModel
from netdiffus.segments.model import train_segments as train_segments
from netdiffus.segments.sampling import sample_segments as sample_segments
