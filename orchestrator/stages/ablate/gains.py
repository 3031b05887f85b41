"""What each trick bought: a paired difference, a plain word, and a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.ablation.ladders import Rung, beside
from orchestrator.reporting.formats import counted
from orchestrator.selection.agreement import Agreement
from orchestrator.selection.intervals import CONFIDENCE, ONE_SEED
from orchestrator.selection.verdict import (
    Difference,
    holm,
    paired_difference,
    seeds_to_separate,
)
from orchestrator.stages.ablate.plan import AblatePlan
from orchestrator.stages.micro_batches import micro_batch, told
from orchestrator.trial import TrialSpec

Row = dict[str, Any]
Runs = Mapping[str, Mapping[int, TrialSpec]]
"""The trials behind each rung's mean, by seed."""
Values = Mapping[str, Mapping[int, float]]
HELPS, HURTS, UNCLEAR, SAME = "helps", "hurts", "cannot tell", "the same"
CORRECTION = "Holm (1979), over all comparisons of the run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A rung with the trick less one without it."""

    difference: Difference
    adjusted: float
    """Its p-value, corrected for all comparisons of the run."""
    comparisons: int

    @property
    def word(self) -> str:
        """Helps, hurts or cannot tell."""
        if self.adjusted >= 1 - CONFIDENCE:
            return UNCLEAR
        return HELPS if self.difference.mean > 0 else HURTS

    @property
    def seeds_needed(self) -> int | None:
        """How many would tell it apart among all comparisons; None where none would."""
        return seeds_to_separate(self.difference, comparisons=self.comparisons)

    @property
    def more_seeds(self) -> int | None:
        """The same where it cannot be told with those there are."""
        needed = self.seeds_needed
        enough = needed is None or needed <= self.difference.num_seeds
        return None if enough or self.word != UNCLEAR else needed


def gains_of(plan: AblatePlan, values: Values, agreement: Agreement) -> dict[str, Gain]:
    """By rung, where it and the one it is compared with share a seed and are not one training."""
    pairs = dict[str, Difference]()
    for rung in plan.rungs:
        if rung.over is None:
            continue
        one, other = trained_as(plan, rung.name), trained_as(plan, rung.over)
        if one == other or not set(values.get(one, {})) & set(values.get(other, {})):
            continue
        first, second = (other, one) if rung.lacks else (one, other)
        pairs[rung.name] = paired_difference(
            values, first, second, num_images=plan.evidence.num_images, agreement=agreement
        )
    adjusted = holm([difference.p_value for difference in pairs.values()])
    return {
        name: Gain(difference=difference, adjusted=corrected, comparisons=len(pairs))
        for (name, difference), corrected in zip(pairs.items(), adjusted, strict=True)
    }


def trained_as(plan: AblatePlan, name: str) -> str:
    """The rung whose trials are this one's too."""
    return plan.first_of(plan.by_name[name]).name


def gain_row(plan: AblatePlan, rung: Rung, runs: Runs, gain: Gain | None) -> Row:
    """What the rung's trick bought, and what came with it."""
    over = plan.by_name.get(rung.over or "")
    row: Row = {
        "beside": _apart(rung, over, runs) if over else [],
        "micro_batches": _micro_batches(rung, runs),
        "gain": None,
        "verdict": None,
        "more_seeds": None,
        "sentence": "",
    }
    if over is None:
        return row
    if trained_as(plan, rung.name) == trained_as(plan, over.name):
        said = f"{_what(rung)}: the same training as {over.name}, trained once."
        return {**row, "verdict": SAME, "sentence": said}
    if gain is None:
        return row
    changed = _apart(over, rung, runs) if rung.lacks else row["beside"]
    also = f" (not alone: {', '.join(changed)})" if changed else ""
    subject = f"{_what(rung)}{also}"
    return {
        **row,
        "gain": {**gain.difference.to_json(), "adjusted_p_value": gain.adjusted},
        "verdict": gain.word,
        "more_seeds": gain.more_seeds,
        "sentence": _sentence(subject, gain, plan.evidence.num_images),
    }


