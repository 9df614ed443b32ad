"""Training: from traces to a trained model."""

from netdiffus.training.private import train_private
from netdiffus.training.recipe import Recipe
from netdiffus.training.trainer import train

__all__ = ["Recipe", "train", "train_private"]
