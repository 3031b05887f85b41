"""What may be claimed of an adaptation, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.reporting.formats import counted
from orchestrator.selection.intervals import ONE_SEED
from orchestrator.selection.verdict import Difference, way_out
from orchestrator.stages.fixres.comparing import images_to_tell, is_clear, p_value

Row = Mapping[str, Any]
ONE_NETWORK = "of this trained network; trained again it may differ"


def network_sentence(row: Row, num_images: int) -> str:
    """A network as it was chosen to be, against itself as it was."""
    name, own = row["name"], row["train_resolution"]
    if row["after"] is None or row["before"] is None:
        return f"{name} came to no result: {row['error'] or 'nothing ended'}."
    what = way(row["adapt"], row["test_resolution"])
    if row["difference"] is None:
        return f"{name} is best left as it is, unadapted at {own} px, as far as selection says."
    subject, other = f"{name}, {what},", f"unadapted at {own} px"
    return _claim(subject, other, row["difference"], num_images)


def lower_sentence(row: Row, num_images: int) -> str:
    """Trained lower and adapted, against trained at the network's own resolution."""
    subject = (
        f"{row['lower_than']} trained at {row['train_resolution']} px, "
        f"{way(row['adapt'], row['test_resolution'])},"
    )
    claim = _claim(
        subject, f"trained at {row['base_resolution']} px", row["difference"], num_images
    )
    return f"{claim} {_saved(row)}"


def verdict(results: Sequence[Row], lower: Sequence[Row]) -> str:
    """All networks in one sentence, and each that was trained lower in another."""
    own = [row for row in results if not row["lower_than"]]
    said = [own[0]["sentence"]] if len(own) == 1 else [_tally(own)]
    return " ".join([*said, *(row["sentence"] for row in lower)])


def way(adaptation: str, resolution: int) -> str:
    """An adaptation at a resolution as sentences call it."""
    words = {
        "none": "shown unadapted",
        "parametric": "matched after the pool",
        "statistics": "with new batch statistics",
        "finetune": "fine-tuned",
    }
    return f"{words[adaptation]} at {resolution} px"


def _claim(subject: str, other: str, difference: Row, num_images: int) -> str:
    low, high = (f"{100 * limit:+.1f}" for limit in difference["interval"])
    gap = f"{100 * difference['mean']:+.1f} points (95 % interval {low} to {high})"
    single = difference["method"] == ONE_SEED
    if is_clear(difference):
        what = "better" if difference["mean"] > 0 else "worse"
        note = f"; one seed: {ONE_NETWORK}" if single else ""
        return f"{subject} is {what} than {other}: {gap}{note}."
    luck = p_value(difference) < 0.05
    why = ", not enough among several comparisons (Holm)" if luck else ""
    return (
        f"{subject} is not distinguishable from {other}: {gap}{why}; "
        f"{_more(difference, num_images, single=single)}."
    )


def _more(difference: Row, num_images: int, *, single: bool) -> str:
    """What it would take to tell the two apart."""
    if single:
        needed = images_to_tell(difference, num_images)
        if needed is None:
            return "no number of images would tell equal ones apart"
        return f"about {needed:,} images would tell if that is the true difference"
    fields = {name: difference[name] for name in Difference.__dataclass_fields__}
    return way_out(Difference(**fields), num_images)


def _saved(row: Row) -> str:
    if row["saved"] is None:
        return "What training took at its own resolution is not known."
    unit = "GPU-hours" if row["is_gpu_hours"] else "trial hours"
    spent = f"{row['hours']:.3g} {unit} against {row['base_hours']:.3g}"
    if row["saved"] < 0:
        return f"It saves nothing: {spent}."
    price = _price(row["difference"])
    return f"It saves {100 * row['saved']:.0f} % of the training{price}: {spent}."


def _price(difference: Row) -> str:
    if not is_clear(difference):
        worst = max(-100 * difference["interval"][0], 0.0)
        return f", and may cost up to {worst:.1f} points"
    if difference["mean"] > 0:
        return " and is more accurate"
    return f" at the price of {-100 * difference['mean']:.1f} points"


def _tally(rows: Sequence[Row]) -> str:
    """How many networks gain."""
    differences = [row["difference"] for row in rows]
    clear = [difference for difference in differences if difference and is_clear(difference)]
    better = sum(difference["mean"] > 0 for difference in clear)
    left = sum(row["difference"] is None and row["after"] is not None for row in rows)
    ended = [row for row in rows if row["after"] is not None]
    unclear = len(ended) - len(clear) - left
    parts = [
        f"{word} in {number}"
        for word, number in (
            ("better", better),
            ("worse", len(clear) - better),
            ("not distinguishable", unclear),
            ("left as it was", left),
        )
        if number
    ]
    told = ", ".join(parts) or "no result"
    return f"With what was chosen: {told} of {counted(len(rows), 'network')}."
