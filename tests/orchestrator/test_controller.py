import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.controller import Controller
from orchestrator.errors import Interrupted
from orchestrator.history import Decision, History, Status, history_of, read_history
from orchestrator.interrupts import Interrupts
from orchestrator.journal import open_journal, read_events
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job, Lost, Message, Reported, Runner
from orchestrator.runners.inline import InlineRunner
from orchestrator.stages.race import is_settled
from orchestrator.trial import TrialSpec
from tests.factories import TASKS, ListStage, Watcher, task, workspace


class DyingRunner(InlineRunner):
    """Loses the trials with a certain name a number of times, as a worker that dies would."""

    def __init__(self, name: str, times: int) -> None:
        super().__init__(TASKS)
        self.name, self.times = name, times
        self.lost: Job | None = None

    def start(self, job: Job) -> None:
        if job.spec.config.name == self.name and self.times:  # type: ignore[attr-defined]
            self.times -= 1
            self.lost = job
        else:
            super().start(job)

    def wait(self, timeout: float) -> Sequence[Message]:
        if self.lost:
            job, self.lost = self.lost, None
            return (Lost(job.spec.key, job.attempt, "the worker died"),)
        return super().wait(timeout)


class UnevenRunner:
    """Several places, whose words come in by chance: one's report beside another's end."""

    def __init__(self, places: int, seed: int) -> None:
        self._places = [InlineRunner(TASKS) for _ in range(places)]
        self._chance = random.Random(seed)
        self.started: list[str] = []
        """Trials that run now."""

    @property
    def free(self) -> int:
        return sum(place.free for place in self._places)

    def start(self, job: Job) -> None:
        assert job.spec.key not in self.started, "one trial, twice at a time"
        self.started.append(job.spec.key)
        next(place for place in self._places if place.free).start(job)

    def wait(self, timeout: float) -> Sequence[Message]:
        busy = [place for place in self._places if not place.free]
        spoken = self._chance.sample(busy, self._chance.randint(0, len(busy)))
        messages = [message for place in spoken for message in place.wait(timeout)]
        for message in messages:
            if not isinstance(message, Reported):
                self.started.remove(message.key)
        return messages

    def stop(self, key: str) -> None:
        for place in self._places:
            place.stop(key)

    def close(self) -> None:
        for place in self._places:
            place.close()


class ReportedStage(ListStage):
    """Decides as soon as everybody has said how good it was at the milestone, as a race does."""

    def decide(self, history: History) -> Decision | None:
        arrived = [t for t in history.trials(self.name) if t.epochs >= 2]
        if len(arrived) < len(self.specs) or history.decisions(self.name):
            return None
        return Decision(
            stage=self.name,
            epoch=2,
            promoted=tuple(t.key for t in arrived if t.number % 2 == 0),
            stopped=tuple(t.key for t in arrived if t.number % 2),
        )

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        return [spec for spec in self.specs if not is_settled(history, spec)]


def run(
    root: Path,
    specs: Sequence[TrialSpec],
    *,
    stage: type[ListStage] = ListStage,
    runner: Runner | None = None,
    interrupts: Interrupts | None = None,
    watcher: Watcher | None = None,
) -> History:
    """Run a list to its end on what the directory already holds."""
    run_dir = RunDir(root / "run")
    with open_journal(run_dir) as (journal, _):
        history = History()
        history_of(read_events(run_dir.journal)[0], into=history)
        history_of(journal.append([{"event": "session", "pid": 1}]), into=history)
        Controller(
            stage=stage(tuple(specs)),
            journal=journal,
            history=history,
            runner=runner or InlineRunner(TASKS),
            workspace=workspace(root),
            observer=watcher or Watcher(),
            interrupts=Interrupts() if interrupts is None else interrupts,
        ).run()
    return history


def statuses(history: History) -> list[str]:
    return [trial.status.value for trial in history.trials()]


def events(root: Path, kind: str) -> list[dict[str, object]]:
    return [e for e, _ in read_events(RunDir(root / "run").journal)[0] if e["event"] == kind]


def test_every_trial_of_the_list_completes_under_consecutive_numbers(tmp_path: Path) -> None:
    history = run(tmp_path, [task(str(i), epochs=2) for i in range(5)])
    assert statuses(history) == ["complete"] * 5
    assert [trial.number for trial in history.trials()] == [0, 1, 2, 3, 4]
    assert all([r["epoch"] for r in trial.reports] == [1, 2] for trial in history.trials())


def test_equal_work_is_one_trial(tmp_path: Path) -> None:
    assert len(run(tmp_path, [task("same"), task("same"), task("other")])) == 2


def test_the_journal_tells_the_history_that_the_controller_saw(tmp_path: Path) -> None:
    seen = run(tmp_path, [task("a", epochs=2), task("b", fail_at=1)])
    told = read_history(RunDir(tmp_path / "run").journal)
    assert [(t.key, t.status, t.reports) for t in told.trials()] == [
        (t.key, t.status, t.reports) for t in seen.trials()
    ]


def test_an_exception_is_the_trials_result_and_the_others_go_on(tmp_path: Path) -> None:
    history = run(tmp_path, [task("a"), task("b", fail_at=1), task("c")])
    assert statuses(history) == ["complete", "failed", "complete"]
    failed = next(t for t in history.trials() if t.status is Status.FAILED)
    assert failed.error == "ValueError: told to fail at 1"
    assert "factories.py" in failed.traceback


def test_a_second_run_starts_nothing_that_has_ended(tmp_path: Path) -> None:
    specs = [task("a"), task("b", fail_at=1)]
    run(tmp_path, specs)
    run(tmp_path, [*specs, task("c")])
    assert len(events(tmp_path, "started")) == 3


