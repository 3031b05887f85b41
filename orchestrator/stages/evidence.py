"""What accuracies on the reporting split stand on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.config import Strict
from trainer.data.splits import Splits, learning_fingerprint, reporting_fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportingEvidence(Strict):
    """What accuracies are measured on."""

    fingerprint: str
    """Of all images and labels, the reporting ones too."""
    train_images: int
    num_images: int
    """In the reporting split."""
    chance: float
    """Accuracy of always guessing its most frequent class."""


def reporting_evidence(splits: Splits, num_classes: int) -> ReportingEvidence:
    """Of a data set with so many classes."""
    labels = splits.reporting.labels
    most_frequent = int(np.bincount(labels, minlength=num_classes).max())
    return ReportingEvidence(
        fingerprint=learning_fingerprint(splits) + reporting_fingerprint(splits),
        train_images=len(splits.train),
        num_images=len(labels),
        chance=most_frequent / len(labels),
    )
