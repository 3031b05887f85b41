"""Which resolution and which adaptation: chosen on the selection split, by the history alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.config.fixres import ADAPTATIONS
from orchestrator.history import History, Status, Trial
from orchestrator.selection.intervals import mean_of
from orchestrator.stages.fixres.plan import (
    SIDE_BY_SIDE,
    Adaptation,
    FixResPlan,
    Network,
    SourceRun,
    sides,
)
from orchestrator.stages.race import is_settled
from orchestrator.trial import Report, TrialSpec

Scores = Mapping[tuple[Adaptation, int], Mapping[int, Report]]
"""What was tried, by adaptation and resolution -> seed -> its report on the selection split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a network is best shown at, and what is best done to it, as far as selection says."""

    adaptation: Adaptation
    resolution: int
    mean: float
    """Over the seeds, on the selection split: too good by being the best of several."""


def sources_ready(plan: FixResPlan, network: Network, history: History) -> list[SourceRun]:
    """The runs of a network whose weights are there."""
    return [
        run
        for run in network.runs
        if run.weights is not None or _complete(history, plan.training(network, run))
    ]


def swept(plan: FixResPlan, network: Network, history: History) -> list[SourceRun]:
    """The runs whose sweep came to its end."""
    ready = sources_ready(plan, network, history)
    return [run for run in ready if _complete(history, plan.sweep(network, run))]


def is_swept(plan: FixResPlan, network: Network, history: History) -> bool:
    """Whether no sweep of the network is still to come."""
    trainings = [plan.training(network, run) for run in network.runs if run.weights is None]
    if not all(is_settled(history, spec) for spec in trainings):
        return False
    ready = sources_ready(plan, network, history)
    return all(is_settled(history, plan.sweep(network, run)) for run in ready)


def sweep_scores(plan: FixResPlan, network: Network, history: History) -> Scores:
    """The unadapted network at every resolution, of the seeds whose sweep came to its end."""
    found: dict[tuple[Adaptation, int], dict[int, Report]] = {}
    for run in swept(plan, network, history):
        for report in history[plan.sweep(network, run).key].reports:
            found.setdefault(("none", report["resolution"]), {})[run.seed] = report
    return found


def finetune_sides(plan: FixResPlan, network: Network, history: History) -> tuple[int, ...]:
    """The resolutions that a network is fine-tuned at.

    As asked; else the best of the sweep, unadapted, with its neighbours on both sides, or the next
    two on one side where it stands at the end. That fine-tuning moves the best one no further than
    to a neighbour is taken for granted.
    """
    asked = plan.finetune_at
    if asked == "all" or (len(network.resolutions) <= SIDE_BY_SIDE and asked is None):
        return network.resolutions
    if asked is not None:
        return tuple(side for side in network.resolutions if side in asked)
    means = {
        side: _mean(by_seed) for (_, side), by_seed in sweep_scores(plan, network, history).items()
    }
    if not means:
        return ()
    best = network.resolutions.index(max(means, key=lambda side: (means[side], -side)))
    first = min(max(best - 1, 0), len(network.resolutions) - SIDE_BY_SIDE)
    return network.resolutions[first : first + SIDE_BY_SIDE]


def adaptations(
    plan: FixResPlan, network: Network, history: History
) -> list[tuple[Adaptation, int]]:
    """What is done to a network, and at which resolutions, once it is swept."""
    return [
        (adaptation, side)
        for adaptation in plan.adaptations
        for side in (
            finetune_sides(plan, network, history)
            if adaptation == "finetune"
            else sides(plan, network, adaptation)
        )
    ]


def scores(plan: FixResPlan, network: Network, history: History) -> Scores:
    """All that was tried on a network: the sweep, and the adaptations that came to their end."""
    found = dict(sweep_scores(plan, network, history))
    for adaptation, side in adaptations(plan, network, history):
        by_seed = {
            run.seed: trial.reports[-1]
            for run in swept(plan, network, history)
            if (trial := _complete(history, plan.adapting(network, run, adaptation, side)))
        }
        if by_seed:
            found[adaptation, side] = by_seed
    return found


def best_of(
    found: Scores, wanted: Sequence[Adaptation], *, seeds: int, allowed: Sequence[int]
) -> Choice | None:
    """The highest mean over all seeds; of equals the smaller change, then the fewer pixels.

    Args:
        found: What was tried.
        wanted: Adaptations to choose among.
        seeds: How many there are; what lacks one is left out.
        allowed: Resolutions to choose among.
    """
    choices = [
        Choice(adaptation=adaptation, resolution=side, mean=_mean(by_seed))
        for (adaptation, side), by_seed in found.items()
        if adaptation in wanted and side in allowed and len(by_seed) == seeds
    ]
    return min(choices, key=_order, default=None)


def choose(plan: FixResPlan, network: Network, history: History) -> Choice | None:
    """What is reported; None where nothing that was asked for came to an end."""
    runs = swept(plan, network, history)
    found = scores(plan, network, history)
    return best_of(found, plan.adaptations, seeds=len(runs), allowed=network.resolutions)


def _order(choice: Choice) -> tuple[float, int, int]:
    return (-choice.mean, ADAPTATIONS.index(choice.adaptation), choice.resolution)


def _mean(by_seed: Mapping[int, Report]) -> float:
    return mean_of([report["top1"] for report in by_seed.values()])


def _complete(history: History, spec: TrialSpec) -> Trial | None:
    trial = history.get(spec.key)
    return trial if trial is not None and trial.status is Status.COMPLETE else None
