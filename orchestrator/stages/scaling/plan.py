"""What a coefficient search will train: networks, seeds, rungs, controls; pure values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.estimates import Cost, PlannedRun, bytes_per_param, cost_of
from orchestrator.runners.base import KeepCheckpoints
from orchestrator.selection.halving import HalvingPlan
from orchestrator.trial import Bundle, Scalar, TrialSpec, trial_key
from search_spaces.compound_scaling import Baseline
from search_spaces.screening import Candidate, Screening
from trainer.complexity import Complexity, count
from trainer.config import EfficientNetConfig, Strict, TrainConfig

STAGE = "search-scaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A network that the search is compared with, trained like a finalist, shown apart."""

    name: str
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Strict):
    """What accuracies are measured on."""

    fingerprint: str
    """Of the training and selection images and labels."""
    num_images: int
    """In the selection split."""
    chance: float
    """Accuracy of always guessing the most frequent class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPlan:
    """Everything the search was told and has worked out, before anything is trained."""

    question: dict[str, Any]
    """The options as asked, for the record."""
    constraint: dict[str, Any]
    start: Baseline
    screening: Screening
    recipe: TrainConfig
    """How every network is trained; its model is the baseline, its seed the first one."""
    evidence: Evidence
    halving: HalvingPlan | None
    """None: every candidate is run with every seed, and the best mean wins."""
    num_seeds: int
    """Runs behind the mean of a finalist or control."""
    controls: tuple[Control, ...] = ()
    recipe_trials: int = 0
    """Trials spent on the recipe before the grid."""
    resources: tuple[Bundle, ...] = (Bundle(),)
    workers: int = 1
    """Trials at a time, for estimates."""
    keep_checkpoints: KeepCheckpoints = "best-and-last"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of finalists and controls; with halving, none that took part in the selection."""
        first = self.recipe.seed + (self.halving is not None)
        return tuple(range(first, first + self.num_seeds))

    @property
    def milestones(self) -> tuple[int, ...]:
        """Epochs at which the candidates wait for each other."""
        return self.halving.rungs if self.halving else ()

    @property
    def by_name(self) -> dict[str, Candidate]:
        """The candidates under the names that tables and sentences use."""
        return {name_of(candidate): candidate for candidate in self.screening.candidates}

    @property
    def finalists(self) -> int:
        """Candidates whose mean decides."""
        everybody = len(self.screening.candidates)
        return self.halving.num_finalists if self.halving else everybody

    def spec(
        self,
        recipe: TrainConfig,
        candidate: Candidate,
        seed: int,
        *,
        milestones: Sequence[int] = (),
    ) -> TrialSpec:
        """One training run of one network."""
        assert isinstance(recipe.model, EfficientNetConfig), "compound scaling scales EfficientNets"
        config = recipe.with_(model=fitted(candidate.config, recipe.model), seed=seed)
        return self.trial(config, labels=_labels(candidate, seed), milestones=milestones)

    def trial(
        self, config: TrainConfig, *, labels: dict[str, Scalar], milestones: Sequence[int] = ()
    ) -> TrialSpec:
        """A trial of this stage on this data."""
        return TrialSpec(
            key=trial_key("train", config, fingerprint=self.evidence.fingerprint),
            stage=STAGE,
            objective="train",
            config=config,
            labels=labels,
            milestones=tuple(milestones),
            resources=self.resources,
        )

    def cost(self, seconds_per_mac: float | None) -> Cost:
        """What it takes, at a rate as measured (see `estimates`)."""
        return cost_of(
            [
                PlannedRun(macs=complexity.macs, params=complexity.params, epochs=epochs)
                for complexity, epochs in self._planned()
            ],
            seconds_per_mac=seconds_per_mac,
            workers=self.workers,
            gpus_per_trial=self.resources[0].gpus,
            bytes_per_param=bytes_per_param(self.recipe, self.keep_checkpoints),
        )

    def _planned(self) -> Iterator[tuple[Complexity, int]]:
        """Every trial's network and epochs; who the finalists are is not known yet."""
        horizon = self.recipe.epochs
        costs = sorted((c.cost for c in self.screening.candidates), key=lambda cost: cost.macs)
        yield from [(count(self.start.config), horizon)] * self.recipe_trials
        if self.halving:
            yield from zip(costs, _epochs_at_rungs(self.halving), strict=True)
        compared = [costs[len(costs) // 2]] * self.finalists
        for cost in [*compared, *(control.candidate.cost for control in self.controls)]:
            yield from [(cost, horizon)] * self.num_seeds


def name_of(candidate: Candidate) -> str:
    """How people call the network: its coefficients."""
    alpha, beta, gamma = candidate.coefficients.to_json()
    return f"α={alpha:g} β={beta:g} γ={gamma:g}"


def fitted(built: EfficientNetConfig, like: EfficientNetConfig) -> EfficientNetConfig:
    """The network with what the recipe decides about networks (dropout, norms) taken over."""
    return built.with_(
        dropout=like.dropout,
        stochastic_depth=like.stochastic_depth,
        norm_eps=like.norm_eps,
        norm_momentum=like.norm_momentum,
        init=like.init,
    )


def _labels(candidate: Candidate, seed: int) -> dict[str, Scalar]:
    alpha, beta, gamma = candidate.coefficients.to_json()
    return {
        "name": name_of(candidate),
        "alpha": alpha,
        "beta": beta,
        "gamma": gamma,
        "macs": candidate.cost.macs,
        "macs_ratio": candidate.macs_ratio,
        "params": candidate.cost.params,
        "resolution": candidate.config.resolution,
        "seed": seed,
    }


def _epochs_at_rungs(halving: HalvingPlan) -> list[int]:
    """How long each of the trials runs if no rung is postponed."""
    leaving = [*halving.rungs, halving.horizon]
    staying = [*halving.keep, 0]
    arriving = halving.num_trials
    epochs = []
    for epoch, stay in zip(leaving, staying, strict=True):
        epochs += [epoch] * (arriving - stay)
        arriving = stay
    return epochs
