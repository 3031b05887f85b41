"""From what was asked and the data at hand to an `AugmentPlan`; every refusal happens here."""

from __future__ import annotations

import numpy as np

from orchestrator.config.augment import SearchAugmentConfig
from orchestrator.machine import local_workers
from orchestrator.searchers.autoaugment import AutoAugmentSettings, for_budget
from orchestrator.selection.halving import HalvingPlan, default_finalists, plan_rungs
from orchestrator.stages.asking import question
from orchestrator.stages.augment.plan import AugmentEvidence, AugmentPlan, AugmentSettings, Method
from orchestrator.trial import Bundle
from search_spaces.augmentation import randaugment_grid
from trainer.augment.policy import Augmentation
from trainer.config import TrainConfig, require
from trainer.data.splits import Splits, learning_fingerprint, reporting_fingerprint

_TRIALS: dict[Method, int] = {
    "autoaugment": 100,
    "fast-autoaugment": 200,
    "pba": 16,
    "randaugment": len(randaugment_grid()),
    "random": 100,
}
"""Policies that are tried where the user does not say; members of the population."""


def plan_augment(
    config: SearchAugmentConfig,
    *,
    reduced: Splits,
    whole: Splits,
    child: TrainConfig,
    seeds: int,
    given: dict[str, Augmentation],
    bundle: Bundle,
) -> AugmentPlan:
    """The plan: `child` is the recipe on the `reduced` splits, the verdict's arms see the `whole`.

    Raises: ConfigError where the options leave nothing to search.
    """
    trials = _trials(config)
    settings = _settings(config, trials)
    evidence = _evidence(reduced, whole, child.model.num_classes)
    reporting = child.data.with_(train_images=0, evaluate_on="reporting")
    return AugmentPlan(
        question=question(config, f"{evidence.search}{evidence.verdict}"),
        method=config.method,
        trials=trials,
        settings=settings,
        child=child,
        final=child.with_(data=reporting),
        evidence=evidence,
        num_seeds=config.seeds or seeds,
        halving=_halving(config, trials, child.epochs, settings.keep),
        controls=config.controls == "all",
        given=given,
        resources=(bundle,),
        workers=local_workers(config, bundle),
        keep_checkpoints=config.keep_checkpoints,
    )


def _trials(config: SearchAugmentConfig) -> int:
    trials = config.trials or _TRIALS.get(config.method, 0)
    if config.method == "randaugment":
        return min(trials, len(randaugment_grid()))
    if config.method == "pba":
        require(trials >= 2, f"trials: a population has at least 2 members, got {trials}")
    return trials


def _settings(config: SearchAugmentConfig, trials: int) -> AugmentSettings:
    controller = for_budget(max(trials, 1), AutoAugmentSettings(keep=config.keep))
    if config.controller_lr is not None:
        controller = controller.with_(lr=config.controller_lr)
    return AugmentSettings(
        sub_policies=config.sub_policies,
        keep=config.keep,
        folds=min(config.folds, max(trials, 1)),
        draws=config.draws,
        interval=config.interval,
        controller=controller,
    )


def _evidence(reduced: Splits, whole: Splits, num_classes: int) -> AugmentEvidence:
    labels = reduced.selection.labels
    most_frequent = int(np.bincount(labels, minlength=num_classes).max())
    return AugmentEvidence(
        search=learning_fingerprint(reduced),
        verdict=learning_fingerprint(whole) + reporting_fingerprint(whole),
        train_images=len(reduced.train),
        all_train_images=len(whole.train),
        num_images=len(labels),
        reporting_images=len(whole.reporting),
        chance=most_frequent / len(labels),
    )


def _halving(
    config: SearchAugmentConfig, trials: int, epochs: int, keep: int
) -> HalvingPlan | None:
    """Where children do not learn from each other, and more of them than the result keeps."""
    least = 1 if config.method == "randaugment" else keep
    finalists = min(max(default_finalists(trials), least), trials) if trials else 0
    if config.method not in ("random", "randaugment") or not config.halving or finalists == trials:
        return None
    return plan_rungs(epochs, trials, num_finalists=finalists)
