"""Traces in, a trained model out."""

from netdiffus.training.recipe import Recipe
from netdiffus.training.trainer import train

__all__ = ["Recipe", "train"]
