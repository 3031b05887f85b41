import json
from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator.history import History
from orchestrator.journal import Event
from orchestrator.reporting.spending import Spent, spent_on
from tests.journals import STAGE, asked, finished, proposed, report, started


def spent(events: Sequence[Event], times: Sequence[float] | None = None) -> Spent:
    history = History()
    timed = [
        {**event, "t": float(index if times is None else times[index])}
        for index, event in enumerate(events)
    ]
    for event in timed:
        history.apply(event, _line(event))
    return spent_on(history, timed, STAGE)


def _line(event: Event) -> bytes:
    return json.dumps(event).encode()


def lasting(event: Event, seconds: float) -> Event:
    values: dict[str, Any] = event["report"]
    return {**event, "report": {**values, "seconds": seconds}}


def test_training_time_is_the_epochs_own_and_gpus_count_by_their_share() -> None:
    half = {**proposed(0), "resources": [{"cpus": 1, "gpus": 0.5}]}
    reports = [lasting(report(0, epoch), 1800.0) for epoch in (1, 2)]
    cost = spent([*asked(), half, started(0), *reports, finished(0)])
    assert (cost.trials, cost.epochs) == (1, 2)
    assert (cost.training_hours, cost.gpu_hours) == (1.0, 0.5)


def test_an_epoch_that_was_said_twice_counts_once() -> None:
    reports = [lasting(report(0, epoch), 10.0) for epoch in (1, 1, 2)]
    assert spent([*asked(), proposed(0), started(0), *reports]).epochs == 2


def test_the_night_between_two_sessions_is_nobodys() -> None:
    session = {"event": "session", "pid": 1}
    events = [session, proposed(0), started(0), session, started(0, attempt=2), finished(0)]
    cost = spent(events, times=[0, 0, 3600, 90_000, 90_000, 90_000 + 3600])
    assert cost.wall_hours == pytest.approx(2)
    assert cost.sessions == 2


def test_trials_that_ran_before_they_were_written_down_took_their_time() -> None:
    events = [{"event": "session", "pid": 1}, proposed(0), started(0), finished(0)]
    assert spent(events, times=[9000, 1000, 1000, 4600]).wall_hours == pytest.approx(1)
