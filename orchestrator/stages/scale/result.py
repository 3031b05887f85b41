"""What a family's training says: the table of sizes, their accuracies, and the axes compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.errors import StageFailed
from orchestrator.estimates import measured_rate
from orchestrator.history import History, Status, Trial
from orchestrator.reporting.formats import counted
from orchestrator.run_dir import MODEL_FOLDER
from orchestrator.searchers.walk import reward_of
from orchestrator.selection.agreement import UNKNOWN, Agreement
from orchestrator.selection.answers import agreement_of
from orchestrator.selection.intervals import CONFIDENCE, scored, summarise
from orchestrator.selection.verdict import Difference, holm, paired_difference, way_out
from orchestrator.stages.micro_batches import micro_batch, step_bytes, told
from orchestrator.stages.scale.plan import FAR, STAGE, Member, ScalePlan
from orchestrator.trial import TrialSpec

if TYPE_CHECKING:
    from orchestrator.stages.scale.stage import FamilyTraining

Row = dict[str, Any]
Values = Mapping[str, Mapping[int, float]]


def asked(plan: ScalePlan) -> Row:
    """What was asked, and the table; the head of every document."""
    train = plan.members[0].train
    return {
        "stage": STAGE,
        "table": plan.table,
        "coefficients": None if plan.coefficients is None else plan.coefficients.to_json(),
        "source": plan.source or None,
        "weights": plan.weights or None,
        "baseline": plan.start.to_json(),
        "members": [row_of(member) for member in plan.members],
        "seeds": list(plan.seeds),
        "recipe": {
            "epochs": train.epochs,
            "batch_size": train.batch_size,
            "lr": train.optim.lr,
            "weight_decay": train.optim.weight_decay,
        },
        "evidence": plan.evidence.to_json(),
        "warnings": list(plan.warnings),
    }


def row_of(member: Member) -> Row:
    """A member as it is planned."""
    return {
        **member.size.to_json(),
        "estimated_memory_bytes": step_bytes(member.train),
        "micro_batch": micro_batch(member.train),
    }


def document(stage: FamilyTraining, history: History) -> Row:
    """The trained family.

    Raises: StageFailed where no member came to an accuracy.
    """
    plan = stage.plan
    runs = stage.runs(history)
    values = {m.name: found for m in plan.members if (found := _values(runs[m.name], history))}
    if not values:
        raise StageFailed(_why_nothing(history))
    agreement = agreement_of(
        {name: [history[spec.key] for spec in runs[name].values()] for name in values}
    )
    compared = list(_comparisons(plan, values, agreement))
    return {
        **asked(plan),
        "results": list(_results(stage, history, values, agreement)),
        "models": list(_models(plan, runs, history)),
        "comparisons": compared,
        "verdict": {
            "sentence": verdict(plan, compared),
            "agreement": agreement.to_json() if agreement != UNKNOWN else None,
        },
        "train": {member.name: member.train.to_json() for member in plan.members},
        "plan": plan.cost(measured_rate(history.trials(STAGE))).to_json(),
    }


def _values(specs: Mapping[int, TrialSpec], history: History) -> dict[int, float]:
    found = {seed: reward_of(history.get(spec.key)) for seed, spec in specs.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _results(
    stage: FamilyTraining, history: History, values: Values, agreement: Agreement
) -> Iterator[Row]:
    """Every member with its interval, in the order of the table."""
    num_images, runs = stage.plan.evidence.num_images, stage.runs(history)
    estimates = {e.key: e for e in summarise(values, num_images=num_images, agreement=agreement)}
    for member in stage.plan.members:
        specs = runs[member.name].values()
        trials = [trial for spec in specs if (trial := history.get(spec.key))]
        yield {
            **row_of(member),
            **scored(estimates.get(member.name), values.get(member.name, {})),
            **_course(trials),
            "micro_batches": sorted({micro_batch(told(spec)) for spec in specs}),
            "keys": [spec.key for spec in specs],
        }


def _models(
    plan: ScalePlan, runs: Mapping[str, Mapping[int, TrialSpec]], history: History
) -> Iterator[Row]:
    """Of each member the model of the first seed that ended well; the best one on the reporting
    split would be a choice made on it."""
    for member in plan.members:
        ended = (
            spec
            for spec in runs[member.name].values()
            if (trial := history.get(spec.key)) and trial.status is Status.COMPLETE
        )
        if spec := next(ended, None):
            name = plan.register if len(plan.members) == 1 else f"{plan.register}-{member.name}"
            yield {
                "name": member.name,
                "path": f"{STAGE}/trials/{spec.key}/{MODEL_FOLDER}",
                "key": spec.key,
                "register": name.replace(" ", "-") if plan.register and name else None,
            }


def _course(trials: Sequence[Trial]) -> Row:
    """How its trials went."""
    failed = [trial for trial in trials if trial.status is Status.FAILED]
    speeds = [speed for trial in trials if (speed := trial.metric("images_per_second"))]
    return {
        "epochs": max((trial.epochs for trial in trials), default=0),
        "status": str(failed[0].status if failed else Status.COMPLETE),
        "error": failed[0].error if failed else "",
        "images_per_second": sum(speeds) / len(speeds) if speeds else None,
    }


def _comparisons(plan: ScalePlan, values: Values, agreement: Agreement) -> Iterator[Row]:
    """Each compound size less the single axes at its cost, over the seeds that both have."""
    num_images = plan.evidence.num_images
    pairs = [
        (
            member,
            paired_difference(
                values, first, member.name, num_images=num_images, agreement=agreement
            ),
        )
        for member in plan.members
        if (first := member.size.beside) != member.name and _share_a_seed(values, first, member)
    ]
    adjusted = holm([difference.p_value for _, difference in pairs])
    for (member, difference), corrected in zip(pairs, adjusted, strict=True):
        yield {
            "phi": member.size.phi,
            "axis": member.size.mode,
            **difference.to_json(),
            "adjusted_p_value": corrected,
            "distance": member.size.distance,
            "sentence": _sentence(member, difference, corrected, num_images),
        }


def _share_a_seed(values: Values, first: str, second: Member) -> bool:
    return bool(set(values.get(first, {})) & set(values.get(second.name, {})))


def _sentence(member: Member, difference: Difference, corrected: float, num_images: int) -> str:
    """What may be claimed of the compound size over the single axis."""
    low, high = (f"{100 * limit:+.1f}" for limit in difference.interval)
    gap = f"{100 * difference.mean:+.1f} points (95 % interval {low} to {high})"
    cost = f", which costs {_apart(member.size.distance or 0)}"
    subject, other = f"{difference.first}, scaled compound,", f"{member.size.mode} alone"
    if member.size.mode == "from-nothing":
        subject, other, cost = (
            f"{difference.first} begun from the weights",
            "the same begun from chance",
            "",
        )
    if corrected < 1 - CONFIDENCE:
        way = "better" if difference.mean > 0 else "worse"
        return f"{subject} is {way} than {other}{cost}: {gap}."
    luck = ", not enough among several comparisons (Holm)"
    why = luck if difference.p_value < 1 - CONFIDENCE else ""
    help_ = way_out(difference, num_images)
    return f"{subject} is not distinguishable from {other}{cost}: {gap}{why}; {help_}."


def _apart(distance: float) -> str:
    if abs(distance) < 0.0005:
        return "as much"
    return f"{abs(100 * distance):.1f} % {'more' if distance > 0 else 'less'}"


def verdict(plan: ScalePlan, compared: Sequence[Row]) -> str:
    """All comparisons in one sentence: of each axis, how often compound scaling was better."""
    if not compared:
        trained = (
            f"{counted(len(plan.members), 'network')} with {counted(len(plan.seeds), 'seed')} each"
        )
        if plan.table == "given":
            return f"{trained}: no control (--controls all), so nothing is compared."
        return f"{trained}: no single axis beside a compound network, so nothing is compared."
    if plan.table == "given":
        return str(compared[0]["sentence"])
    axes = dict.fromkeys(row["axis"] for row in compared)
    said = (_tally(axis, [row for row in compared if row["axis"] == axis]) for axis in axes)
    equal = "nearly equal" if any(abs(row["distance"]) > FAR for row in compared) else "equal"
    return f"Compound scaling at {equal} multiply-adds {'; '.join(said)}."


def _tally(axis: str, rows: Sequence[Row]) -> str:
    clear = [row for row in rows if row["adjusted_p_value"] < 1 - CONFIDENCE]
    better = sum(row["mean"] > 0 for row in clear)
    worse = len(clear) - better
    unclear = len(rows) - len(clear)
    parts = [
        f"{word} in {number}"
        for word, number in (
            ("better", better),
            ("worse", worse),
            ("not distinguishable", unclear),
        )
        if number
    ]
    return f"against {axis} alone: {', '.join(parts)} of {counted(len(rows), 'size')}"


def _why_nothing(history: History) -> str:
    failed: Iterable[Trial] = (t for t in history.trials(STAGE) if t.status is Status.FAILED)
    first = next((trial.error for trial in failed), "no trial ended")
    return (
        f"no network came to an accuracy: {first}; mend the cause and start again with a new "
        "--run-dir"
    )
