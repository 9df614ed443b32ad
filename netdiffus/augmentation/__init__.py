"""Adds as many synthetic traces to real ones as help a classifier on validation traces."""

from __future__ import annotations

from netdiffus.augmentation.augmenter import augment, augment_with_report
from netdiffus.augmentation.choice import Choice
from netdiffus.augmentation.large import augment_to_parts

__all__ = ["Choice", "augment", "augment_to_parts", "augment_with_report"]
