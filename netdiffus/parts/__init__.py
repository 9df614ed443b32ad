"""Data sets that lie on disk in parts: read bit by bit, and made part by part."""

from netdiffus.parts.dataset import Dataset

__all__ = ["Dataset"]