def test_a_lost_trial_goes_on_under_its_number_with_the_next_attempt(tmp_path: Path) -> None:
    history = run(tmp_path, [task("a"), task("b")], runner=DyingRunner("b", times=2))
    assert statuses(history) == ["complete", "complete"]
    trial = list(history.trials())[1]
    assert (trial.number, trial.attempt, trial.losses) == (1, 3, 2)


def test_a_trial_that_kills_every_worker_fails_and_the_others_go_on(tmp_path: Path) -> None:
    history = run(tmp_path, [task("a"), task("b")], runner=DyingRunner("a", times=99))
    assert statuses(history) == ["failed", "complete"]
    assert next(history.trials()).error == "its worker died 3 times; the last time: the worker died"


def test_trials_wait_at_a_milestone_and_only_the_promoted_go_on(tmp_path: Path) -> None:
    history = run(tmp_path, [task(str(i), epochs=4, milestones=(2,)) for i in range(4)])
    assert statuses(history) == ["complete", "pruned", "complete", "pruned"]
    assert [trial.epochs for trial in history.trials()] == [4, 2, 4, 2]


def test_the_decision_is_in_the_journal_before_anybody_goes_on(tmp_path: Path) -> None:
    run(tmp_path, [task(str(i), epochs=4, milestones=(2,)) for i in range(4)])
    kinds = [e["event"] for e, _ in read_events(RunDir(tmp_path / "run").journal)[0]]
    assert kinds.index("decision") < len(kinds) - 1 - kinds[::-1].index("started")
    assert kinds.count("decision") == 1


@pytest.mark.parametrize("seed", range(20))
def test_who_is_dropped_before_its_pause_was_heard_is_dropped_all_the_same(
    tmp_path: Path, seed: int
) -> None:
    specs = [task(str(i), epochs=4, milestones=(2,), seconds=0.005) for i in range(4)]
    runner = UnevenRunner(places=3, seed=seed)
    history = run(tmp_path, specs, stage=ReportedStage, runner=runner)
    assert statuses(history) == ["complete", "pruned", "complete", "pruned"]
    assert [trial.epochs for trial in history.trials()] == [4, 2, 4, 2]
    assert [trial.attempt for trial in history.trials()] == [2, 1, 2, 1]
    assert all(trial.seconds > 0 for trial in history.trials())


@pytest.mark.parametrize("seed", range(20))
def test_who_is_wanted_whole_goes_on_whatever_a_rung_says_of_it(tmp_path: Path, seed: int) -> None:
    specs = [task(str(i), epochs=4, milestones=(2,) if i != 1 else ()) for i in range(4)]
    runner = UnevenRunner(places=3, seed=seed)
    history = run(tmp_path, specs, stage=ReportedStage, runner=runner)
    assert statuses(history) == ["complete", "complete", "complete", "pruned"]
    assert [trial.attempt for trial in history.trials()] == [2, 1, 2, 1]


@pytest.mark.parametrize("reports", range(1, 13))
def test_interrupted_at_a_decision_a_dropped_trial_stays_dropped(
    tmp_path: Path, reports: int
) -> None:
    specs = [task(str(i), epochs=4, milestones=(2,)) for i in range(4)]
    for seed in range(5):
        interrupts, root = Interrupts(), tmp_path / str(seed)
        watcher, runner = InterruptAfter(interrupts, reports), UnevenRunner(places=3, seed=seed)
        with pytest.raises(Interrupted):
            run(
                root,
                specs,
                stage=ReportedStage,
                runner=runner,
                interrupts=interrupts,
                watcher=watcher,
            )
        history = run(root, specs, stage=ReportedStage, runner=UnevenRunner(places=3, seed=seed))
        assert statuses(history) == ["complete", "pruned", "complete", "pruned"]
        assert [trial.epochs for trial in history.trials()] == [4, 2, 4, 2]


class InterruptAfter(Watcher):
    """Interrupts once a number of reports have been seen."""

    def __init__(self, interrupts: Interrupts, reports: int) -> None:
        super().__init__()
        self.interrupts, self.left = interrupts, reports

    def observe(self, history: History, event: dict[str, object]) -> None:
        super().observe(history, event)
        self.left -= event["event"] == "report"
        if self.left == 0 and not self.interrupts:
            self.interrupts.note(15)


@pytest.mark.parametrize("reports", range(1, 13))
def test_interrupted_anywhere_a_run_comes_to_the_same_history(tmp_path: Path, reports: int) -> None:
    specs = [task(str(i), epochs=4, milestones=(2,)) for i in range(4)]
    whole = run(tmp_path / "whole", specs)
    interrupts = Interrupts()
    watcher = InterruptAfter(interrupts, reports)
    with pytest.raises(Interrupted) as caught:
        run(tmp_path / "cut", specs, interrupts=interrupts, watcher=watcher)
    assert caught.value.exit_code == 143
    resumed = run(tmp_path / "cut", specs)
    assert [(t.key, t.status, t.reports) for t in resumed.trials()] == [
        (t.key, t.status, t.reports) for t in whole.trials()
    ]


def test_more_trials_in_the_same_directory_keep_what_was_done(tmp_path: Path) -> None:
    run(tmp_path, [task("a"), task("b")])
    history = run(tmp_path, [task("b"), task("c")])
    assert [trial.attempt for trial in history.trials()] == [1, 1, 1]


def test_a_pruned_trial_asked_for_to_the_end_goes_on(tmp_path: Path) -> None:
    run(tmp_path, [task(str(i), epochs=4, milestones=(2,)) for i in range(2)])
    history = run(tmp_path, [task(str(i), epochs=4) for i in range(2)])
    assert statuses(history) == ["complete", "complete"]
    assert [trial.epochs for trial in history.trials()] == [4, 4]
