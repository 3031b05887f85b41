"""Each command as a function with the same options, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.config.ablate import AblateConfig
from orchestrator.config.augment import SearchAugmentConfig
from orchestrator.config.common import CommonConfig
from orchestrator.config.fixres import FixResStageConfig
from orchestrator.config.scale import ScaleConfig
from orchestrator.config.scaling import SearchScalingConfig
from orchestrator.reporting.live import Silent, Watcher
from orchestrator.run_dir import RunDir

if TYPE_CHECKING:
    from orchestrator.doctor import Diagnosis
    from orchestrator.models.exporting import ModelExport
    from orchestrator.models.predicting import Prediction
    from orchestrator.tracking.mirror import SyncSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What a stage found, or with `dry_run` what it would try."""

    run_dir: Path | None
    """None for a dry run, which leaves nothing behind."""
    document: Mapping[str, Any] = field(repr=False)
    """What `--json` prints and `result.json` holds."""

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return dict(self.document)


def search_scaling(
    config: SearchScalingConfig | None = None,
    *,
    dry_run: bool = False,
    watcher: Watcher | None = None,
    **options: Any,
) -> StageResult:
    """Search α, β, γ under a budget: `search_scaling(dataset="photos", flops_budget="2x")`.

    Options are those of the command line with underscores.

    Raises: UsageError, ConfigError, DatasetError before training; StageFailed, NotReady,
        Interrupted later; the same run directory continues after the last two.
    """
    from orchestrator.loading import load  # `doctor` is to work where pydantic is missing
    from orchestrator.stages.scaling.run import dry, run

    asked = load(SearchScalingConfig, options=options) if config is None else config
    return _answered(asked, "search-scaling", run, plan=dry if dry_run else None, watcher=watcher)


def search_augment(
    config: SearchAugmentConfig | None = None,
    *,
    dry_run: bool = False,
    watcher: Watcher | None = None,
    **options: Any,
) -> StageResult:
    """Search an augmentation policy: `search_augment(dataset="photos", method="pba")`.

    Options and errors are those of `search_scaling`.
    """
    from orchestrator.loading import load
    from orchestrator.stages.augment.run import dry, run

    asked = load(SearchAugmentConfig, options=options) if config is None else config
    return _answered(asked, "search-augment", run, plan=dry if dry_run else None, watcher=watcher)


def scale(
    config: ScaleConfig | None = None,
    *,
    dry_run: bool = False,
    watcher: Watcher | None = None,
    **options: Any,
) -> StageResult:
    """Train a family: `scale(from_="runs/photos", phi="1-3", mode="all")`.

    Options and errors are those of `search_scaling`; `from_` is `--from`.
    """
    from orchestrator.loading import load
    from orchestrator.stages.scale.run import dry, run

    asked = load(ScaleConfig, options=options) if config is None else config
    return _answered(asked, "scale", run, plan=dry if dry_run else None, watcher=watcher)


def fixres(
    config: FixResStageConfig | None = None,
    *,
    dry_run: bool = False,
    watcher: Watcher | None = None,
    **options: Any,
) -> StageResult:
    """Adapt trained networks to a test resolution: `fixres(family="runs/family")`.

    Options and errors are those of `search_scaling`; with `explain=True` nothing is trained.
    """
    from orchestrator.loading import load
    from orchestrator.stages.fixres.run import dry, explain, run

    asked = load(FixResStageConfig, options=options) if config is None else config
    plan = explain if asked.explain else dry if dry_run else None
    return _answered(asked, "fixres", run, plan=plan, watcher=watcher)


def ablate(
    config: AblateConfig | None = None,
    *,
    dry_run: bool = False,
    watcher: Watcher | None = None,
    **options: Any,
) -> StageResult:
    """Say what each trick buys: `ablate(tricks="label-smoothing,mixup,sk", seeds=5)`.

    Options and errors are those of `search_scaling`.
    """
    from orchestrator.loading import load
    from orchestrator.stages.ablate.run import dry, run

    asked = load(AblateConfig, options=options) if config is None else config
    return _answered(asked, "ablate", run, plan=dry if dry_run else None, watcher=watcher)


def compare(run_a: str | Path, run_b: str | Path) -> dict[str, Any]:
    """Two results of one stage side by side; paired differences where seeds and images are shared.

    Raises: UsageError for what is no result, or not comparable.
    """
    from orchestrator.comparison.compare import compare as side_by_side

    return side_by_side(str(run_a), str(run_b))


