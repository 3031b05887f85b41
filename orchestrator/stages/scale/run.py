"""Carrying a family's training out: data, plan, session, result."""

from __future__ import annotations

from typing import Any

from orchestrator.config.scale import ScaleConfig
from orchestrator.errors import NotReady, UsageError
from orchestrator.loading import overlay
from orchestrator.machine import bundle_for, memory_for
from orchestrator.reporting.live import Watcher
from orchestrator.run_dir import RunDir
from orchestrator.session import check_run_dir
from orchestrator.stages.carrying import carry_out, check_place
from orchestrator.stages.reading import read_set
from orchestrator.stages.scale.plan import STAGE, ScalePlan
from orchestrator.stages.scale.result import asked
from orchestrator.stages.scale.setup import plan_scale
from orchestrator.stages.scale.source import Source, read_source, with_source
from orchestrator.stages.scale.speed import Speed, speeds
from orchestrator.stages.scale.stage import FamilyTraining
from orchestrator.stages.scale.weights import beginning_from
from orchestrator.suited import Suited, suited
from orchestrator.weights import Pretrained, find_weights, keep_weights
from trainer.config import TrainConfig
from trainer.data.decoded import DecodedSet
from trainer.data.splits import Splits, carve


def dry(config: ScaleConfig, *, watcher: Watcher) -> dict[str, Any]:
    """The table with its cost and how fast its rows train; writes nothing but the cache."""
    check_place(config, STAGE)
    plan, splits, _ = plan_for(*with_search(config), watcher=watcher)
    found = _speeds(plan)
    document = asked(plan)
    for row, member in zip(document["members"], plan.members, strict=True):
        row |= found[member.name].to_json_for(member.train)
    return {**document, "plan": plan.cost(_seconds_per_mac(plan, splits, found)).to_json()}


def run(config: ScaleConfig, *, run_dir: RunDir, watcher: Watcher) -> dict[str, Any]:
    """The training, begun or continued in `run_dir`, to its result."""
    check_run_dir(run_dir, STAGE)
    config, source = with_search(config)
    plan, _, weights = plan_for(config, source, watcher=watcher)
    _require_room(plan)
    return carry_out(
        FamilyTraining(plan),
        config,
        run_dir=run_dir,
        bundle=plan.resources[0],
        watcher=watcher,
        begin=lambda: keep_weights(weights, run_dir) if weights else None,
    )


def _require_room(plan: ScalePlan) -> None:
    """Refuse to begin what memory cannot hold. Raises: NotReady."""
    large = [member.name for member in plan.members if not member.fits]
    if large:
        raise NotReady(
            f"no memory for a training step of {', '.join(large)}; leave them out (--phi, "
            "--members), or fewer --workers, or more with --set memory_per_trial=…"
        )


def with_search(config: ScaleConfig) -> tuple[ScaleConfig, Source | None]:
    """The configuration with what the search behind it hands on. Raises: UsageError."""
    if config.from_ is not None:
        source = read_source(config.from_)
        return with_source(config, source), source
    if config.coefficients is None and not config.published and config.weights is None:
        raise UsageError(
            "scale: by what? Give --from RUN_DIR (of a search-scaling run), "
            "--coefficients 1.2,1.1,1.15 or --published; or --weights, to train on from them"
        )
    return config, None


def plan_for(
    config: ScaleConfig, source: Source | None, *, watcher: Watcher
) -> tuple[ScalePlan, Splits, Pretrained | None]:
    """Read the data set and work the plan out. Raises: ConfigError, DatasetError, UsageError."""
    weights = find_weights(config.weights, download=config.download) if config.weights else None
    dataset, decoded = read_set(config, watcher=watcher)
    bundle = bundle_for(config)
    device = "cuda" if bundle.gpus else "cpu"
    fits = _fitting(config, source, dataset, decoded, device=device)
    recipe = fits.recipe.with_(seed=config.seed, epochs=config.epochs or fits.recipe.epochs)
    recipe = overlay(recipe, config.train, "train")
    begun = None
    if weights is not None:
        begun = beginning_from(
            recipe,
            weights,
            class_names=decoded.class_names,
            freeze=config.freeze,
            own_lr="lr" in (config.train.get("optim") or {}),
        )
    splits = carve(decoded, recipe.data)
    plan = plan_scale(
        config,
        source=source,
        splits=splits,
        fits=fits,
        recipe=recipe,
        bundle=bundle,
        begun=begun,
        weights=weights,
        memory=memory_for(config, bundle, asked=config.memory_per_trial),
    )
    for warning in plan.warnings:
        watcher.say(f"note: {warning}")
    return plan, splits, weights


def _fitting(
    config: ScaleConfig, source: Source | None, dataset: str, decoded: DecodedSet, *, device: str
) -> Suited:
    """What suits the data set, on the baseline that is scaled."""
    if config.published:
        return suited(
            dataset,
            decoded,
            device=device,
            num_classes=config.classes or 1000,
            baseline="efficientnet-b0",
            resolution=224,
        )
    return suited(
        dataset,
        decoded,
        device=device,
        num_classes=config.classes,
        baseline=source.baseline if source else config.baseline,
        width=source.width if source else config.baseline_width,
        resolution=source.resolution if source else config.resolution,
    )


def _speeds(plan: ScalePlan) -> dict[str, Speed]:
    import torch  # for dry runs alone

    from trainer.probe import probed_images, training_speed

    device = "cuda" if plan.resources[0].gpus else "cpu"

    def probe(config: TrainConfig, seconds: float) -> float | None:
        try:
            return training_speed(config, device=device, seconds=seconds)
        except torch.OutOfMemoryError:
            return None

    first = plan.members[0].train
    return speeds(
        {member.name: member.train for member in plan.members},
        baseline=first.with_(model=plan.start.config),
        probe=probe,
        images=probed_images,
    )


def _seconds_per_mac(plan: ScalePlan, splits: Splits, found: dict[str, Speed]) -> float:
    """Of an epoch, on average over the members as fast as they are."""
    images = len(splits.train) + len(splits.reporting) / 3  # a forward pass is a third of a step
    seconds = sum(images / found[member.name].images_per_second for member in plan.members)
    return seconds / sum(member.size.cost.macs for member in plan.members)
