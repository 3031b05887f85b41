"""What an ablation says: every rung's accuracy, cost and speed, and what each trick bought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.ablation.ladders import Rung, beside
from orchestrator.ablation.speed_trials import TimedNetwork
from orchestrator.errors import StageFailed
from orchestrator.estimates import measured_rate
from orchestrator.history import History, Status, Trial
from orchestrator.run_dir import MODEL_FOLDER
from orchestrator.searchers.walk import reward_of
from orchestrator.selection.agreement import UNKNOWN, Agreement
from orchestrator.selection.answers import agreement_of
from orchestrator.selection.intervals import scored, summarise
from orchestrator.stages.ablate.equal_accuracy import at_equal_accuracy
from orchestrator.stages.ablate.gains import (
    CORRECTION,
    Gain,
    Runs,
    Values,
    gain_row,
    gains_of,
    trained_as,
    verdict,
)
from orchestrator.stages.ablate.plan import STAGE, AblatePlan, Rival
from orchestrator.trial import TrialSpec
from trainer.complexity import count

Row = dict[str, Any]
BUSY = 0.9
"""Below this part of its threads' time, the process that measured was kept waiting."""


def asked(plan: AblatePlan) -> Row:
    """What was asked, and the rungs; the head of every document."""
    train = plan.rungs[0].train
    return {
        "stage": STAGE,
        "preset": plan.preset,
        "source": plan.source or None,
        "design": plan.design,
        "network": {
            "name": plan.network,
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
    gains, speeds = gains_of(plan, values, agreement), _speeds(plan, history)
    results = list(_results(plan, runs, history, values, agreement, gains, speeds))
    rivals = [_rival(plan, rival, speeds) for rival in plan.rivals]
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


def _results(
    plan: AblatePlan,
    runs: Runs,
    history: History,
    values: Values,
    agreement: Agreement,
    gains: Mapping[str, Gain],
    speeds: Mapping[TimedNetwork, Row],
) -> Iterator[Row]:
    """Every rung, in the order of the ladder."""
    num_images = plan.evidence.num_images
    estimates = {e.key: e for e in summarise(values, num_images=num_images, agreement=agreement)}
    for rung in plan.rungs:
        name = trained_as(plan, rung.name)
        specs = runs[rung.name].values()
        yield {
            **row_of(plan, rung),
            **scored(estimates.get(name), values.get(name, {})),
            **_course([trial for spec in specs if (trial := history.get(spec.key))]),
            **_speed(speeds.get(plan.timed_rung(rung))),
            "keys": [spec.key for spec in specs],
            **gain_row(plan, rung, runs, gains.get(rung.name)),
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


def _speeds(plan: AblatePlan, history: History) -> dict[TimedNetwork, Row]:
    """What was measured, by network."""
    found = _measured(plan, history).get("networks", ())
    return dict(zip(plan.timed, found, strict=False))


def _speed(found: Row | None) -> Row:
    found = found or {}
    return {
        "latency_seconds": found.get("latency_seconds"),
        "latency_range": found.get("latency_range"),
        "images_per_second": found.get("images_per_second"),
        "images_per_second_range": found.get("images_per_second_range"),
        "throughput_batch": found.get("batch_size"),
        "precision": found.get("precision"),
    }


def _measured(plan: AblatePlan, history: History) -> Row:
    trial = history.get(plan.speed_spec.key) if plan.speed_spec else None
    done = trial is not None and trial.status is Status.COMPLETE and trial.reports
    return trial.reports[-1] if trial is not None and done else {}


def _conditions(plan: AblatePlan, history: History) -> Row | None:
    """Under which the speeds were measured."""
    found = _measured(plan, history)
    if not found:
        return None
    networks = found["networks"]
    share = found["cpu_share"]
    return {
        "device": found["device"],
        "threads": found["threads"],
        "channels_last": networks[0]["channels_last"],
        "precisions": sorted({each["precision"] for each in networks}),
        "batches": sorted({each["batch_size"] for each in networks}),
        "cpu_share": share,
        "busy": share is not None and share < BUSY,
        "how": f"medians over {found['rounds']} rounds in which all networks take turns; random "
        "images",
    }


def _rival(plan: AblatePlan, rival: Rival, speeds: Mapping[TimedNetwork, Row]) -> Row:
    cost = count(rival.model)
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
        **_speed(speeds.get(plan.timed_rival(rival))),
    }


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


def _why_nothing(history: History) -> str:
    failed = (t for t in history.trials(STAGE) if t.status is Status.FAILED)
    first = next((trial.error for trial in failed), "no trial ended")
    return (
        f"no rung came to an accuracy: {first}; mend the cause and start again with a new --run-dir"
    )
