"""One of two runs that are compared: its rows, and what they were trained with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from orchestrator.errors import UsageError
from orchestrator.history import History
from orchestrator.loading import decode, decode_spec
from trainer.config import TrainConfig
from trainer.errors import ConfigError

Row: TypeAlias = dict[str, Any]

_ROWS = {"search-augment": "arms"}
"""Where a result has its rows, if not under `results`."""
_PARTS = ("before", "after")
"""Of a row that says how accurate a network was and became."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two runs."""

    run_dir: str
    command: str
    result: Mapping[str, Any]
    history: History

    @property
    def question(self) -> Mapping[str, Any]:
        """What the run was asked."""
        asked: Mapping[str, Any] = self.history.questions.get(self.command, {}).get("question", {})
        return asked

    @property
    def fingerprint(self) -> str | None:
        """Of the images that it was trained and judged on."""
        evidence = self.result.get("evidence") or {}
        own = evidence.get("fingerprint") or evidence.get("verdict")
        found = own or self.question.get("fingerprint")
        return None if found is None else str(found)

    @property
    def num_images(self) -> int:
        """That accuracies are measured on."""
        evidence = self.result.get("evidence") or {}
        return int(evidence.get("reporting_images") or evidence["num_images"])

    @property
    def rows(self) -> dict[str, Row]:
        """What was trained, by name; what came to no accuracy is left out."""
        listed = [*(self.result.get(_ROWS.get(self.command, "results")) or ())]
        for row in self.result.get("controls") or ():
            listed.append({**row, "name": f"control: {row['control']}"})
        found = (flat for row in listed for flat in _flat(row, self.history))
        return {row["name"]: row for row in found if row.get("mean") is not None}

    def recipe(self, row: Row) -> dict[str, Any] | None:
        """All that its training was told, as this version says it; None where nothing tells."""
        said = (self.result.get("train") or {}).get(row["name"])
        trials = (self.history.get(key) for key in row.get("keys") or ())
        first = next((trial for trial in trials if trial is not None), None)
        try:
            if isinstance(said, Mapping):
                return asdict(decode(TrainConfig, said))
            config = None if first is None else decode_spec(first.proposal).config
        except (ConfigError, UsageError, KeyError, TypeError, ValueError):
            return None  # of another version
        return asdict(config) if isinstance(config, TrainConfig) else None


def keys_of(row: Row) -> frozenset[str]:
    """The trials behind a row."""
    return frozenset(row.get("keys") or ())


def by_seed(row: Row) -> dict[int, float]:
    """Its accuracies."""
    return dict(zip(row["seeds"], row["values"], strict=True))


def _flat(row: Mapping[str, Any], history: History) -> Iterator[Row]:
    """A row, or for a network that was adapted one for before and one for after."""
    if not any(part in row for part in _PARTS):
        yield dict(row)
        return
    network = {name: value for name, value in row.items() if name not in _PARTS}
    unadapted = {"adapt": "none", "test_resolution": row.get("train_resolution")}
    for part in _PARTS:
        if row.get(part):
            found = {**network, **(unadapted if part == "before" else {}), **row[part]}
            keys = list(_judged(found, history))
            yield {**found, "name": f"{row['name']} {part}", "keys": keys}


def _judged(row: Row, history: History) -> Iterator[str]:
    """The trials that have judged an adapted network; its result does not name them."""
    values = by_seed(row)
    wanted = {
        "network": row["name"],
        "adaptation": row.get("adapt"),
        "test_resolution": row.get("test_resolution"),
    }
    for trial in history.trials("fixres"):
        proposal = trial.proposal
        labels, split = proposal["labels"], proposal["config"].get("evaluate_on")
        if split == "reporting" and wanted.items() <= labels.items():
            top1 = trial.metric("top1")
            if top1 is not None and top1 == values.get(labels["seed"]):
                yield trial.key
