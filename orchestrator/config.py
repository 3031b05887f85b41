"""All that a run can be told, frozen and checked. Imports no torch, so that `--help` stays fast."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any, ClassVar, Literal

from orchestrator.runners.base import KeepCheckpoints
from search_spaces.budget import parse_budget, parse_count
from search_spaces.compound_scaling import ScalingCoefficients
from search_spaces.family_tables import parse_modes, parse_phis, parse_published
from trainer.config import Strict, require
from trainer.errors import ConfigError
from trainer.models.rounding import exact

_MOST = 1_000_000
"""No count of epochs, workers, classes … can be meant that is larger."""
_LONGEST = 24
"""No number can be meant that has more characters."""
_LONGEST_LIST = 200
_LARGEST_BASE = 4
"""No axis can be meant to grow faster than this with φ."""
_SEEDS = 2**31
_COSTLIEST = 10**18
_LESS = re.compile(r"0+(\.\d*)?[x×]", re.IGNORECASE)
_SET_ELSEWHERE = {
    "augment.policy": "policy",
    "epochs": "epochs",
    "seed": "seed",
    "data.dataset": "dataset",
    "model.num_classes": "classes",
}
"""Keys of the overlay that have an option of their own; two places for one thing would disagree."""
_SEARCHED = {
    "model.family": "baseline",
    "model.stem_channels": "baseline",
    "model.stem_stride": "baseline",
    "model.stages": "baseline",
    "model.head_channels": "baseline",
    "model.resolution": "resolution",
}

_OF_THE_CHILD = {
    "model.family": "child",
    "model.resolution": "resolution",
    "data.train_images": "train-images",
    "data.evaluate_on": "controls",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonConfig(Strict):
    """What every stage can be told."""

    # A notebook may say 0.1 where the exact decimal travels as text.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        **Strict.__pydantic_config__,
        "coerce_numbers_to_str": True,
    }
    families: ClassVar[tuple[str, ...]] = ("efficientnet", "wide-resnet")
    """Of the networks that the stage may train; `train.model` has the keys of one of them."""

    dataset: str = "digits"
    """A name, or the path of an image folder."""
    run_dir: str | None = None
    """None makes a new one, `runs/<stage>-<time>` below the working directory."""
    workers: int | None = None
    """Trials at a time; None means as many as the machine or cluster has room for."""
    gpus_per_trial: float | None = None
    """None means one where there are GPUs; a fraction shares a GPU."""
    epochs: int | None = None
    """Epochs of one trial; None means what suits the data set."""
    seeds: int | None = None
    """How many seeds a trial is repeated with; None means what suits the stage."""
    seed: int = 0
    """Where the seeds start; decides the proposals too."""
    runner: Literal["ray", "inline"] = "ray"
    ray_address: str | None = None
    """A cluster to join; None starts Ray on this machine."""
    tracking_uri: str | None = None
    """MLflow's store; None means `MLFLOW_TRACKING_URI`, else a database beside the run's folder."""
    classes: int | None = None
    """Classes to plan for; None means the data set's."""
    download: bool = False
    """Fetch a named data set that is not there."""
    skip_unreadable: bool = False
    """Leave out, and count, files that are no image, rather than refuse the folder."""
    keep_checkpoints: KeepCheckpoints = "best-and-last"
    controls: Literal["all", "none"] = "all"
    """Whether the published and the trivial answers are trained too."""
    cache_dir: str | None = None
    """Where decoded images are kept; None means `orchestrator` in the user's cache folder."""
    cache_limit: str = "20G"
    """Bytes of decoded pixels that are kept of a data set, such as `500M`; a larger set is decoded
    at every access instead."""
    policy: str | None = None
    """Augmentation policy of every trial: a preset's name or a JSON file."""
    train: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the training configuration that suits the data set, as nested keys."""

    def __post_init__(self) -> None:
        for name in ("dataset", "run_dir", "ray_address", "tracking_uri", "cache_dir", "policy"):
            _check_text(name, getattr(self, name))
        check_short("cache_limit", self.cache_limit)
        parse_count(self.cache_limit, path="cache_limit")
        for name, least in (("workers", 1), ("epochs", 1), ("seeds", 1), ("classes", 2)):
            check_count(name, getattr(self, name), least=least)
        require(0 <= self.seed < _SEEDS, f"seed must be in [0, {_SEEDS}), got {self.seed}")
        _check_gpus(self.gpus_per_trial)
        require(
            self.ray_address is None or self.runner == "ray",
            f"ray_address: there is no cluster to join with runner '{self.runner}'",
        )
        refuse_elsewhere(self.train, _SET_ELSEWHERE)

    def placed(self, stage: str) -> str:
        """The run directory asked for, or a new one named after the stage and the time."""
        return self.run_dir or f"runs/{stage}-{datetime.now():%Y%m%d-%H%M%S}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchScalingConfig(CommonConfig):
    """The search for α, β, γ under a budget."""

    families: ClassVar[tuple[str, ...]] = ("efficientnet",)

    flops_budget: str = "2x"
    """Multiple of the baseline's multiply-adds (`2x`), or a number of them (`800M`)."""
    constraint: Literal["counted", "formula"] = "counted"
    """What the budget limits: the built network's multiply-adds, or αβ²γ²."""
    tolerance: str = "0.1"
    """Allowed distance from the budget, in units of the ratio, ends included; an exact decimal."""
    grid_step: str = "0.05"
    grid_max: str = "2"
    """Last value of each axis; the first is 1."""
    max_params: str | None = None
    """The most parameters a candidate may have, such as `10M`."""
    baseline: str | None = None
    """None means the one that suits the data set's images."""
    baseline_width: str | None = None
    """Multiplier of the baseline's own channels, before α, β, γ; None means what suits the set."""
    resolution: int | None = None
    """The baseline's side in pixels; None means what suits the data set."""
    tune_recipe: int = 0
    """Trials that tune the recipe on the baseline before the search; 0 keeps the default recipe."""
    finalists: int | None = None
    """Candidates that are trained again with fresh seeds; None means what suits their number."""
    halving: bool = True
    """Drop the weaker candidates part of the way."""

    def __post_init__(self) -> None:
        CommonConfig.__post_init__(self)  # super() does not find its class under slots=True
        _check_budget(self.flops_budget)
        check_decimal("tolerance", self.tolerance, least=0, most=1000)
        check_decimal("grid_step", self.grid_step, least=0, most=100)
        check_decimal("grid_max", self.grid_max, least=1, most=100)
        if self.max_params is not None:
            check_short("max_params", self.max_params)
            parse_count(self.max_params, path="max_params")
        for name, least in (("resolution", 1), ("finalists", 1)):
            check_count(name, getattr(self, name), least=least)
        check_count("tune_recipe", self.tune_recipe, least=0)
        if self.baseline_width is not None:
            check_decimal("baseline_width", self.baseline_width, least=0, most=100)
        refuse_elsewhere(self.train, _SEARCHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAugmentConfig(CommonConfig):
    """The search for an augmentation policy."""

    families: ClassVar[tuple[str, ...]] = ("wide-resnet", "efficientnet")

    method: Literal[
        "autoaugment", "fast-autoaugment", "pba", "randaugment", "random", "trivialaugment", "none"
    ] = "autoaugment"
    """How policies are searched; the last two search nothing and are compared as they are."""
    trials: int | None = None
    """Policies that are tried, or members of pba's population; None means what suits the method."""
    child: str | None = None
    """The network that is trained to judge a policy; None means what suits the machine."""
    train_images: int | None = None
    """That a child learns from, 0 for all; None means what suits the machine. The verdict is always
    trained on all."""
    sub_policies: int = 5
    """Of each policy that is tried."""
    resolution: int | None = None
    """The child's side in pixels; None means what suits the images."""
    keep: int = 5
    """Best policies whose sub-policies make the result (autoaugment, random)."""
    controller_lr: float | None = None
    """autoaugment: the controller's learning rate; None means ten times the paper's, which was
    meant for 15,000 children."""
    folds: int = 5
    """fast-autoaugment: models that judge policies."""
    draws: int = 5
    """fast-autoaugment: augmented copies of an image by which a policy is scored."""
    interval: int = 3
    """pba: epochs of a generation."""
    halving: bool = True
    """randaugment, random: drop the weaker children part of the way."""

    def __post_init__(self) -> None:
        CommonConfig.__post_init__(self)  # super() does not find its class under slots=True
        for name, least in (("trials", 1), ("train_images", 0), ("resolution", 8)):
            check_count(name, getattr(self, name), least=least)
        for name in ("sub_policies", "keep", "folds", "draws", "interval"):
            check_count(name, getattr(self, name), least=1)
        require(
            self.controller_lr is None or self.controller_lr > 0,
            f"controller_lr must be positive, got {self.controller_lr}",
        )
        if self.child is not None:
            _check_text("child", self.child)
        refuse_elsewhere(self.train, _OF_THE_CHILD)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleConfig(CommonConfig):
    """A family of networks, trained and compared."""

    families: ClassVar[tuple[str, ...]] = ("efficientnet",)

    published: bool = False
    """The published sizes with their rounded factors, resolutions and dropout."""
    members: str | None = None
    """Which of the published sizes, such as `B0,B2`; None means all of them."""
    from_: str | None = None
    """Run directory of a search for α, β, γ: its winner, baseline and data set."""
    coefficients: str | None = None
    """`α,β,γ`, each at least 1."""
    phi: str | None = None
    """`1-7`, `1,2.5`, `1-3,5`; None means 1-7."""
    mode: str = "compound"
    """What grows with φ: `compound`, or `depth`, `width`, `resolution` alone at the compound
    network's cost; several with commas, or `all`."""
    baseline: str | None = None
    """None means the one that suits the data set's images."""
    baseline_width: str | None = None
    """Multiplier of the baseline's own channels, before α, β, γ; None means what suits the set."""
    resolution: int | None = None
    """The baseline's side in pixels; None means what suits the data set."""
    resolution_multiple: int = 1
    """Sides are rounded to the nearest multiple of this; halves go up."""
    weights: str | None = None
    """What training begins from instead of chance: `torchvision:NAME`, `timm:NAME`, either with
    `=FILE`, a model folder or a checkpoint. Alone, the network that they are of is trained."""
    freeze: str = "none"
    """What of the weights stays as it came: `none`, `stem`, `stage-N` (with all before it), or
    `features` (all but the classifier)."""
    register: str | None = None
    """Name in MLflow's registry; of a family, `NAME-B1` and so on."""
    memory_per_trial: str | None = None
    """Bytes that a trial may take, such as `6G`; None means its part of the machine's."""

    def __post_init__(self) -> None:
        CommonConfig.__post_init__(self)  # super() does not find its class under slots=True
        for name in (
            "members",
            "from_",
            "coefficients",
            "phi",
            "mode",
            "baseline",
            "weights",
            "freeze",
            "register",
        ):
            _check_text(name, getattr(self, name))
        for name in ("members", "coefficients", "phi", "mode"):
            text = getattr(self, name) or ""
            require(len(text) <= _LONGEST_LIST, f"{name}: '{_cut(text)}' is too long")
        for name in ("resolution", "resolution_multiple"):
            check_count(name, getattr(self, name), least=1)
        self._check_table()
        if self.members is not None:
            parse_published(self.members)
        if self.coefficients is not None:
            _check_coefficients(self.coefficients)
        if self.phi is not None:
            parse_phis(self.phi)
        parse_modes(self.mode)
        if self.baseline_width is not None:
            check_decimal("baseline_width", self.baseline_width, least=0, most=100)
        refuse_elsewhere(self.train, _SEARCHED)
        _check_judged_on(self.train)
        if self.memory_per_trial is not None:
            check_short("memory_per_trial", self.memory_per_trial)
            parse_count(self.memory_per_trial, path="memory_per_trial")
        self._check_weights()

    def _check_weights(self) -> None:
        require(
            self.weights is not None or self.freeze == "none",
            f"freeze: '{self.freeze}' keeps weights as they came; name them with --weights",
        )
        require(
            self.alone or self.controls == "all",
            "controls: those of a family are the single axes of --mode; this is for --weights",
        )
        if self.alone:
            for name in ("phi", "baseline", "baseline_width"):
                require(
                    getattr(self, name) is None,
                    f"{name}: the network is that of --weights; leave out one of the two, "
                    "or add --coefficients",
                )
            require(
                self.mode == "compound",
                f"mode: '{self.mode}' scales a network, and --weights is trained as it is",
            )

    @property
    def alone(self) -> bool:
        """Whether the network of the weights is trained as it is, and nothing is scaled."""
        scaled = self.published or self.from_ is not None or self.coefficients is not None
        return self.weights is not None and not scaled

    def _check_table(self) -> None:
        """There are two tables, and each has options of its own."""
        others = ("from_", "coefficients", "phi", "baseline", "baseline_width", "resolution")
        if self.published:
            for name in others:
                require(
                    getattr(self, name) is None,
                    f"{name}: the published sizes are as they are; leave out this or --published",
                )
            for name, usual in (("mode", "compound"), ("resolution_multiple", 1)):
                require(
                    getattr(self, name) == usual,
                    f"{name}: the published sizes are as they are; leave out this or --published",
                )
        require(
            self.members is None or self.published,
            "members: chooses among the published sizes; use --phi, or add --published",
        )
        if self.from_ is not None:
            for name in ("coefficients", "baseline", "baseline_width", "resolution"):
                require(
                    getattr(self, name) is None,
                    f"{name}: the run behind --from brings its own; leave out one of the two",
                )


def check_count(name: str, value: int | None, *, least: int) -> None:
    """Refuse what cannot be a count of anything here; None is left to a default."""
    if value is not None and not least <= value <= _MOST:
        raise ConfigError(f"{name} must be between {least} and {_MOST:,}, got {_cut(str(value))}")


def check_short(name: str, text: str) -> None:
    """Refuse a number of absurd length before anything tries to compute with it."""
    require(len(text) <= _LONGEST, f"{name}: '{_cut(text)}' is too long for a number")


def check_decimal(name: str, text: str, *, least: int, most: int) -> Fraction:
    """The exact value of a decimal between two bounds, ends included."""
    check_short(name, text)
    value = exact(text, path=name)
    require(least <= value <= most, f"{name} must be between {least} and {most}, got {text}")
    return value


def refuse_elsewhere(overlay: Mapping[str, Any], owned: Mapping[str, str]) -> None:
    """Refuse keys of the training overlay that another option decides."""
    for path in _paths(overlay):
        for key, option in owned.items():
            if path == key or path.startswith(f"{key}."):
                raise ConfigError(f"train.{path}: this is decided by --{option.replace('_', '-')}")


def _check_text(name: str, text: str | None) -> None:
    if text is not None:
        require(bool(text), f"{name} must not be empty")
        # The journal is UTF-8; a file name in another encoding would not come back from it.
        require(
            "\0" not in text and text == text.encode(errors="replace").decode(),
            f"{name}: {text!a} is not UTF-8 text",
        )


def _check_coefficients(text: str) -> None:
    for part in text.split(","):
        check_short("coefficients", part)
    largest = max(ScalingCoefficients.parse(text).to_json())
    require(
        largest <= _LARGEST_BASE,
        f"coefficients: '{text}': {largest:g} is more than any axis grows, {_LARGEST_BASE} at most",
    )


def _check_judged_on(overlay: Mapping[str, Any]) -> None:
    data = overlay.get("data")
    require(
        not (isinstance(data, Mapping) and "evaluate_on" in data),
        "train.data.evaluate_on: a family is judged on the reporting split",
    )


def _check_gpus(number: float | None) -> None:
    if number is not None:
        require(
            0 <= number <= 1 or (number <= 1024 and number == int(number)),
            f"gpus_per_trial must be a fraction up to 1 or a whole number, got {number}",
        )


def _check_budget(text: str) -> None:
    """The spelling now; its size as soon as the baseline is known."""
    check_short("flops_budget", text)
    require(
        not _LESS.fullmatch(text.strip()),
        f"flops_budget: '{text}' is less than the baseline costs; give at least 1x",
    )
    require(
        parse_budget(text, baseline_macs=1) <= _COSTLIEST,
        f"flops_budget: '{text}' is more than any network costs",
    )


def _paths(overlay: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
