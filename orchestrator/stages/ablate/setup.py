"""From what was asked and the data at hand to an `AblatePlan`; every refusal happens here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from orchestrator.ablation.ladders import (
    BASE,
    Design,
    Rung,
    Step,
    equally_long,
    refused,
    rungs_of,
)
from orchestrator.ablation.networks import network, suited_network
from orchestrator.ablation.presets import Preset, find_preset
from orchestrator.ablation.steps import parse_tricks
from orchestrator.ablation.teacher import check_teacher, record, unnamed_teacher
from orchestrator.ablation.trick import Means, Trick, TrickSettings
from orchestrator.ablation.tricks import TRICKS
from orchestrator.config.ablate import AblateConfig
from orchestrator.errors import UsageError
from orchestrator.loading import overlay
from orchestrator.machine import local_workers, memory_for
from orchestrator.policies.finding import find_policy
from orchestrator.stages.ablate.plan import AblatePlan
from orchestrator.stages.ablate.rivals import read_rivals
from orchestrator.stages.asking import question
from orchestrator.stages.evidence import reporting_evidence
from orchestrator.stages.micro_batches import fitted, in_at_most, micro_batch, too_large
from orchestrator.suited import suited
from orchestrator.trial import Bundle
from orchestrator.weights import Pretrained
from trainer.config import ResNetConfig, TrainConfig
from trainer.data.decoded import DecodedSet
from trainer.data.splits import Splits, carve
from trainer.errors import ConfigError
from trainer.models.rounding import Number, exact
from trainer.precision import execution_for

SEEDS = 3
ENOUGH = 0.95
"""Of what the running statistics of a batch norm should have forgotten of their beginning."""
USUAL = "warmup,zero-gamma,no-bias-decay,cosine,label-smoothing,mixup,pooled-shortcut,se"
"""What is tried where the user names nothing."""
LONGEST_WARM_UP = 0.25
"""Of a run."""
_USUAL_MOMENTUM = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """What a preset or a list comes to: where it begins, and its steps."""

    base: TrainConfig
    network: str
    steps: tuple[Step, ...]
    means: Means
    preset: Preset | None


def plan_ablation(
    config: AblateConfig,
    *,
    dataset: str,
    decoded: DecodedSet,
    bundle: Bundle,
    teacher: Pretrained | None,
    only_plan: bool,
) -> tuple[AblatePlan, Splits]:
    """The plan.

    Args:
        config: As asked.
        dataset: Name or absolute path.
        decoded: Its images.
        bundle: What a trial gets.
        teacher: As `--teacher` has it.
        only_plan: A plan may reckon with a teacher that nobody has named yet.

    Raises: ConfigError, UsageError where the network cannot have a trick, or the tricks not each
        other.
    """
    classes = config.classes or decoded.num_classes
    ladder = _ladder(config, dataset, decoded, bundle=bundle, teacher=teacher, classes=classes)
    _check_taught(ladder, teacher, decoded, classes=classes, only_plan=only_plan)
    splits = carve(decoded, ladder.base.data)
    rungs, notes = rungs_of(ladder.base, ladder.steps, ladder.means, cast("Design", config.design))
    if config.equal_epochs:
        rungs = equally_long(rungs)
    asked_accumulate = ladder.base.accumulate
    rungs, memory_notes = _fitted(rungs, config, bundle)
    evidence = reporting_evidence(splits, classes)
    rivals = read_rivals(config.beside, evidence.fingerprint) if config.beside else ()
    seeds = tuple(range(config.seed, config.seed + (config.seeds or SEEDS)))
    warnings = (
        *notes,
        *memory_notes,
        *_warnings(ladder, rungs, splits, teacher, len(seeds)),
    )
    digest = {"teacher_digest": teacher.digest} if teacher else {}
    plan = AblatePlan(
        question={**question(config, evidence.fingerprint), **digest},
        network=ladder.network,
        preset=config.preset,
        source=ladder.preset.source if ladder.preset else "",
        design=cast("Design", config.design),
        rungs=rungs,
        evidence=evidence,
        seeds=seeds,
        asked_accumulate=asked_accumulate,
        teacher=record(teacher) if teacher else None,
        rivals=rivals,
        rivals_from=config.beside,
        speed=config.speed,
        speed_again=config.speed_again,
        register=config.register,
        warnings=warnings,
        resources=(bundle,),
        workers=local_workers(config, bundle),
        keep_checkpoints=config.keep_checkpoints,
    )
    return plan, splits


def _check_taught(
    ladder: Ladder,
    teacher: Pretrained | None,
    decoded: DecodedSet,
    *,
    classes: int,
    only_plan: bool,
) -> None:
    """There is a teacher just where somebody learns from one, and it knows the classes."""
    taught = any(trick.name == "distillation" for step in ladder.steps for trick in step.adds)
    if teacher is not None:
        if not taught:
            raise UsageError("--teacher: nobody learns from it; add distillation to --tricks")
        check_teacher(teacher, decoded.class_names, num_classes=classes)
    elif taught and not only_plan:
        raise UsageError(
            "--teacher: distillation needs one; name a model folder, a checkpoint or "
            "torchvision:NAME"
        )


def _ladder(
    config: AblateConfig,
    dataset: str,
    decoded: DecodedSet,
    *,
    bundle: Bundle,
    teacher: Pretrained | None,
    classes: int,
) -> Ladder:
    device = "cuda" if bundle.gpus else "cpu"
    preset = find_preset(config.preset) if config.preset else None
    if preset is None:
        name, recipe = _suited_recipe(config, dataset, decoded, device=device, classes=classes)
        steps = tuple(_steps(parse_tricks(config.tricks or USUAL)))
        settings = TrickSettings(ema_decay=recipe.ema_decay or None)
    else:
        name, recipe = _preset_recipe(config, preset, dataset, device=device, classes=classes)
        steps, settings = preset.steps, _for_short_runs(preset.settings, config.epochs)
    recipe = recipe.with_(seed=config.seed, data=recipe.data.with_(evaluate_on="reporting"))
    recipe = overlay(recipe, config.train, "train")
    if config.epochs is not None:
        recipe = _of_length(recipe, config.epochs)
    settings = overlay(settings, config.settings, "settings")
    if settings.precision is None:
        settings = settings.with_(precision="fp16" if bundle.gpus else "bf16")
    policy = preset.policy if preset else None
    if config.policy:
        policy = find_policy(config.policy, side=recipe.model.resolution)
    tricks = [trick for step in steps for trick in step.adds]
    _refuse_unread(config, tricks)
    if config.policy and "policy" not in [trick.name for trick in tricks]:
        recipe = recipe.with_(augment=recipe.augment.with_(policy=policy))
    means = Means(
        settings=settings,
        policy=policy,
        teacher=teacher or unnamed_teacher(recipe.model),
    )
    if preset is not None:
        steps = preset.steps_from(recipe)
    else:
        recipe = _without(recipe, tricks, means)
    return Ladder(base=recipe, network=name, steps=steps, means=means, preset=preset)


def _refuse_unread(config: AblateConfig, tricks: Sequence[Trick]) -> None:
    """A setting of a trick that is not there would have no effect."""
    read = {name for trick in tricks for name in trick.reads}
    for name in config.settings:
        if name not in read:
            owners = " or ".join(trick.name for trick in TRICKS.values() if name in trick.reads)
            raise UsageError(f"--set settings.{name}: it is of {owners}, which is not in the list")


def _of_length(recipe: TrainConfig, epochs: int) -> TrainConfig:
    """Drops of a step schedule stay at their parts of the run; so does a warm-up that would fill a
    short one."""
    schedule = recipe.schedule
    return recipe.with_(
        epochs=epochs,
        schedule=schedule.with_(
            step_epochs=schedule.step_epochs * epochs / recipe.epochs,
            warmup_epochs=min(schedule.warmup_epochs, epochs * LONGEST_WARM_UP),
        ),
    )


def _for_short_runs(settings: TrickSettings, epochs: int | None) -> TrickSettings:
    """A paper's warm-up, if it does not fill the run."""
    if epochs is None or settings.warmup_epochs is None:
        return settings
    return settings.with_(warmup_epochs=min(settings.warmup_epochs, epochs * LONGEST_WARM_UP))


