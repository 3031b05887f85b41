"""What training and adapting a network took; hours of one trial, on a GPU where it had one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.history import History, Status, Trial
from orchestrator.stages.fixres.choice import Choice, adaptations, swept
from orchestrator.stages.fixres.plan import FixResPlan, Network
from orchestrator.stages.fixres.source import seconds_of
from orchestrator.trial import TrialSpec


def training_hours(plan: FixResPlan, network: Network, history: History) -> float | None:
    """Of one seed, the mean: of those trained in this run if there are any, under the same
    conditions as what they are compared with; else of those given, by their own run's journal."""
    ours = [plan.training(network, run) for run in network.runs if run.weights is None]
    here = _hours(history, ours)
    there = [run.seconds / 3600 for run in network.runs if run.seconds]
    return _mean(here or there)


def adapting_hours(
    plan: FixResPlan, network: Network, history: History, choice: Choice
) -> float | None:
    """Of the chosen adaptation alone, for one seed; none for none."""
    if choice.adaptation == "none":
        return 0.0
    runs = swept(plan, network, history)
    specs = [plan.adapting(network, run, choice.adaptation, choice.resolution) for run in runs]
    return _mean(_hours(history, specs))


def search_hours(plan: FixResPlan, network: Network, history: History) -> float:
    """Of everything that was tried to choose, all seeds together."""
    runs = swept(plan, network, history)
    specs = [plan.sweep(network, run) for run in runs]
    for adaptation, side in adaptations(plan, network, history):
        specs += [plan.adapting(network, run, adaptation, side) for run in runs]
    return sum(_hours(history, specs))


def _hours(history: History, specs: Iterable[TrialSpec]) -> list[float]:
    trials = [history.get(spec.key) for spec in specs]
    return [_seconds(t) / 3600 for t in trials if t is not None and t.status is Status.COMPLETE]


def _seconds(trial: Trial) -> float:
    return seconds_of(trial.reports) or 0.0


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
