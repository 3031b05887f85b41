import pytest

from orchestrator.history import History, Status
from orchestrator.integrations.tune_records import Outcome, Reported, events_of
from orchestrator.journal import open_journal
from orchestrator.run_dir import RunDir
from orchestrator.trial import TrialSpec
from tests.factories import task

SPEC = task("a", epochs=3)
OTHER = task("b", epochs=3)


def outcome(spec: TrialSpec, epochs: int, *, error: str = "", begins: float = 100.0) -> Outcome:
    reports = (
        Reported(at=begins + 10 * epoch, seconds=10.0, report={"epoch": epoch, "top1": epoch / 10})
        for epoch in range(1, epochs + 1)
    )
    return Outcome(spec=spec, reports=tuple(reports), error=error)


@pytest.fixture
def history() -> History:
    return History()


def record(history: History, *outcomes: Outcome, tmp: RunDir) -> History:
    with open_journal(tmp) as (journal, _):
        for event, line in journal.append(events_of(outcomes, history)):
            history.apply(event, line)
    return history


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return RunDir(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (outcome(SPEC, 3), Status.COMPLETE),
        (outcome(SPEC, 2), Status.PRUNED),
        (outcome(SPEC, 2, error="ValueError: no"), Status.FAILED),
        (outcome(SPEC, 0, error="ValueError: no"), Status.FAILED),
        (outcome(SPEC, 0), Status.WAITING),
    ],
)
def test_a_trial_ends_as_its_scheduler_left_it(
    told: Outcome, status: Status, history: History, run_dir: RunDir
) -> None:
    trial = record(history, told, tmp=run_dir)[SPEC.key]
    assert (trial.status, trial.epochs) == (status, told.epochs)


def test_events_carry_the_times_at_which_they_happened() -> None:
    events = events_of([outcome(SPEC, 3, begins=100)], History())
    assert [(event["event"], event["t"]) for event in events] == [
        ("proposed", 100),
        ("started", 100),
        ("report", 110),
        ("report", 120),
        ("report", 130),
        ("finished", 130),
    ]


def test_trials_that_ran_together_are_told_together() -> None:
    events = events_of([outcome(SPEC, 3, begins=100), outcome(OTHER, 2, begins=105)], History())
    happened = [event["t"] for event in events if event["event"] != "proposed"]
    assert happened == sorted(happened)
    assert [event["number"] for event in events if event["event"] == "proposed"] == [0, 1]


def test_of_the_same_work_twice_the_longest_counts(history: History, run_dir: RunDir) -> None:
    twice = (outcome(SPEC, 1), outcome(SPEC, 3), outcome(SPEC, 2))
    trial = record(history, *twice, tmp=run_dir)[SPEC.key]
    assert (len(history), trial.epochs, trial.attempt) == (1, 3, 1)


def test_what_is_known_is_passed_over_and_what_went_further_is_added(
    history: History, run_dir: RunDir
) -> None:
    record(history, outcome(SPEC, 2), tmp=run_dir)
    assert events_of([outcome(SPEC, 2)], history) == []
    trial = record(history, outcome(SPEC, 3), tmp=run_dir)[SPEC.key]
    assert (trial.status, trial.epochs, trial.attempt) == (Status.COMPLETE, 3, 2)
    assert events_of([outcome(SPEC, 3)], history) == []
