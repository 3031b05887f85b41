"""From trained networks and the data at hand to a `FixResPlan`; every refusal happens here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import count as counting
from itertools import islice
from typing import Any

import numpy as np

from orchestrator.config.fixres import AS_TRAINED, FixResStageConfig, parse_sides
from orchestrator.errors import UsageError
from orchestrator.loading import overlay
from orchestrator.machine import local_workers
from orchestrator.stages.asking import question
from orchestrator.stages.fixres.geometry import usual_sides
from orchestrator.stages.fixres.plan import Evidence, FixResPlan, Network, SourceRun
from orchestrator.stages.fixres.source import Found, Given, by_name
from orchestrator.trial import Bundle, canonical_json
from trainer.config import TrainConfig
from trainer.data.decoded import DecodedSet
from trainer.data.splits import Splits, carve, learning_fingerprint, reporting_fingerprint
from trainer.fixres.config import FixResConfig
from trainer.precision import execution_for
from trainer.preprocessing import preprocessing

SEEDS = 3
"""Of a network that is trained anew, where the user names no number."""
NOTABLE = 0.05
"""A larger share of images is enlarged at a resolution than at the train resolution by this."""
_NOT_THE_QUESTION = ("model", "family", "explain", "dataset")
"""Where things lie: their content is asked about."""


def dataset_of(config: FixResStageConfig, found: Found) -> str:
    """The data set as asked, else the one that the networks were trained on. Raises: UsageError."""
    if config.dataset != AS_TRAINED:
        return config.dataset
    first = found.networks[0]
    if not first.known:
        raise UsageError(
            f"--dataset: {first.place}: its recipe does not say what it was trained on; name it"
        )
    return first.train.data.dataset


def plan_fixres(
    config: FixResStageConfig,
    *,
    found: Found,
    dataset: str,
    decoded: DecodedSet,
    bundle: Bundle,
) -> tuple[FixResPlan, Splits]:
    """The plan, and the images.

    Raises: UsageError, ConfigError, DatasetError.
    """
    found = as_the_set_calls_them(found, decoded)
    for given in found.networks:
        _require_same_classes(given, decoded)
    trains, splits, notes = _on_this_data(found, dataset, decoded, bundle)
    networks, more = _networks(config, found, trains)
    evidence = _evidence(splits)
    asked = question(config, evidence.fingerprint)
    plan = FixResPlan(
        question={
            **{name: value for name, value in asked.items() if name not in _NOT_THE_QUESTION},
            "networks": [f"{network.name} ({_digest(network)})" for network in networks],
        },
        networks=networks,
        adaptations=config.adaptations(),  # type: ignore[arg-type]
        evidence=evidence,
        finetune_at=_finetune_at(config),
        warnings=(*found.notes, *notes, *more, *_warnings(config, found, networks, splits)),
        resources=(bundle,),
        workers=local_workers(config, bundle),
        keep_checkpoints=config.keep_checkpoints,
        register=config.register,
        class_names=decoded.class_names,
        source={"model": config.model, "family": config.family},
    )
    return plan, splits


def as_the_set_calls_them(found: Found, decoded: DecodedSet) -> Found:
    """Another library's network with the data set's names for as many classes, and a note."""
    networks, notes = list[Given](), list(found.notes)
    for given in found.networks:
        recipe, names = given.recipe, decoded.class_names
        if given.foreign and recipe.class_names != names and len(recipe.class_names) == len(names):
            notes.append(f"{given.name}: its classes are taken to be the data set's, in this order")
            recipe = recipe.with_(class_names=names)
        networks.append(replace(given, portable=replace(given.portable, recipe=recipe)))
    return Found(networks=tuple(networks), notes=tuple(notes))


def _require_same_classes(given: Given, decoded: DecodedSet) -> None:
    theirs, ours = given.recipe.class_names, decoded.class_names
    if theirs == ours:
        return
    where = f"--dataset: {given.name} was trained on"
    if len(theirs) != len(ours):
        raise UsageError(f"{where} {len(theirs)} classes, the data set has {len(ours)}")
    mine, other = next((a, b) for a, b in zip(theirs, ours, strict=True) if a != b)
    raise UsageError(f"{where} other classes: '{mine}', where the data set has '{other}'")


def _on_this_data(
    found: Found, dataset: str, decoded: DecodedSet, bundle: Bundle
) -> tuple[dict[str, TrainConfig], Splits, list[str]]:
    """How each network was trained, by its folder, as if on this data set and for this device."""
    device = "cuda" if bundle.gpus else "cpu"
    first = found.networks[0]
    data = first.train.data.with_(dataset=dataset, evaluate_on="selection")
    splits = carve(decoded, data)
    notes = []
    if not _is_normalised_alike(first, splits):
        data = data.with_(mean=first.recipe.mean, std=first.recipe.std)
        splits = carve(decoded, data)
        notes.append(
            "the training images are not those that the network was trained on (their mean and "
            "deviation differ); it may have learned from images that it is judged on here"
        )
    trains = {}
    for given in found.networks:
        own = given.train.data.with_(
            dataset=dataset, evaluate_on="selection", mean=data.mean, std=data.std
        )
        if own != data:
            raise UsageError(
                f"--family: {given.name}, seed {given.seed}, was trained on another part of the "
                f"data set than {first.name}; adapt them one by one, with --model"
            )
        execution = given.train.execution
        if device == "cpu" and execution.precision != "fp32":
            execution = execution_for(given.train.model.family, device)
        trains[str(given.place)] = given.train.with_(data=data, execution=execution)
    return trains, splits, notes


def _is_normalised_alike(given: Given, splits: Splits) -> bool:
    recipe, ours = given.recipe, splits.train.statistics
    return np.allclose((*recipe.mean, *recipe.std), (*ours.mean, *ours.std), rtol=0, atol=1e-6)


def _networks(
    config: FixResStageConfig, found: Found, trains: dict[str, TrainConfig]
) -> tuple[tuple[Network, ...], list[str]]:
    """Those given, each followed by the same one trained lower, and what is to be said of them."""
    networks, notes = list[Network](), list[str]()
    for name, by_seed in by_name(found.networks):
        runs = [_given_run(given, trains[str(given.place)]) for given in by_seed.values()]
        first = next(iter(by_seed.values()))
        wanted = config.train_resolution
        if wanted is None:
            networks.append(_network(config, name, runs, first))
            continue
        if wanted >= first.train.model.resolution:
            notes.append(
                f"{name} is not trained anew: {wanted} px is not below its "
                f"{first.train.model.resolution} px"
            )
            networks.append(_network(config, name, runs, first))
            continue
        _require_trainable(first)
        networks += _with_lower(config, name, runs, first, resolution=wanted)
    if config.train_resolution is not None and not any(each.lower_than for each in networks):
        raise UsageError(f"--train-resolution: {notes[0]}")
    return tuple(networks), notes


def _given_run(given: Given, train: TrainConfig) -> SourceRun:
    return SourceRun(train=train, weights=given.digest, seconds=given.seconds)


def _require_trainable(given: Given) -> None:
    if not given.known:
        raise UsageError(
            f"--train-resolution: {given.place}: its recipe does not say how it was trained"
        )
    if given.train.initial is not None:
        raise UsageError(
            f"--train-resolution: {given.name} was trained on from other weights, which are not "
            "kept with it"
        )


def _with_lower(
    config: FixResStageConfig, name: str, runs: list[SourceRun], first: Given, *, resolution: int
) -> Iterator[Network]:
    """The network with as many seeds as are compared, and the same trained lower."""
    model = first.train.model
    _require_side("--train-resolution", resolution, model.total_stride)
    number = config.seeds or max(SEEDS, len(runs))
    seeds = [run.seed for run in runs][:number]
    seeds += islice(_fresh(config.seed, tuple(seeds)), number - len(seeds))
    base = runs[0].train
    added = [seed for seed in seeds if seed not in [run.seed for run in runs]]
    trained = [SourceRun(train=base.with_(seed=seed), weights=None) for seed in added]
    yield _network(config, name, [*runs, *trained], first)
    lower = [
        SourceRun(
            train=base.with_(seed=seed, model=base.model.with_(resolution=resolution)), weights=None
        )
        for seed in seeds
    ]
    yield _network(config, f"{name} at {resolution} px", lower, first, lower_than=name)


def _fresh(start: int, taken: Sequence[int]) -> Iterator[int]:
    return (seed for seed in counting(start) if seed not in taken)


def _network(
    config: FixResStageConfig,
    name: str,
    runs: list[SourceRun],
    first: Given,
    *,
    lower_than: str = "",
) -> Network:
    from trainer.fixres.anatomy import dissect

    train, fraction = runs[0].train, first.recipe.preprocessing.crop_fraction
    model = train.model
    if config.test_resolutions is not None:
        asked = parse_sides("test_resolutions", config.test_resolutions)
        for side in asked:
            _require_side("--test-resolutions", side, model.total_stride)
    else:
        asked = usual_sides(
            train.augment,
            train_resolution=model.resolution,
            crop_fraction=fraction,
            total_stride=model.total_stride,
        )
    own = first.train.model.resolution if lower_than else model.resolution
    tuning = FixResConfig(
        source=train,
        test_resolution=model.resolution,
        crop_fraction=fraction,
        flip=train.augment.flip,
        label_smoothing=train.label_smoothing,
        affine=config.affine,
    )
    changes: dict[str, Any] = dict(config.finetune)
    if config.epochs is not None:
        changes["epochs"] = config.epochs
    return Network(
        name=name,
        runs=tuple(runs),
        resolutions=tuple(sorted({*asked, model.resolution, own})),
        tuning=overlay(tuning, changes, "finetune"),
        lower_than=lower_than,
        has_norm=dissect(first.portable.network()).norm is not None,
    )


def _require_side(option: str, side: int, total_stride: int) -> None:
    if side < total_stride:
        raise UsageError(
            f"{option}: {side} px is below the network's total stride {total_stride}; use at "
            f"least {total_stride}"
        )


def _finetune_at(config: FixResStageConfig) -> Any:
    if config.finetune_at in (None, "all"):
        return config.finetune_at
    return parse_sides("finetune_at", config.finetune_at or "")


def _digest(network: Network) -> str:
    """Of all that is asked of a network, but where its images lie and how long it was trained."""
    runs = tuple(run.with_(train=_anywhere(run.train), seconds=None) for run in network.runs)
    tuning = network.tuning.with_(source=_anywhere(network.tuning.source))
    text = canonical_json(network.with_(runs=runs, tuning=tuning).to_json())
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _anywhere(train: TrainConfig) -> TrainConfig:
    return train.with_(data=train.data.with_(dataset=""))


def _evidence(splits: Splits) -> Evidence:
    labels = splits.reporting.labels
    most_frequent = int(np.bincount(labels).max())
    return Evidence(
        fingerprint=learning_fingerprint(splits) + reporting_fingerprint(splits),
        train_images=len(splits.train),
        selection_images=len(splits.selection),
        reporting_images=len(labels),
        chance=most_frequent / len(labels),
    )


def _warnings(
    config: FixResStageConfig, found: Found, networks: Sequence[Network], splits: Splits
) -> Iterator[str]:
    from trainer.fixres.anatomy import dissect, tuned_part

    for name, by_seed in by_name(found.networks):
        anatomy = dissect(next(iter(by_seed.values())).portable.network())
        tuning = next(network.tuning for network in networks if network.name == name)
        for adaptation in config.adaptations():
            asked = tuning.with_(adaptation=adaptation)
            if note := tuned_part(anatomy, asked).note:
                yield f"{name}, {adaptation}: {note}"
    for network in networks:
        yield from _enlarged(network, splits)
    asked_at = _finetune_at(config)
    if isinstance(asked_at, tuple):
        for network in networks:
            if missing := set(asked_at) - set(network.resolutions):
                named = ", ".join(map(str, sorted(missing)))
                yield f"{network.name}: not fine-tuned at {named} px, which is not swept"


def _enlarged(network: Network, splits: Splits) -> Iterator[str]:
    """Resolutions at which more images than in training show nothing that was not there before."""
    from trainer.fixres.sweep import enlarged_share

    def share(side: int) -> float:
        seen = preprocessing(side, crop_fraction=network.tuning.crop_fraction)
        return enlarged_share(splits.selection, seen.short_side)

    usual = share(network.train_resolution)
    shares = {side: share(side) for side in network.resolutions}
    notable = {side: part for side, part in shares.items() if part > usual + NOTABLE}
    if notable:
        told = ", ".join(f"{100 * part:.0f} % at {side} px" for side, part in notable.items())
        yield f"{network.name}: images are enlarged beyond their stored size: {told}"
