"""The commands that carry out a stage: alike but for their options and what they print."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import OPTIONS, accepts, given, runs

if TYPE_CHECKING:
    from orchestrator.api import StageResult
    from orchestrator.config.common import CommonConfig


@click.command("search-scaling")
@accepts(OPTIONS["search-scaling"])
@runs
def search_scaling(**asked: Any) -> None:
    """Find α, β, γ under a budget.

    They say how depth, width and resolution grow together (EfficientNet's compound scaling).
    """
    from orchestrator import api
    from orchestrator.config.scaling import SearchScalingConfig
    from orchestrator.reporting.tables import next_lines, scaling_lines

    def lines(result: StageResult) -> Iterable[str]:
        return *scaling_lines(result.to_json()), *next_lines(result.run_dir)

    _carry_out("search-scaling", SearchScalingConfig, api.search_scaling, lines, **asked)


@click.command("search-augment")
@accepts(OPTIONS["search-augment"])
@runs
def search_augment(**asked: Any) -> None:
    """Find an augmentation policy, and whether it is worth anything.

    AutoAugment and its cheaper heirs; what was found is compared with random policies that were
    searched at the same cost, with TrivialAugment and with none.
    """
    from orchestrator import api
    from orchestrator.config.augment import SearchAugmentConfig
    from orchestrator.reporting.augment_tables import augment_lines, policy_next_lines

    def lines(result: StageResult) -> Iterable[str]:
        document = result.to_json()
        return *augment_lines(document), *policy_next_lines(result.run_dir, document)

    _carry_out("search-augment", SearchAugmentConfig, api.search_augment, lines, **asked)


@click.command()
@accepts(OPTIONS["scale"])
@runs
def scale(**asked: Any) -> None:
    """Train the family that α, β, γ give, and see what scaling is worth.

    Sizes B1, B2, … follow from a search's result or from given coefficients; beside them, depth,
    width or resolution grown alone to the same cost. The published sizes are a table of their own.
    With weights, training goes on from them; with nothing else, of the network that they are of.
    """
    from orchestrator import api
    from orchestrator.config.scale import ScaleConfig
    from orchestrator.reporting.scale_tables import scale_lines
    from orchestrator.reporting.tables import next_lines

    def lines(result: StageResult) -> Iterable[str]:
        return *scale_lines(result.to_json()), *next_lines(result.run_dir)

    _carry_out("scale", ScaleConfig, api.scale, lines, **asked)


@click.command()
@accepts(OPTIONS["fixres"])
@runs
def fixres(**asked: Any) -> None:
    """Find the best test resolution of trained networks, and adapt them to it.

    Objects look smaller in testing than in training crops; a higher test resolution, and a little
    fine-tuning of the last layers there, makes up for it (FixRes).
    """
    from orchestrator import api
    from orchestrator.config.fixres import FixResStageConfig
    from orchestrator.reporting.fixres_tables import fixres_lines, fixres_next_lines

    def lines(result: StageResult) -> Iterable[str]:
        document = result.to_json()
        return *fixres_lines(document), *fixres_next_lines(result.run_dir, document)

    _carry_out("fixres", FixResStageConfig, api.fixres, lines, **asked)


@click.command()
@accepts(OPTIONS["ablate"])
@runs
def ablate(**asked: Any) -> None:
    """Say what each trick buys: accuracy, parameters, multiply-adds, measured speed.

    Tricks are those of Bag of Tricks and Assemble-ResNet, one switch each: one on top of the other,
    all but one, or one alone, with the same seeds on your data.
    """
    from orchestrator import api
    from orchestrator.config.ablate import AblateConfig
    from orchestrator.reporting.ablate_tables import ablate_lines
    from orchestrator.reporting.tables import next_lines

    def lines(result: StageResult) -> Iterable[str]:
        return *ablate_lines(result.to_json()), *next_lines(result.run_dir)

    _carry_out("ablate", AblateConfig, api.ablate, lines, **asked)


STAGES = (search_scaling, search_augment, scale, fixres, ablate)
"""In the order of `--help`."""


def _carry_out(
    command: str,
    config_type: type[CommonConfig],
    call: Callable[..., StageResult],
    lines: Callable[[StageResult], Iterable[str]],
    *,
    file: str | None,
    sets: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Load the configuration, run the stage or plan it, and print the answer."""
    from orchestrator.loading import load
    from orchestrator.reporting.live import watcher_on
    from orchestrator.reporting.screen import show, show_json

    config = load(config_type, file=file, options=given(options), sets=sets)
    config = config.with_(run_dir=config.placed(command))
    with _resumable(config), closing(watcher_on(sys.stderr)) as watcher:
        result = call(config, dry_run=dry_run, watcher=watcher)
    if as_json:
        show_json(result.to_json())
    else:
        show(lines(result))


@contextmanager
def _resumable(config: CommonConfig) -> Iterator[None]:
    """Say, after an interrupt, how the run is gone on with."""
    from orchestrator.errors import Interrupted
    from orchestrator.interrupts import Terminated
    from orchestrator.run_dir import RunDir

    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        if isinstance(error, Interrupted):
            number = signal.Signals(error.exit_code - 128)
        assert config.run_dir is not None
        begun = RunDir(Path(config.run_dir)).journal.exists()
        how = f"go on with the same command and --run-dir {config.run_dir}"
        message = f"interrupted; {how if begun else 'nothing was begun'}"
        raise Interrupted(message, signal_number=number) from error
