"""The options of the commands: one line each, named after the field of the configuration they set.

Values travel as text; `orchestrator.loading` knows their types, so that a mistake reads the same on
the command line, in a file and behind `--set`. Anything rarer than these is `--set` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Option:
    """An option that sets the field `name`."""

    name: str
    metavar: str
    """Choices stand as a|b; empty for a switch."""
    help: str
    once: bool = False
    """Refused where it stands twice, since both may be meant; of others the last one counts."""

    @property
    def flag(self) -> str:
        """As it is typed."""
        return f"--{self.name.rstrip('_').replace('_', '-')}"


COMMON = (
    Option("dataset", "NAME|DIR", "A known data set or an image folder. [default: digits]"),
    Option("run_dir", "DIR", "Begin, or go on, here. [default: runs/<stage>-<time>]"),
    Option("workers", "N", "Trials at a time. [default: as many as there is room for]"),
    Option("gpus_per_trial", "X", "GPUs of one trial; below 1, trials share."),
    Option("epochs", "N", "Epochs of one trial. [default: suits the data set]"),
    Option("seeds", "N", "How many seeds a result is averaged over."),
    Option("seed", "N", "Where the seeds start. [default: 0]"),
    Option("runner", "ray|inline", "Where trials run: Ray's workers, or this process."),
    Option("ray_address", "ADDRESS", "Join this Ray cluster. [default: Ray on this machine]"),
    Option("tracking_uri", "URI", "MLflow's store. [default: a database beside the run]"),
    Option("policy", "FILE|PRESET", "Augment by this preset, such as trivialaugment, or file."),
    Option("classes", "N", "Classes to plan for. [default: the data set's]"),
    Option("download", "", "Fetch a known data set that is not there."),
    Option("skip_unreadable", "", "Leave out, and count, files that are no image."),
    Option("keep_checkpoints", "best-and-last|all|none", "Which checkpoints stay."),
    Option("controls", "all|none", "Train the published and the trivial answers too."),
)
SEARCH_SCALING = (
    Option("flops_budget", "RATIOx|MACS", "What a candidate may cost: 2x, 800M. [default: 2x]"),
    Option("constraint", "counted|formula", "Cost as built, or as αβ²γ². [default: counted]"),
    Option("tolerance", "X", "Allowed distance from the ratio. [default: 0.1]"),
    Option("grid_step", "X", "Distance of the grid's values. [default: 0.05]"),
    Option("grid_max", "X", "Largest value of an axis. [default: 2]"),
    Option("max_params", "N", "Most parameters of a candidate, such as 10M."),
    Option("baseline", "NAME", "The network that is scaled. [default: suits the data set]"),
    Option("resolution", "PX", "The baseline's resolution. [default: suits the data set]"),
    Option("tune_recipe", "N", "First tune the recipe with N trials. [default: 0]"),
)
SEARCH_AUGMENT = (
    Option(
        "method",
        "autoaugment|fast-autoaugment|pba|randaugment|random|trivialaugment|none",
        "How policies are searched. [default: autoaugment]",
    ),
    Option("trials", "N", "Policies that are tried; pba: members. [default: suits the method]"),
    Option("child", "NAME", "The network that judges, such as wrn-40-2. [default: suits device]"),
    Option("train_images", "N", "That a child learns from; 0 for all. [default: suits device]"),
    Option("sub_policies", "N", "Of each policy that is tried. [default: 5]"),
    Option("controller_lr", "X", "autoaugment: of the controller. [default: 0.0035]"),
)
SCALE = (
    Option("published", "", "The published sizes, B0 to B8 and L2; 1000 classes unless --classes."),
    Option("members", "NAMES", "Some of the published sizes, such as B0,B2. [default: all]"),
    Option("from_", "RUN_DIR", "Scale what this search-scaling run found, on its data set."),
    Option("coefficients", "α,β,γ", "Scale by these, such as 1.2,1.1,1.15."),
    Option("phi", "LIST", "Sizes: 1-7, or 1,2.5. [default: 1-7]"),
    Option("mode", "LIST", "compound, depth, width, resolution, several or all."),
    Option("baseline", "NAME", "The network that is scaled. [default: suits the data set]"),
    Option("resolution", "PX", "The baseline's resolution. [default: suits the data set]"),
    Option("weights", "SOURCE", "Begin from torchvision:NAME, timm:NAME, a model or a checkpoint."),
    Option("freeze", "PART", "Keep of the weights: stem, stage-N or features. [default: none]"),
    Option("controls", "all|none", "With --weights: train the same from nothing too."),
    Option("register", "NAME", "Register the models in MLflow."),
    Option("resolution_multiple", "PX", "Round resolutions to a multiple of this. [default: 1]"),
)
FIXRES = (
    Option(
        "model", "MODEL", "The model that is adapted: as scale leaves them, or torchvision:NAME."
    ),
    Option("family", "RUN_DIR", "All models of this scale run, with all their seeds."),
    Option("train_resolution", "PX", "Also train anew at this lower resolution, then adapt."),
    Option("test_resolutions", "LIST", "Such as 64,96,128. [default: around the train resolution]"),
    Option("adapt", "LIST", "none, parametric, statistics, finetune. [default: all]"),
    Option("affine", "", "Fine-tune gamma and beta of the last batch norm too."),
    Option("explain", "", "Say how large objects look at each resolution, and stop."),
    Option("register", "NAME", "Register the models in MLflow."),
    Option("dataset", "NAME|DIR", "A known data set or an image folder. [default: their own]"),
    Option("epochs", "N", "Epochs of fine-tuning. [default: 30]"),
    Option("seeds", "N", "With --train-resolution, how many are compared. [default: 3]"),
)
ABLATE = (
    Option("preset", "assemble-resnet|bag-of-tricks", "A paper's ladder, as printed.", once=True),
    Option("tricks", "a,b+c,…", "One's own; what is joined by + comes together.", once=True),
    Option(
        "design",
        "cumulative|leave-one-out|add-one",
        "How the tricks are combined. [default: cumulative]",
        once=True,
    ),
    Option("equal_epochs", "", "Train every rung as long as the longest."),
    Option("teacher", "SOURCE", "For distillation: a model, a checkpoint, torchvision:NAME."),
    Option("beside", "RUN_DIR", "Show the members of this scale run beside the rungs."),
    Option("network", "NAME", "Such as resnet-50-small. [default: suits the data set]"),
    Option("resolution", "PX", "Of training images. [default: suits the data set]"),
    Option("register", "NAME", "Register the models in MLflow."),
)
_OF_THE_NETWORK = {"controls", "classes", "policy"} | {option.name for option in FIXRES}
OPTIONS = {
    "search-scaling": (*SEARCH_SCALING, *COMMON),
    "search-augment": (*SEARCH_AUGMENT, *COMMON),
    "scale": (*SCALE, *(option for option in COMMON if option.name != "controls")),
    "ablate": (*ABLATE, *(option for option in COMMON if option.name != "controls")),
    # A trained network has its classes and its policy.
    "fixres": (*FIXRES, *(option for option in COMMON if option.name not in _OF_THE_NETWORK)),
}
"""Command -> what it can be told without `--set`."""


def accepts(*tables: Sequence[Option]) -> Callable[[F], F]:
    """Give a command these options, and those that every run has."""

    def decorate(function: F) -> F:
        for option in reversed([option for table in tables for option in table]):
            function = _click_option(option)(function)
        return function

    return decorate


def runs(function: F) -> F:
    """Give a command what every run has beside its configuration."""
    for decorator in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        click.option("--dry-run", is_flag=True, help="Print the plan and stop."),
        click.option(
            "--set",
            "sets",
            metavar="KEY=VALUE",
            multiple=True,
            help="Set anything, such as train.optim.lr=0.05; wins over the other options.",
        ),
        click.option("--config", "file", metavar="FILE", help="Options from a YAML file."),
    ):
        function = decorator(function)
    return function


def given(options: dict[str, Any]) -> dict[str, str | bool]:
    """The options that were on the command line."""
    return {name: value for name, value in options.items() if value not in (None, False)}


def _only(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> str | None:
    """The one value that was given. Raises: click.UsageError for several."""
    if len(values) > 1:
        flag = parameter.opts[0]
        raise click.UsageError(f"{flag}: one at a time, got {' and '.join(values)}")
    return values[0] if values else None


def _click_option(option: Option) -> Callable[[F], F]:
    if option.once:
        return click.option(
            option.flag,
            option.name,
            metavar=option.metavar,
            help=option.help,
            multiple=True,
            callback=_only,
        )
    if option.metavar:
        return click.option(option.flag, option.name, metavar=option.metavar, help=option.help)
    return click.option(option.flag, option.name, is_flag=True, help=option.help)
