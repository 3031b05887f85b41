import pytest

from orchestrator.tracking import delivery as module
from orchestrator.tracking.delivery import Control, Delivery
from orchestrator.tracking.records import TrackerDown, TrackerRefused
from tests.journals import whole_trial, write_run


class MemoryTracker:
    """Keeps the records; fails as told, once for each entry."""

    def __init__(self, failures=()):
        self.failures = list(failures)
        self.connections = 0
        self.points = {}

    def connect(self, study):
        self.connections += 1
        return self

    def write(self, record):
        if self.failures and (error := self.failures.pop(0)):
            raise error
        known = self.points.setdefault(record.ref, {})
        new = {(p.name, p.step): p.value for p in record.points if (p.name, p.step) not in known}
        known |= new
        return len(new)


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POLL", 0.01)
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    return write_run(tmp_path / "run", [whole_trial(0), whole_trial(1)])


def deliver(run_dir, tracker):
    control = Control()
    control.end()
    delivery = Delivery(run_dir, tracker.connect, control)
    return delivery.run(interrupted=lambda: True), delivery.tally


def test_everything_is_delivered_once(run_dir):
    tracker = MemoryTracker()
    complete, tally = deliver(run_dir, tracker)
    assert complete
    assert len(tally.runs) == 4
    assert tally.points == sum(len(points) for points in tracker.points.values()) == 17


def test_an_outage_delays_and_loses_nothing(run_dir):
    down = TrackerDown("no answer")
    tracker = MemoryTracker([None, down, down, None, down])
    complete, tally = deliver(run_dir, tracker)
    assert complete
    assert (tally.points, tally.failure) == (17, "")


def test_a_tracker_that_stays_down_is_given_up_with_its_reason(run_dir):
    complete, tally = deliver(run_dir, MemoryTracker([TrackerDown("no answer")] * 1000))
    assert not complete
    assert tally.failure == "no answer"


def test_a_refusal_is_tried_on_a_fresh_connection_before_the_record_is_blamed(run_dir):
    tracker = MemoryTracker([None, None, TrackerRefused("no such run")])
    complete, tally = deliver(run_dir, tracker)
    assert complete
    assert tracker.connections == 2
    assert tally.refused == {}


def test_a_record_that_is_refused_twice_does_not_hold_up_the_others(run_dir):
    class Picky(MemoryTracker):
        def write(self, record):
            if record.ref == "trial-0":
                raise TrackerRefused("not this one")
            return super().write(record)

    tracker = Picky()
    complete, tally = deliver(run_dir, tracker)
    assert not complete
    assert tally.refused == {"trial-0": "not this one"}
    assert len(tracker.points["trial-1"]) == 6


def test_a_tracker_that_refuses_all_is_not_asked_without_end(run_dir):
    tracker = MemoryTracker([TrackerRefused("no")] * 1000)
    complete, tally = deliver(run_dir, tracker)
    assert not complete
    assert len(tally.refused) == 4
    assert tracker.connections <= 4


def test_when_the_time_is_over_nothing_more_is_sent(run_dir):
    control = Control()
    control.end(within=0.0)
    tracker = MemoryTracker()
    assert not Delivery(run_dir, tracker.connect, control).run(interrupted=lambda: True)
    assert tracker.points == {}