def _suited_recipe(
    config: AblateConfig, dataset: str, decoded: DecodedSet, *, device: str, classes: int
) -> tuple[str, TrainConfig]:
    """The recipe that suits the data set, for a small residual network or the one asked for."""
    recipe = suited(dataset, decoded, device=device, num_classes=classes).recipe
    name, resolution = config.network, config.resolution
    width: Number = config.width or 1
    if name is None:
        name, resolution, width = suited_network(
            dataset, decoded, resolution=resolution, width=config.width
        )
    model = network(name, num_classes=classes, resolution=resolution, width=width)
    execution = execution_for(model.family, device)
    return _called(name, width), recipe.with_(model=model, execution=execution)


def _preset_recipe(
    config: AblateConfig, preset: Preset, dataset: str, *, device: str, classes: int
) -> tuple[str, TrainConfig]:
    name, width = config.network or preset.network, config.width or 1
    resolution = config.resolution or (None if config.network else preset.resolution)
    model = network(name, num_classes=classes, resolution=resolution, width=width)
    if not isinstance(model, ResNetConfig):
        raise ConfigError(
            f"network: the ladder of {preset.name} is one of residual networks, got "
            f"{config.network}; use --tricks"
        )
    return _called(name, width), preset.recipe(model, dataset, device)


