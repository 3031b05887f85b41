"""From what was asked and the data at hand to a `ScalePlan`; every refusal happens here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from orchestrator.config import ScaleConfig
from orchestrator.machine import local_workers
from orchestrator.policies.finding import find_policy
from orchestrator.stages.asking import question
from orchestrator.stages.scale_plan import FAR, Member, ReportingEvidence, ScalePlan
from orchestrator.stages.scale_source import Source
from orchestrator.suited import Suited
from orchestrator.trial import Bundle
from search_spaces.compound_scaling import ScalingCoefficients
from search_spaces.family_tables import (
    Size,
    exact_sizes,
    parse_modes,
    parse_phis,
    parse_published,
    published_sizes,
)
from search_spaces.published import PUBLISHED
from trainer.config import EfficientNetConfig, TrainConfig
from trainer.data.splits import Splits, learning_fingerprint, reporting_fingerprint

PHIS = "1-7"


def plan_scale(
    config: ScaleConfig,
    *,
    source: Source | None,
    splits: Splits,
    fits: Suited,
    recipe: TrainConfig,
    bundle: Bundle,
) -> ScalePlan:
    """The plan: `fits` with the user's changes in `recipe`.

    Raises: ConfigError where a size cannot be built.
    """
    bases = coefficients_of(config, source)
    sizes = _sizes(config, fits, bases)
    evidence = _evidence(splits, fits.baseline.num_classes)
    first = config.seed if source is None else max(config.seed, source.last_seed + 1)
    found = {} if source is None else {"run_dir": config.from_, **source.to_json()}
    scaled = None if bases is None else bases.to_json()
    return ScalePlan(
        question={
            **question(config, evidence.fingerprint),
            "scaled": {"coefficients": scaled, "baseline": fits.baseline.to_json()},
        },
        table="published" if bases is None else "exact",
        start=fits.baseline,
        coefficients=bases,
        members=tuple(_member(size, config, recipe) for size in sizes),
        evidence=evidence,
        seeds=tuple(range(first, first + (config.seeds or fits.seeds))),
        source=found,
        warnings=tuple(_warnings(config, sizes, splits)),
        resources=(bundle,),
        workers=local_workers(config, bundle),
        keep_checkpoints=config.keep_checkpoints,
    )


def coefficients_of(config: ScaleConfig, source: Source | None) -> ScalingCoefficients | None:
    """α, β, γ as given or as found; None for the published sizes."""
    if source is not None:
        return source.coefficients
    if config.coefficients is not None:
        return ScalingCoefficients.parse(config.coefficients)
    return None


def _sizes(config: ScaleConfig, fits: Suited, bases: ScalingCoefficients | None) -> list[Size]:
    if bases is None:
        names = parse_published(config.members) if config.members else tuple(PUBLISHED)
        return published_sizes(names, num_classes=fits.baseline.num_classes)
    return exact_sizes(
        fits.baseline,
        bases,
        parse_phis(config.phi or PHIS),
        parse_modes(config.mode),
        resolution_multiple=config.resolution_multiple,
    )


def _member(size: Size, config: ScaleConfig, recipe: TrainConfig) -> Member:
    """The size with the recipe: its own regularisation unless the user has said otherwise."""
    assert isinstance(recipe.model, EfficientNetConfig), "compound scaling scales EfficientNets"
    said = config.train.get("model")
    chosen = ["norm_eps", "norm_momentum", "init"]
    if isinstance(said, Mapping):
        chosen += [name for name in ("dropout", "stochastic_depth") if name in said]
    model = size.config.with_(**{name: getattr(recipe.model, name) for name in chosen})
    augment = recipe.augment
    if config.policy:  # translations of some presets are a number of pixels
        augment = augment.with_(policy=find_policy(config.policy, side=model.resolution))
    return Member(
        size=size.with_(config=model),
        train=recipe.with_(
            model=model, augment=augment, data=recipe.data.with_(evaluate_on="reporting")
        ),
    )


def _evidence(splits: Splits, num_classes: int) -> ReportingEvidence:
    labels = splits.reporting.labels
    most_frequent = int(np.bincount(labels, minlength=num_classes).max())
    return ReportingEvidence(
        fingerprint=learning_fingerprint(splits) + reporting_fingerprint(splits),
        train_images=len(splits.train),
        num_images=len(labels),
        chance=most_frequent / len(labels),
    )


def _warnings(config: ScaleConfig, sizes: Sequence[Size], splits: Splits) -> Iterator[str]:
    ours = splits.train.decoded.num_classes
    if config.published and config.classes is None and ours != 1000:
        yield (
            "the published sizes have 1,000 classes, the data set has "
            f"{ours}: --classes {ours} trains them for it"
        )
    for size in sizes:
        if abs(size.distance or 0) > FAR:
            more = "more" if (size.distance or 0) > 0 else "less"
            yield (
                f"{size.name}: the nearest network on this axis costs "
                f"{abs(100 * (size.distance or 0)):.1f} % {more} than {size.beside}"
            )
