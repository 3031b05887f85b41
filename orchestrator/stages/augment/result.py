"""What a policy search says: the policy, the verdict on it, and what both have cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.errors import StageFailed
from orchestrator.history import History, Status, Trial
from orchestrator.searchers.walk import reward_of
from orchestrator.selection.agreement import Agreement
from orchestrator.selection.answers import agreement_of
from orchestrator.selection.intervals import summarise
from orchestrator.selection.verdict import Difference, paired_difference, way_out
from orchestrator.stages.augment.plan import STAGE, AugmentPlan
from orchestrator.trial import TrialSpec
from trainer.augment.files import policy_to_dict
from trainer.complexity import count

if TYPE_CHECKING:
    from orchestrator.stages.augment.stage import AugmentSearch

Row = dict[str, Any]
Values = Mapping[str, Mapping[int, float]]

CHILDREN = 20
"""Of those that were tried, how many of the best the document names; the journal has them all."""


def asked(plan: AugmentPlan) -> Row:
    """What was asked and what it is asked of; the head of every document."""
    network = count(plan.child.model)
    return {
        "stage": STAGE,
        "method": plan.method,
        "child": {
            "family": plan.child.model.family,
            "resolution": plan.child.model.resolution,
            "params": network.params,
            "macs": network.macs,
            "epochs": plan.child.epochs,
            "batch_size": plan.child.batch_size,
            "lr": plan.child.optim.lr,
        },
        "budget": {
            "trials": plan.trials if plan.searches else 0,
            "sub_policies": plan.settings.sub_policies,
            "seeds": plan.num_seeds,
        },
        "evidence": plan.evidence.to_json(),
        "warnings": list(_warnings(plan)),
    }


def document(search: AugmentSearch, history: History) -> Row:
    """The finished search.

    Raises: StageFailed where nothing was found, or what was found could not be trained.
    """
    plan = search.plan
    policy = search.searches[plan.method].chosen(history)
    arms = search.arms(history)
    runs = {name: search.runs(policy) for name, policy in arms.items()}
    values = {name: found for name, specs in runs.items() if (found := _values(specs, history))}
    if plan.method not in values:
        raise StageFailed(_why_nothing(history, runs[plan.method].values()))
    agreement = agreement_of(
        {name: [history[spec.key] for spec in runs[name].values()] for name in values}
    )
    rows = list(_arms(values, runs, plan.evidence.reporting_images, agreement, history))
    differences = [
        paired_difference(
            values,
            plan.method,
            other,
            num_images=plan.evidence.reporting_images,
            agreement=agreement,
        )
        for other in values
        if other != plan.method
    ]
    return {
        **asked(plan),
        "policy": None if policy is None else policy_to_dict(policy),
        "arms": rows,
        "winner": next(row for row in rows if row["name"] == plan.method),
        "differences": [difference.to_json() for difference in differences],
        "verdict": {"sentence": sentence(plan, differences)},
        "children": list(_children(search, history)),
        "spent": list(_spent(search, history)),
        "train": plan.final.to_json(),
        "plan": plan.cost(None).to_json(),
    }


def sentence(plan: AugmentPlan, differences: Iterable[Difference]) -> str:
    """What may be claimed of the policy that was found, against its control if there is one."""
    by_name = {difference.second: difference for difference in differences}
    control = next((by_name[n] for n in ("random search", "none", *by_name) if n in by_name), None)
    found = f"The policy of {plan.method}" if plan.method != "none" else "No policy"
    if control is None:
        return f"{found} was trained without a control: nothing can be said about its worth."
    against = {
        "random search": "that of a random search at the same cost",
        "none": "no policy at all",
    }.get(control.second, control.second)
    low, high = (f"{100 * limit:+.1f}" for limit in control.interval)
    gap = f"{100 * control.mean:+.1f} points (95 % interval {low} to {high})"
    if control.p_value < 0.05:
        way = "better" if control.mean > 0 else "worse"
        return f"{found} is {way} than {against}: {gap}."
    help_ = way_out(control, plan.evidence.reporting_images)
    return f"{found} is not distinguishable from {against}: {gap}; {help_}."


def _values(specs: Mapping[int, TrialSpec], history: History) -> dict[int, float]:
    found = {seed: reward_of(history.get(spec.key)) for seed, spec in specs.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _arms(
    values: Values,
    runs: Mapping[str, Mapping[int, TrialSpec]],
    num_images: int,
    agreement: Agreement,
    history: History,
) -> Iterable[Row]:
    """The arms with their intervals, in the order in which they are compared."""
    for estimate in summarise(values, num_images=num_images, agreement=agreement):
        specs = list(runs[estimate.key].values())
        failed = [t for s in specs if (t := history.get(s.key)) and t.status is Status.FAILED]
        yield {
            "name": estimate.key,
            "mean": estimate.mean,
            "interval": list(estimate.interval),
            "method": estimate.method,
            "seeds": list(values[estimate.key]),
            "values": list(values[estimate.key].values()),
            "epochs": max(history[spec.key].epochs for spec in specs if spec.key in history),
            "error": failed[0].error if failed else "",
            "keys": [spec.key for spec in specs],
        }


def _children(search: AugmentSearch, history: History) -> Iterable[Row]:
    """The best of what the search tried, each with what it was tried with."""
    method = search.searches[search.plan.method]
    trials = [t for spec in method.specs(history) if (t := history.get(spec.key))]
    scored = [(trial, score) for trial in trials if (score := reward_of(trial)) is not None]
    for trial, score in sorted(scored, key=lambda pair: (-pair[1], pair[0].key))[:CHILDREN]:
        yield {
            "name": trial.labels["name"],
            "top1": score,
            "epochs": trial.epochs,
            "key": trial.key,
        }


def _spent(search: AugmentSearch, history: History) -> Iterable[Row]:
    """Trials, epochs and hours of each part; a trial that two parts share is in both."""
    for name, part in search.searches.items():
        phase = "search" if name == search.plan.method else "control"
        yield _cost(phase, part.specs(history), history)
    arms = search.arms(history).values()
    yield _cost("verdict", [s for policy in arms for s in search.runs(policy).values()], history)


def _cost(phase: str, specs: Iterable[TrialSpec], history: History) -> Row:
    unique = {spec.key: spec for spec in specs if spec.key in history}
    trials = {key: history[key] for key in unique}
    seconds = {key: _seconds(trial) for key, trial in trials.items()}
    return {
        "phase": phase,
        "trials": len(trials),
        "epochs": sum(len(trial.reports) for trial in trials.values()),
        "training_hours": sum(seconds.values()) / 3600,
        "gpu_hours": sum(
            seconds[key] * sum(bundle.gpus for bundle in spec.resources)
            for key, spec in unique.items()
        )
        / 3600,
    }


def _seconds(trial: Trial) -> float:
    return sum(float(report.get("seconds") or 0) for report in trial.reports)


def _warnings(plan: AugmentPlan) -> Iterable[str]:
    if plan.evidence.num_images < 5000 and plan.searches:
        error = 100 * (0.25 / plan.evidence.num_images) ** 0.5
        yield (
            f"a child is judged by {plan.evidence.num_images:,} images: its accuracy is uncertain "
            f"by up to {error:.1f} points (one standard error), and the best of many is flattered"
        )


def _why_nothing(history: History, specs: Iterable[TrialSpec]) -> str:
    failed = [t for s in specs if (t := history.get(s.key)) and t.status is Status.FAILED]
    first = failed[0].error if failed else "no trial ended"
    return f"the policy that was found could not be trained: {first}"