def _called(name: str, width: Number) -> str:
    return name if exact(width) == 1 else f"{name}, width {float(exact(width)):g}"


def _steps(tricks: Sequence[Sequence[Trick]]) -> Iterator[Step]:
    yield Step(name=BASE)
    for together in tricks:
        yield Step(name="+".join(trick.name for trick in together), adds=tuple(together))


def _without(recipe: TrainConfig, tricks: Sequence[Trick], means: Means) -> TrainConfig:
    """The recipe as it is before any of the tricks."""
    for trick in tricks:
        try:
            recipe = trick.off(recipe, means)
        except ConfigError as error:
            raise refused(trick, error) from error
    return recipe


def _fitted(
    rungs: tuple[Rung, ...], config: AblateConfig, bundle: Bundle
) -> tuple[tuple[Rung, ...], tuple[str, ...]]:
    """All in the micro-batches of the one that needs the smallest.

    Batch norm sees the micro-batch: a rung of its own would be credited with that.
    """
    limit = memory_for(config, bundle, asked=config.memory_per_trial)
    largest = max(rungs, key=lambda rung: (rung.train.batch_size, rung.cost.activations))
    train = fitted(largest.train, limit)
    if too_large(train, limit):
        return rungs, (
            f"{largest.name}: a step takes more memory than a trial may have, even in "
            f"micro-batches of {micro_batch(train)}",
        )
    if train.accumulate == largest.train.accumulate:
        return rungs, ()
    images = micro_batch(train)
    note = (
        f"{train.batch_size} images a step do not fit into memory; all rungs in micro-batches of "
        f"{images}, which is what batch norm sees"
    )
    return tuple(rung.with_(train=in_at_most(rung.train, images)) for rung in rungs), (note,)


def _warnings(
    ladder: Ladder,
    rungs: Sequence[Rung],
    splits: Splits,
    teacher: Pretrained | None,
    seeds: int,
) -> Iterator[str]:
    if seeds == 1:
        yield "with one seed nothing can be told: the noise between seeds stays unknown"
    names = {name for rung in rungs for name in rung.tricks}
    if "distillation" in names and teacher is None:
        yield "distillation: the teacher is still to be named, with --teacher"
    for first, second in _the_same(rungs):
        yield f"{second}: the same training as {first}; trained once"
    base = rungs[0].train
    steps = base.epochs * max(len(splits.train) // base.batch_size, 1)
    momentum = getattr(base.model, "norm_momentum", 0.1)
    if 1 - (1 - momentum) ** steps < ENOUGH:
        slow = momentum < _USUAL_MOMENTUM
        how = f"--set train.model.norm_momentum={_USUAL_MOMENTUM}" if slow else "more --epochs"
        yield (
            f"batch norm's running statistics (momentum {momentum:g}) have hardly moved after "
            f"{steps:,} steps; {how}"
        )


def _the_same(rungs: Sequence[Rung]) -> Iterator[tuple[str, str]]:
    first: dict[TrainConfig, str] = {}
    for rung in rungs:
        if rung.train in first:
            yield first[rung.train], rung.name
        else:
            first[rung.train] = rung.name
