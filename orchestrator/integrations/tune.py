"""Our trials inside Ray Tune: its searchers and schedulers choose, our objectives train.

    search = scaling(dataset="photos", flops_budget="2x", run_dir="runs/tune")
    tuner = tune.Tuner(search.trainable, param_space=search.space(), tune_config=…)
    record(search, tuner.fit())

Without a scheduler a trial gives the numbers that the other runners give. A door to Ray.
"""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from ray import tune

from orchestrator.config.scaling import SearchScalingConfig
from orchestrator.history import History
from orchestrator.integrations.tune_points import NETWORK, SEED, Point, spec_at
from orchestrator.integrations.tune_records import Outcome, Reported, events_of, horizon
from orchestrator.loading import load
from orchestrator.objectives.table import OBJECTIVES
from orchestrator.reporting.live import Silent, Watcher
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job, Objectives, Workspace
from orchestrator.runners.inline import describe
from orchestrator.session import ask, cache_root, check_run_dir, open_session
from orchestrator.stages.scaling.plan import ScalingPlan
from orchestrator.stages.scaling.run import plan_for
from orchestrator.stages.scaling.stage import ScalingSearch
from orchestrator.trial import Report, TrialSpec
from trainer.errors import ConfigError

COMMAND = "tune"
"""In `run.json`: our own searches do not go on where Tune's scheduler has dropped trials."""
_REPORT = "report"
"""The metric that carries the whole report, as text: what Tune adds to a result is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a trial does with a point of Tune's; travels to every worker."""

    spec_of: Callable[[Point], TrialSpec]
    workspace: Workspace
    objectives: Objectives


class TuneTrial(tune.Trainable):
    """One trial of ours as Tune sees it: a step is an epoch, and its metrics are the report's.

    It can be paused, moved to another worker and reused for another trial. Its own checkpoint in
    the run directory is what it resumes from; Tune's holds only how much Tune has heard of.
    """

    _reports: Iterator[Report] | None

    def setup(self, config: Point, *, work: Work) -> None:  # type: ignore[override]
        """Take the work, which `tune.with_parameters` adds, and begin with the first point."""
        self._work = work
        self._begin(config)

    def step(self) -> dict[str, Any]:
        """Train up to the next report.

        Raises: what the objective raises; to Tune the trial has failed then.
        """
        if self._reports is None:
            self._reports = self._start()
        report = next((r for r in self._reports if "epoch" in r), None)
        if report is None:
            raise RuntimeError(f"trial {self._spec.key} ended without its last report")
        self._heard = report["epoch"]
        over = self._heard >= self._horizon
        if over:
            next(self._reports, None)  # what the objective does after its last report
            self._held.close()
        return {**_metrics(report), _REPORT: json.dumps(report), "done": over}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """How far Tune has heard this trial."""
        return {"key": self._spec.key, "epochs": self._heard}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on after what Tune has heard.

        Raises: ConfigError for another trial's checkpoint, as population-based training hands out.
        """
        if checkpoint["key"] != self._spec.key:
            raise ConfigError(
                "a trial is trained from its own beginning; schedulers that hand one trial's "
                "weights to another (PopulationBasedTraining, PB2) cannot drive it"
            )
        self._heard = checkpoint["epochs"]

    def reset_config(self, new_config: Point) -> bool:
        """Become another trial in the same warm process."""
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Leave the trial where it stands; its checkpoint stays."""
        close = getattr(self._reports, "close", None)
        if close:
            close()
        self._reports = None
        self._held.close()

    def _begin(self, point: Point) -> None:
        self._spec = self._work.spec_of(point)
        self._horizon = horizon(self._spec)
        self._reports = None
        self._heard = 0
        self._held = ExitStack()

    def _start(self) -> Iterator[Report]:
        spec, workspace = self._spec, self._work.workspace
        self._held.enter_context(_alone(RunDir(workspace.run_root).trial(spec.stage, spec.key)))
        job = Job(spec=spec, attempt=1, known_epochs=self._heard, workspace=workspace)
        return self._work.objectives[spec.objective](job, lambda: False)