def _answered(
    asked: CommonConfig,
    command: str,
    run: Callable[..., dict[str, Any]],
    *,
    plan: Callable[..., dict[str, Any]] | None,
    watcher: Watcher | None,
) -> StageResult:
    """The stage's document: of the plan, if that is all that is wanted, else of the whole run."""
    watcher = watcher or Silent()
    if plan is not None:
        return StageResult(run_dir=None, document=plan(asked, watcher=watcher))
    run_dir = RunDir(Path(asked.placed(command)).absolute())
    document = run(asked, run_dir=run_dir, watcher=watcher)
    return StageResult(run_dir=run_dir.root, document=document)


def status(run_dir: str | Path) -> dict[str, Any]:
    """Where a run stands: per stage the trials by status and the best of them.

    Raises: UsageError for what is no run directory.
    """
    from orchestrator.reporting.status import status as status_of

    return status_of(run_dir)


def report(run_dir: str | Path) -> Path:
    """Write a run's `report.md` and figures anew, and say where. Raises: UsageError, NotReady."""
    from orchestrator.reporting.report import write_report
    from orchestrator.reporting.status import existing_run

    return write_report(existing_run(run_dir))


def export(source: str | Path, *, to: str, output: str | Path) -> int | ModelExport:
    """Copy a run's trials, or a model, into a file that does not exist yet.

    Of a run (`optuna`, `csv`) the trials are counted; of a model (`onnx`, `torch-export`,
    `torchvision`) the file is read back, and the answer says how well it agrees.

    Raises: UsageError, ConfigError, NotReady; CheckpointError where the two disagree.
    """
    from orchestrator.exporting import export as copy

    return copy(source, to=to, output=output)


def predict(
    model: str | Path, images: str | Path | Sequence[str | Path], *, top: int = 3
) -> tuple[Prediction, ...]:
    """What a trained model sees in pictures: files, or folders of them.

    Raises: UsageError, naming the model or the picture that cannot be read.
    """
    from orchestrator.models.predicting import predict as ask

    return ask(model, [images] if isinstance(images, str | Path) else images, top=top)


def mlflow_sync(run_dir: str | Path, *, tracking_uri: str | None = None) -> SyncSummary:
    """Copy to MLflow what it lacks of a run. Raises: UsageError, NotReady, RunDirHeld."""
    from orchestrator.reporting.status import existing_run
    from orchestrator.tracking.mirror import sync

    return sync(existing_run(run_dir), tracking_uri=tracking_uri, until_end=True)


def ui(run_dir: str | Path | None = None, *, port: int = 5000) -> int:
    """Show MLflow's pages on this machine until interrupted; the exit code of its server."""
    from orchestrator.reporting.status import existing_run
    from orchestrator.tracking.ui import ui as serve

    # A database belongs to the folder of the runs: any name below it finds the same.
    return serve(existing_run(run_dir) if run_dir else RunDir(Path("runs/any")), port=port)


def policy_list() -> list[dict[str, Any]]:
    """The published policies: name, kind, how many sub-policies or operations, source."""
    from orchestrator.policies.catalogue import presets

    return presets()


def policy_show(
    name: str,
    *,
    side: int = 224,
    picture: str | Path | None = None,
    dataset: str | None = None,
    images: int | None = None,
    download: bool = False,
) -> dict[str, Any]:
    """A preset or a policy file as plain values; with `picture`, drawn on some training images.

    Raises: UsageError, ConfigError, DatasetError.
    """
    from orchestrator.policies.catalogue import show_policy

    return show_policy(
        name, side=side, picture=picture, dataset=dataset, images=images, download=download
    )


def policy_convert(name: str, *, to: str, output: str | Path, side: int = 224) -> Path:
    """Write a preset or a policy file for torchvision or timm, or as JSON, and say where.

    Raises: UsageError, ConfigError, naming what the target cannot express.
    """
    from orchestrator.policies.conversion import convert_policy

    return convert_policy(name, to=to, output=output, side=side)


def doctor(**options: str) -> Diagnosis:
    """What is in the way of a run, each with its remedy; options as on the command line."""
    from orchestrator.doctor import diagnose

    return diagnose(**options)
