"""What an ablation says: every rung's accuracy, cost and speed, and what each trick bought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.ablation.ladders import Rung, beside
from orchestrator.errors import StageFailed
from orchestrator.estimates import measured_rate
from orchestrator.history import History, Status, Trial
from orchestrator.reporting.formats import counted
from orchestrator.run_dir import MODEL_FOLDER
from orchestrator.searchers.walk import reward_of
from orchestrator.selection.agreement import UNKNOWN, Agreement
from orchestrator.selection.answers import agreement_of
from orchestrator.selection.intervals import CONFIDENCE, ONE_SEED, scored, summarise
from orchestrator.selection.verdict import (
    Difference,
    holm,
    paired_difference,
    seeds_to_separate,
)
from orchestrator.stages.ablate.equal_accuracy import at_equal_accuracy
from orchestrator.stages.ablate.plan import STAGE, AblatePlan, Rival
from orchestrator.stages.micro_batches import micro_batch, told
from orchestrator.trial import TrialSpec
from trainer.complexity import count

Row = dict[str, Any]
Runs = Mapping[str, Mapping[int, TrialSpec]]
"""The trials behind each rung's mean, by seed."""
Values = Mapping[str, Mapping[int, float]]
HELPS, HURTS, UNCLEAR, SAME = "helps", "hurts", "cannot tell", "the same"
CORRECTION = "Holm (1979), over all comparisons of the run"
_CONDITIONS = ("device", "precision", "channels_last", "threads")


def asked(plan: AblatePlan) -> Row:
    """What was asked, and the rungs; the head of every document."""
    train = plan.rungs[0].train
    return {
        "stage": STAGE,
        "preset": plan.preset,
        "source": plan.source or None,
        "design": plan.design,
        "network": {
            "family": train.model.family,
            "resolution": train.model.resolution,
            "params": count(train.model).params,
            "macs": count(train.model).macs,
            "classes": train.model.num_classes,
        },
        "teacher": plan.teacher,
        "rungs": [row_of(plan, rung) for rung in plan.rungs],
        "seeds": list(plan.seeds),
        "recipe": {
            "epochs": train.epochs,
            "batch_size": train.batch_size,
            "lr": train.optim.lr,
            "weight_decay": train.optim.weight_decay,
            "schedule": train.schedule.kind,
        },
        "evidence": plan.evidence.to_json(),
        "beside": plan.rivals_from,
        "warnings": list(plan.warnings),
    }


def row_of(plan: AblatePlan, rung: Rung) -> Row:
    """A rung as it is planned; cost is that of a test image."""
    cost, first = rung.cost, plan.first_of(rung)
    over = plan.by_name.get(rung.over or "")
    return {
        "name": rung.name,
        "tricks": list(rung.tricks),
        "compares": list(rung.compares),
        "replaces": list(rung.replaces),
        "over": rung.over,
        "beside": beside(rung, over) if over is not None else [],
        "same_as": None if first is rung else first.name,
        "params": cost.params,
        "macs": cost.macs,
        "train_macs": count(rung.train.model).macs,
        "epochs": rung.train.epochs,
        "resolution": rung.train.model.resolution,
        "test_resolution": rung.test_resolution,
    }


def document(plan: AblatePlan, runs: Runs, history: History) -> Row:
    """The finished ablation.

    Raises: StageFailed where no rung came to an accuracy.
    """
    values = {r.name: found for r in plan.distinct if (found := _values(runs[r.name], history))}
    if not values:
        raise StageFailed(_why_nothing(history))
    agreement = agreement_of(
        {name: [history[runs[name][seed].key] for seed in found] for name, found in values.items()}
    )
    compared = _compared(plan, values, agreement)
    results = list(_results(plan, runs, history, values, agreement, compared))
    rivals = [_rival(plan, rival, history) for rival in plan.rivals]
    own = [row for row in results if row["same_as"] is None]
    faster = at_equal_accuracy(own, rivals, num_images=plan.evidence.num_images)
    return {
        **asked(plan),
        "results": results,
        "rivals": rivals,
        "at_equal_accuracy": list(faster),
        "speed": _conditions(plan, history),
        "models": list(_models(plan, runs, history)),
        "verdict": {
            "sentence": verdict(plan, results),
            "agreement": agreement.to_json() if agreement != UNKNOWN else None,
            "correction": CORRECTION,
        },
        "train": {rung.name: rung.train.to_json() for rung in plan.rungs},
        "plan": plan.cost(measured_rate(history.trials(STAGE))).to_json(),
    }


