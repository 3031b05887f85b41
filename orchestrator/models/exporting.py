"""A model as a file for other tools, which is there only if it answers like the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.models.finding import find_model
from orchestrator.new_files import new_file, whole_file
from trainer.data.images import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelExport:
    """A model that was written for another tool, and how alike the two answer."""

    output: Path
    to: str
    model: str
    """Its name."""
    largest_difference: float
    """Of a logit, over a batch of random images."""
    tolerance: float
    """What it may be."""
    note: str
    """What the file's reader should know."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "output": str(self.output),
            "to": self.to,
            "model": self.model,
            "largest_difference": self.largest_difference,
            "tolerance": self.tolerance,
            "note": self.note,
        }

    def lines(self) -> list[str]:
        """For the screen."""
        agreement = (
            f"logits agree within {self.largest_difference:.2g} (allowed: {self.tolerance:.2g})"
        )
        return [f"{shown(self.output)}: {self.model}, {agreement}", *filter(None, [self.note])]


def export_model(source: str | Path, *, to: str, output: str | Path) -> ModelExport:
    """Write the model in `source` as a new file, read it back, and compare its answers.

    Raises:
        UsageError: no model there, or no file can come into being at `output`.
        ConfigError: the format cannot express the model.
        CheckpointError: the file would answer differently; it is not left.
        NotReady: the file cannot be written.
    """
    from trainer.portable.exports import export_format, require_agreement

    target = export_format(to)
    path = new_file(output, option="--output", suffix=target.suffix)
    model = find_model(source)
    content, note = target.make(model)
    with whole_file(path) as aside:
        aside.write_bytes(content)
        found = require_agreement(aside.read_bytes(), model, to)
    return ModelExport(
        output=path,
        to=to,
        model=model.recipe.name,
        largest_difference=found.largest_difference,
        tolerance=found.allowed,
        note=note,
    )
