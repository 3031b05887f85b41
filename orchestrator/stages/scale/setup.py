"""From what was asked and the data at hand to a `ScalePlan`; every refusal happens here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.config.scale import ScaleConfig
from orchestrator.machine import local_workers
from orchestrator.policies.finding import find_policy
from orchestrator.reporting.formats import size as sized
from orchestrator.stages.asking import question
from orchestrator.stages.evidence import reporting_evidence
from orchestrator.stages.micro_batches import fitted, micro_batch, step_bytes, too_large
from orchestrator.stages.scale.plan import FAR, Member, ScalePlan, Table
from orchestrator.stages.scale.source import Source
from orchestrator.stages.scale.weights import GivenNetwork, check_fit, given_sizes, record
from orchestrator.suited import Suited
from orchestrator.trial import Bundle
from orchestrator.weights import Pretrained
from search_spaces.compound_scaling import Baseline, ScalingCoefficients
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
from trainer.data.splits import Splits

PHIS = "1-7"


def plan_scale(
    config: ScaleConfig,
    *,
    source: Source | None,
    splits: Splits,
    fits: Suited,
    recipe: TrainConfig,
    bundle: Bundle,
    begun: TrainConfig | None = None,
    weights: Pretrained | None = None,
    memory: int | None = None,
) -> ScalePlan:
    """The plan: `fits` with the user's changes in `recipe`.

    Args:
        config: As asked.
        source: The search that is scaled.
        splits: Of the data set.
        fits: Defaults for it.
        recipe: Those with the user's changes.
        bundle: What a trial gets.
        begun: The recipe for training on from the weights.
        weights: What training begins from.
        memory: Bytes that a trial may take, where that is known.

    Raises: ConfigError where a size cannot be built, UsageError where weights do not fit one.
    """
    bases = coefficients_of(config, source)
    start = _start(config, fits, weights)
    sizes = _sizes(config, start, bases)
    recipes = [recipe if size.mode == "from-nothing" else begun or recipe for size in sizes]
    members = tuple(
        _member(size, config, told, weights, memory)
        for size, told in zip(sizes, recipes, strict=True)
    )
    for member in members:
        if weights is not None and (initial := member.train.initial) is not None:
            check_fit(member.name, member.size.config, weights, keep_head=initial.keep_head)
    evidence = reporting_evidence(splits, fits.baseline.num_classes)
    first = config.seed if source is None else max(config.seed, source.last_seed + 1)
    found = {} if source is None else {"run_dir": config.from_, **source.to_json()}
    scaled = None if bases is None else bases.to_json()
    return ScalePlan(
        question={
            **question(config, evidence.fingerprint),
            "scaled": {"coefficients": scaled, "baseline": start.to_json()},
            **({"digest": weights.digest} if weights else {}),
        },
        table=_table(config, bases),
        start=start,
        coefficients=bases,
        members=members,
        evidence=evidence,
        seeds=tuple(range(first, first + (config.seeds or fits.seeds))),
        source=found,
        weights=dict(record(weights, members[0].train)) if weights else {},
        register=config.register,
        warnings=tuple(_warnings(config, members, splits, weights)),
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


def _table(config: ScaleConfig, bases: ScalingCoefficients | None) -> Table:
    if config.alone:
        return "given"
    return "published" if bases is None else "exact"


def _start(
    config: ScaleConfig, fits: Suited, weights: Pretrained | None
) -> Baseline | GivenNetwork:
    """What is scaled, or the network of the weights for this data set."""
    if weights is None or not config.alone:
        return fits.baseline
    model = weights.efficientnet.with_(
        num_classes=fits.baseline.num_classes,
        resolution=config.resolution or weights.model.resolution,
    )
    return GivenNetwork(name=weights.name, config=model)


def _sizes(
    config: ScaleConfig, start: Baseline | GivenNetwork, bases: ScalingCoefficients | None
) -> list[Size]:
    if isinstance(start, GivenNetwork):
        return given_sizes(start, control=config.controls == "all")
    if bases is None:
        names = parse_published(config.members) if config.members else tuple(PUBLISHED)
        return published_sizes(names, num_classes=start.num_classes)
    return exact_sizes(
        start,
        bases,
        parse_phis(config.phi or PHIS),
        parse_modes(config.mode),
        resolution_multiple=config.resolution_multiple,
    )


def _member(
    size: Size,
    config: ScaleConfig,
    recipe: TrainConfig,
    weights: Pretrained | None,
    memory: int | None,
) -> Member:
    """The size with the recipe: its own regularisation unless the user has said otherwise."""
    assert isinstance(recipe.model, EfficientNetConfig), "compound scaling scales EfficientNets"
    said = config.train.get("model")
    chosen = ["norm_eps", "norm_momentum", "init"]
    if isinstance(said, Mapping):
        chosen += [name for name in ("dropout", "stochastic_depth") if name in said]
    model = size.config.with_(**{name: getattr(recipe.model, name) for name in chosen})
    if weights is not None:
        model = model.with_(norm_eps=weights.efficientnet.norm_eps)
    augment = recipe.augment
    if config.policy:  # translations of some presets are a number of pixels
        augment = augment.with_(policy=find_policy(config.policy, side=model.resolution))
    whole = recipe.with_(
        model=model, augment=augment, data=recipe.data.with_(evaluate_on="reporting")
    )
    train = fitted(whole, memory)
    return Member(
        size=size.with_(config=model),
        train=train,
        asked_accumulate=whole.accumulate,
        fits=not too_large(train, memory),
    )


def _warnings(
    config: ScaleConfig, members: Sequence[Member], splits: Splits, weights: Pretrained | None
) -> Iterator[str]:
    ours = splits.train.decoded.num_classes
    if config.published and config.classes is None and ours != 1000:
        yield (
            "the published sizes have 1,000 classes, the data set has "
            f"{ours}: --classes {ours} trains them for it"
        )
    yield from _about_weights(members[0].train, weights, ours)
    yield from _about_memory(members)
    for size in (member.size for member in members):
        if abs(size.distance or 0) > FAR:
            more = "more" if (size.distance or 0) > 0 else "less"
            yield (
                f"{size.name}: the nearest network on this axis costs "
                f"{abs(100 * (size.distance or 0)):.1f} % {more} than {size.beside}"
            )


def _about_weights(train: TrainConfig, weights: Pretrained | None, ours: int) -> Iterator[str]:
    if weights is None or train.initial is None:
        return
    if not train.initial.keep_head:
        theirs = weights.model.num_classes
        why = f"{theirs} classes, the data set {ours}" if theirs != ours else "other classes"
        yield f"the classifier is new: {weights.asked} has {why}"
    if not weights.mean:
        yield (
            f"{weights.asked} does not say what its images were normalised by; "
            "the training images' own mean and deviation are taken"
        )


def _about_memory(members: Sequence[Member]) -> Iterator[str]:
    for member in members:
        if not member.fits:
            yield (
                f"{member.name}: a step takes about {sized(step_bytes(member.train))} even in "
                f"micro-batches of {micro_batch(member.train)}, more than a trial may take"
            )
        elif member.train.accumulate != member.asked_accumulate:
            yield (
                f"{member.name}: {member.train.batch_size} images a step do not fit into memory; "
                f"micro-batches of {micro_batch(member.train)}, which is what batch norm sees"
            )