def trainable(work: Work, *, cpus: float = 1, gpus: float = 0) -> type[tune.Trainable]:
    """A class for `tune.Tuner`; `reuse_actors=True` spares each trial a process of its own."""
    with_work = tune.with_parameters(TuneTrial, work=work)
    return tune.with_resources(with_work, {"cpu": cpus, "gpu": gpus})  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneScaling:
    """The coefficient search, for Ray Tune to drive."""

    config: SearchScalingConfig
    run_dir: RunDir
    plan: ScalingPlan

    @property
    def trainable(self) -> type[tune.Trainable]:
        """Trains the network of a point of `space`."""
        workspace = Workspace(
            run_root=self.run_dir.root,
            cache_root=cache_root(self.config),
            keep_checkpoints=self.config.keep_checkpoints,
            skip_unreadable=self.config.skip_unreadable,
        )
        work = Work(spec_of=partial(spec_at, self.plan), workspace=workspace, objectives=OBJECTIVES)
        bundle = self.plan.resources[0]
        return trainable(work, cpus=bundle.cpus, gpus=bundle.gpus)

    def space(self, *, every: bool = True, **recipe: Any) -> dict[str, Any]:
        """The networks that keep to the budget, with a seed, as a `param_space`.

        Args:
            every: each network once (a grid); otherwise whichever the searcher picks, by name.
            recipe: more to search, as paths into the training configuration with `__` for a dot:
                `optim__lr=tune.loguniform(0.02, 2)`.
        """
        names = list(self.plan.by_name)
        network = tune.grid_search(names) if every else tune.choice(names)
        more = {path.replace("__", "."): axis for path, axis in recipe.items()}
        return {NETWORK: network, SEED: self.plan.recipe.seed, **more}


def scaling(
    config: SearchScalingConfig | None = None, *, watcher: Watcher | None = None, **options: Any
) -> TuneScaling:
    """The search that `orchestrator search-scaling` with these options is, for Tune to drive.

    Begins the run directory, or goes on in one that it began.

    Raises: UsageError, ConfigError, DatasetError; RunDirHeld, NotReady.
    """
    asked = load(SearchScalingConfig, options=options) if config is None else config
    run_dir = RunDir(Path(asked.placed(COMMAND)).expanduser().absolute())
    check_run_dir(run_dir, COMMAND)
    plan, _ = plan_for(asked, watcher=watcher or Silent())
    with open_session(run_dir, command=COMMAND, config=asked) as session:
        ask(session, ScalingSearch(plan))
    return TuneScaling(config=asked, run_dir=run_dir, plan=plan)


def record(search: TuneScaling, results: tune.ResultGrid) -> History:
    """Write what Tune's trials came to into the run's journal, and return the history it tells.

    `orchestrator status`, `export`, `report` and `mlflow-sync` then work on the run directory.
    A result that is recorded already is passed over, so that this may be called again.

    Raises: RunDirHeld, NotReady.
    """
    points = _points(results)
    outcomes = [
        _outcome(result, spec_at(search.plan, points[str(result.path)]))
        for result in (results[index] for index in range(len(results)))
    ]
    with open_session(search.run_dir, command=COMMAND, config=search.config) as session:
        for event, line in session.journal.append(events_of(outcomes, session.history)):
            session.history.apply(event, line)
        return session.history


def _points(results: tune.ResultGrid) -> dict[str, Point]:
    """Path -> point; a result itself has none where its trial failed before the first report."""
    analysis = tune.ExperimentAnalysis(results.experiment_path)
    return {str(trial.path): trial.config for trial in analysis.trials}


def _outcome(result: tune.Result, spec: TrialSpec) -> Outcome:
    rows = [] if result.metrics_dataframe is None else result.metrics_dataframe.to_dict("records")
    return Outcome(
        spec=spec,
        reports=tuple(
            Reported(
                at=float(row["timestamp"]),
                seconds=float(row["time_this_iter_s"]),
                report=json.loads(row[_REPORT]),
            )
            for row in rows
            if isinstance(row.get(_REPORT), str)
        ),
        error="" if result.error is None else describe(result.error),
    )


def _metrics(report: Report) -> dict[str, Any]:
    """The numbers of a report; one that is missing is not a number, which schedulers understand."""
    return {
        name: math.nan if value is None else value
        for name, value in report.items()
        if value is None or isinstance(value, int | float)
    }


def _alone(folder: Path) -> IO[str]:
    """Hold a trial's folder: Tune may draw the same point twice, and the twin then waits and goes
    on from the first one's checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "tune.lock").open("w", encoding="utf-8")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