def verdict(plan: AblatePlan, results: Sequence[Row]) -> str:
    """All comparisons in one sentence."""
    told_apart = [row for row in results if row["verdict"] in (HELPS, HURTS, UNCLEAR)]
    failed = [row["name"] for row in results if row["mean"] is None]
    lost = f" Without an accuracy: {', '.join(failed)}." if failed else ""
    if not told_apart:
        return f"{counted(len(plan.rungs), 'rung')}, and nothing to compare.{lost}"
    often = Counter(_tricks(row) for row in told_apart)
    parts = []
    for word in (HELPS, HURTS, UNCLEAR):
        named = [_named(row, often) for row in told_apart if row["verdict"] == word]
        if named:
            parts.append(f"{word}: {'; '.join(named)}")
    how = {
        "cumulative": "each over the rung it was added to",
        "leave-one-out": "each as the whole stack over the stack without it",
        "add-one": "each alone over the base",
    }[plan.design]
    starred = any(row["beside"] for row in told_apart)
    note = " (* came with something else, see the table)" if starred else ""
    seeds = counted(len(plan.seeds), "seed")
    sentence = f"With {seeds}, {how}: {'. '.join(parts)}{note}.{lost}"
    return sentence[0].upper() + sentence[1:]


def _micro_batches(rung: Rung, runs: Runs) -> list[int]:
    """Images that batch norm saw at once; several where a seed ran out of memory before others."""
    return sorted({micro_batch(told(spec)) for spec in runs[rung.name].values()})


def _apart(rung: Rung, over: Rung, runs: Runs) -> list[str]:
    """What else sets two rungs apart, memory's doing included."""
    one, other = (_micro_batches(each, runs) for each in (rung, over))
    if one == other or rung.train.batch_size != over.train.batch_size:
        return beside(rung, over)
    ours, theirs = (" and ".join(map(str, sizes)) for sizes in (one, other))
    return [*beside(rung, over), f"micro-batches of {ours} images instead of {theirs}"]


def _what(rung: Rung) -> str:
    instead = f" in place of {', '.join(rung.replaces)}" if rung.replaces else ""
    return f"{' + '.join(rung.compares)}{instead}"


def _sentence(subject: str, gain: Gain, num_images: int) -> str:
    difference, word = gain.difference, gain.word
    low, high = (f"{100 * limit:+.2f}" for limit in difference.interval)
    gap = f"{100 * difference.mean:+.2f} points (95 % interval {low} to {high})"
    if word != UNCLEAR:
        return f"{subject} {word}: {gap}."
    seeds = counted(difference.num_seeds, "seed")
    return f"{subject}: cannot tell with {seeds}: {gap}; {_way_out(gain, num_images)}."


def _way_out(gain: Gain, num_images: int) -> str:
    if gain.difference.method == ONE_SEED:
        return "with one seed the noise between seeds is unknown"
    among = f" among {gain.comparisons} comparisons" if gain.comparisons > 1 else ""
    needed = gain.seeds_needed
    if needed is None:
        images = f"{num_images:,} images are too few"
        return f"more seeds would not tell: {images} for so small a gap{among}"
    if gain.more_seeds is None:
        return f"a few more seeds might tell{among}"
    return f"about {needed} seeds would{among}, were that the true difference"


def _tricks(row: Row) -> str:
    return " + ".join(row["compares"])


def _named(row: Row, often: Mapping[str, int]) -> str:
    """With the rung below where the same trick was added to several."""
    over = f" over {row['over']}" if often[_tricks(row)] > 1 else ""
    star = "*" if row["beside"] else ""
    return f"{_tricks(row)}{star}{over} {100 * row['gain']['mean']:+.2f}"
