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
from orchestrator.stages.ablate.plan import STAGE, AblatePlan, Rival
from orchestrator.trial import TrialSpec
from trainer.complexity import count

Row = dict[str, Any]
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


def document(plan: AblatePlan, history: History) -> Row:
    """The finished ablation.

    Raises: StageFailed where no rung came to an accuracy.
    """
    values = {rung.name: found for rung in plan.distinct if (found := _values(plan, rung, history))}
    if not values:
        raise StageFailed(_why_nothing(history))
    agreement = _agreement(plan, values, history)
    compared = _compared(plan, values, agreement)
    results = list(_results(plan, history, values, agreement, compared))
    return {
        **asked(plan),
        "results": results,
        "rivals": [_rival(plan, rival, history) for rival in plan.rivals],
        "speed": _conditions(plan, history),
        "models": list(_models(plan, history)),
        "verdict": {
            "sentence": verdict(plan, results),
            "agreement": agreement.to_json() if agreement != UNKNOWN else None,
            "correction": CORRECTION,
        },
        "train": {rung.name: rung.train.to_json() for rung in plan.rungs},
        "plan": plan.cost(measured_rate(history.trials(STAGE))).to_json(),
    }


def _values(plan: AblatePlan, rung: Rung, history: History) -> dict[int, float]:
    found = {seed: reward_of(history.get(plan.spec(rung, seed).key)) for seed in plan.seeds}
    return {seed: value for seed, value in found.items() if value is not None}


def _agreement(plan: AblatePlan, values: Values, history: History) -> Agreement:
    return agreement_of(
        {
            name: [history[plan.spec(plan.by_name[name], seed).key] for seed in by_seed]
            for name, by_seed in values.items()
        }
    )


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
        specs = [plan.spec(rung, seed) for seed in plan.seeds]
        yield {
            **row_of(plan, rung),
            **scored(estimates.get(name), values.get(name, {})),
            **_course([trial for spec in specs if (trial := history.get(spec.key))]),
            **_speed(history, plan.speed_of(rung) if plan.speed else None),
            "keys": [spec.key for spec in specs],
            **_gain(plan, rung, compared.get(rung.name), num_images),
        }


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
        **_speed(history, spec),
    }


def _gain(
    plan: AblatePlan, rung: Rung, found: tuple[Difference, float] | None, num_images: int
) -> Row:
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
        "sentence": _sentence(plan, rung, difference, word, corrected, num_images),
    }


def _what(rung: Rung) -> str:
    instead = f" in place of {', '.join(rung.replaces)}" if rung.replaces else ""
    return f"{' + '.join(rung.compares)}{instead}"


def _sentence(
    plan: AblatePlan,
    rung: Rung,
    difference: Difference,
    word: str,
    corrected: float,
    num_images: int,
) -> str:
    low, high = (f"{100 * limit:+.2f}" for limit in difference.interval)
    gap = f"{100 * difference.mean:+.2f} points (95 % interval {low} to {high})"
    other = plan.by_name[rung.over or ""]
    changed = beside(other, rung) if rung.lacks else beside(rung, other)
    also = f" (not alone: {', '.join(changed)})" if changed else ""
    subject = f"{_what(rung)}{also}"
    if word != UNCLEAR:
        return f"{subject} {word}: {gap}."
    seeds = counted(difference.num_seeds, "seed")
    return f"{subject}: cannot tell with {seeds}: {gap}; {_way_out(difference, num_images)}."


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


def _models(plan: AblatePlan, history: History) -> Iterator[Row]:
    """Of each trained rung the model of the first seed that ended well; the best one on the
    reporting split would be a choice made on it."""
    for rung in (rung for rung in plan.rungs if plan.first_of(rung) is rung):
        specs = [plan.spec(rung, seed) for seed in plan.seeds]
        ended = (
            spec
            for spec in specs
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
    note = " (* came with other epochs or another test resolution)" if together else ""
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
