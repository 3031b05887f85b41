"""What every stage can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from orchestrator.config.checks import check_count, check_short, check_text, refuse_elsewhere
from orchestrator.runners.base import KeepCheckpoints
from search_spaces.budget import parse_count
from trainer.config import Strict, require

_SEEDS = 2**31
_SET_ELSEWHERE = {
    "augment.policy": "policy",
    "epochs": "epochs",
    "seed": "seed",
    "data.dataset": "dataset",
    "model.num_classes": "classes",
}
"""Keys of the overlay that have an option of their own; two places for one thing would disagree."""


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
            check_text(name, getattr(self, name))
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


def _check_gpus(number: float | None) -> None:
    if number is not None:
        require(
            0 <= number <= 1 or (number <= 1024 and number == int(number)),
            f"gpus_per_trial must be a fraction up to 1 or a whole number, got {number}",
        )
