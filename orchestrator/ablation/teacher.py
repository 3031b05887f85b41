"""The network that distillation learns from."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import UsageError
from orchestrator.weights import Pretrained
from trainer.config import ModelConfig


def record(teacher: Pretrained) -> dict[str, Any]:
    """What a result says of it."""
    return {
        "from": teacher.asked,
        "network": teacher.name,
        "digest": teacher.digest,
        "resolution": teacher.model.resolution,
    }


def unnamed_teacher(student: ModelConfig) -> Pretrained:
    """What a plan reckons with where no teacher has been named yet: a network like the student."""
    return Pretrained(asked="", name="", model=student, weights={})


def check_teacher(teacher: Pretrained, class_names: tuple[str, ...], *, num_classes: int) -> None:
    """Refuse a teacher that answers another question. Raises: UsageError."""
    theirs = teacher.model.num_classes
    if theirs != num_classes:
        raise UsageError(
            f"--teacher: {teacher.asked} knows {theirs} classes, the data set has {num_classes}; "
            "name one that was trained on this data set, such as scale leaves them"
        )
    if teacher.class_names and teacher.class_names != class_names:
        pairs = zip(teacher.class_names, class_names, strict=False)
        ours = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
        raise UsageError(
            f"--teacher: {teacher.asked} knows other classes: '{ours[0]}' where the data set has "
            f"'{ours[1]}'; name one that was trained on this data set"
        )