def _values(specs: Mapping[int, TrialSpec], history: History) -> dict[int, float]:
    found = {seed: reward_of(history.get(spec.key)) for seed, spec in specs.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _compared(
    plan: AblatePlan, values: Values, agreement: Agreement
) -> dict[str, tuple[Difference, float]]:
    """By rung: with the trick less without it, and the corrected p-value."""
    pairs = dict[str, Difference]()
    for rung in plan.rungs:
        if rung.over is None:
            continue
        one, other = _trained(plan, rung.name), _trained(plan, rung.over)
        if one == other or not set(values.get(one, {})) & set(values.get(other, {})):
            continue
        first, second = (other, one) if rung.lacks else (one, other)
        pairs[rung.name] = paired_difference(
            values, first, second, num_images=plan.evidence.num_images, agreement=agreement
        )
    adjusted = holm([difference.p_value for difference in pairs.values()])
    return {
        name: (difference, corrected)
        for (name, difference), corrected in zip(pairs.items(), adjusted, strict=True)
    }


def _trained(plan: AblatePlan, name: str) -> str:
    return plan.first_of(plan.by_name[name]).name


def _results(
    plan: AblatePlan,
    runs: Runs,
    history: History,
    values: Values,
    agreement: Agreement,
    compared: Mapping[str, tuple[Difference, float]],
) -> Iterator[Row]:
    """Every rung, in the order of the ladder."""
    num_images = plan.evidence.num_images
    estimates = {e.key: e for e in summarise(values, num_images=num_images, agreement=agreement)}
    for rung in plan.rungs:
        name = _trained(plan, rung.name)
        specs = runs[rung.name].values()
        yield {
            **row_of(plan, rung),
            "beside": _apart(rung, plan.by_name[rung.over], runs) if rung.over else [],
            "micro_batches": _micro_batches(rung, runs),
            **scored(estimates.get(name), values.get(name, {})),
            **_course([trial for spec in specs if (trial := history.get(spec.key))]),
            **_speed(history, plan.speed_of(rung) if plan.speed else None),
            "keys": [spec.key for spec in specs],
            **_gain(plan, rung, runs, compared.get(rung.name)),
        }


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


def _course(trials: Sequence[Trial]) -> Row:
    failed = [trial for trial in trials if trial.status is Status.FAILED]
    return {
        "status": str(failed[0].status if failed else Status.COMPLETE),
        "error": failed[0].error if failed else "",
        "training_hours": sum(
            report.get("seconds") or 0.0 for trial in trials for report in trial.reports
        )
        / 3600,
    }


def _speed(history: History, spec: TrialSpec | None) -> Row:
    found = _report(history, spec)
    return {
        "latency_seconds": found.get("latency_seconds"),
        "images_per_second": found.get("images_per_second"),
        "throughput_batch": found.get("batch_size"),
        "precision": found.get("precision"),
    }


def _report(history: History, spec: TrialSpec | None) -> Row:
    trial = history.get(spec.key) if spec is not None else None
    done = trial is not None and trial.status is Status.COMPLETE and trial.reports
    return trial.reports[-1] if trial is not None and done else {}


def _conditions(plan: AblatePlan, history: History) -> Row | None:
    """Under which the speeds were measured, those of the first rung."""
    found = [_report(history, spec) for spec in plan.speeds]
    first = next((report for report in found if report), None)
    if first is None:
        return None
    return {
        **{name: first.get(name) for name in _CONDITIONS},
        "precisions": sorted({str(r["precision"]) for r in found if r}),
        "batches": sorted({int(r["batch_size"]) for r in found if r}),
        "how": "medians of at least 5 passes after 3 that were not timed; random images",
    }


def _rival(plan: AblatePlan, rival: Rival, history: History) -> Row:
    cost = count(rival.model)
    spec = plan.speed_of_rival(rival) if plan.speed else None
    return {
        "name": rival.name,
        "params": cost.params,
        "macs": cost.macs,
        "epochs": rival.epochs,
        "test_resolution": rival.model.resolution,
        "mean": rival.mean,
        "interval": list(rival.interval),
        "seeds": list(rival.seeds),
        "values": list(rival.values),
        **_speed(history, spec),
    }


def _gain(plan: AblatePlan, rung: Rung, runs: Runs, found: tuple[Difference, float] | None) -> Row:
    """What the trick bought, in numbers, in a word and in a sentence."""
    nothing: Row = {"gain": None, "verdict": None, "more_seeds": None, "sentence": ""}
    if rung.over is None:
        return nothing
    if _trained(plan, rung.name) == _trained(plan, rung.over):
        said = f"{_what(rung)}: the same training as {rung.over}, trained once."
        return {**nothing, "verdict": SAME, "sentence": said}
    if found is None:
        return nothing
    difference, corrected = found
    word = UNCLEAR
    if corrected < 1 - CONFIDENCE:
        word = HELPS if difference.mean > 0 else HURTS
    return {
        "gain": {**difference.to_json(), "adjusted_p_value": corrected},
        "verdict": word,
        "more_seeds": _more_seeds(difference) if word == UNCLEAR else None,
        "sentence": _sentence(plan, rung, runs, difference, word),
    }


def _what(rung: Rung) -> str:
    instead = f" in place of {', '.join(rung.replaces)}" if rung.replaces else ""
    return f"{' + '.join(rung.compares)}{instead}"


def _sentence(
    plan: AblatePlan,
    rung: Rung,
    runs: Runs,
    difference: Difference,
    word: str,
) -> str:
    low, high = (f"{100 * limit:+.2f}" for limit in difference.interval)
    gap = f"{100 * difference.mean:+.2f} points (95 % interval {low} to {high})"
    other = plan.by_name[rung.over or ""]
    changed = _apart(other, rung, runs) if rung.lacks else _apart(rung, other, runs)
    also = f" (not alone: {', '.join(changed)})" if changed else ""
    subject = f"{_what(rung)}{also}"
    if word != UNCLEAR:
        return f"{subject} {word}: {gap}."
    seeds = counted(difference.num_seeds, "seed")
    way_out = _way_out(difference, plan.evidence.num_images)
    return f"{subject}: cannot tell with {seeds}: {gap}; {way_out}."


def _way_out(difference: Difference, num_images: int) -> str:
    if difference.method == ONE_SEED:
        return "with one seed the noise between seeds is unknown"
    needed = seeds_to_separate(difference)
    if needed is None:
        return f"more seeds would not tell: {num_images:,} images are too few for so small a gap"
    if needed <= difference.num_seeds:
        return "clear by itself, but not among so many comparisons (Holm)"
    return f"about {needed} seeds would, were that the true difference"


def _more_seeds(difference: Difference) -> int | None:
    """How many would tell; None where none would, or these do but for the correction."""
    needed = seeds_to_separate(difference)
    return needed if needed is not None and needed > difference.num_seeds else None


def _models(plan: AblatePlan, runs: Runs, history: History) -> Iterator[Row]:
    """Of each trained rung the model of the first seed that ended well; the best one on the
    reporting split would be a choice made on it."""
    for rung in (rung for rung in plan.rungs if plan.first_of(rung) is rung):
        ended = (
            spec
            for spec in runs[rung.name].values()
            if (trial := history.get(spec.key)) and trial.status is Status.COMPLETE
        )
        if spec := next(ended, None):
            name = f"{plan.register}-{rung.name}".replace(" ", "-") if plan.register else None
            yield {
                "name": rung.name,
                "path": f"{STAGE}/trials/{spec.key}/{MODEL_FOLDER}",
                "key": spec.key,
                "register": name,
            }


def verdict(plan: AblatePlan, results: Sequence[Row]) -> str:
    """All comparisons in one sentence."""
    words = {name: [r for r in results if r["verdict"] == name] for name in (HELPS, HURTS, UNCLEAR)}
    told = sum(map(len, words.values()))
    if not told:
        return f"{counted(len(plan.rungs), 'rung')}, and nothing to compare."
    parts = [
        f"{name}: {'; '.join(_named(row) for row in rows)}" for name, rows in words.items() if rows
    ]
    how = {
        "cumulative": "each over the rung it was added to",
        "leave-one-out": "each as the whole stack over the stack without it",
        "add-one": "each alone over the base",
    }[plan.design]
    together = any(row["beside"] for row in results if row["verdict"] in (HELPS, HURTS))
    note = " (* came with something else, see the table)" if together else ""
    seeds = counted(len(plan.seeds), "seed")
    sentence = f"With {seeds}, {how}: {'. '.join(parts)}{note}."
    return sentence[0].upper() + sentence[1:]


def _named(row: Row) -> str:
    star = "*" if row["beside"] else ""
    return f"{' + '.join(row['compares'])}{star} {100 * row['gain']['mean']:+.2f}"


def _why_nothing(history: History) -> str:
    failed = (t for t in history.trials(STAGE) if t.status is Status.FAILED)
    first = next((trial.error for trial in failed), "no trial ended")
    return (
        f"no rung came to an accuracy: {first}; mend the cause and start again with a new --run-dir"
    )
