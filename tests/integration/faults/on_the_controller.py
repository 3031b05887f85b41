"""Faults of the controller and of what it leans on: its files' lock, its mirror."""

from __future__ import annotations

import random
import signal
import time
from functools import partial

from orchestrator.tracking.mirror import sync
from tests.integration.faults.evidence import Outcome, Whole, judge, leftovers
from tests.integration.faults.runs import Place, Session

GRACE_SECONDS = 10.0


def killed(place: Place, whole: Whole, *, kills: int) -> Outcome:
    """SIGKILL at random moments, restarted at once while the old workers may still be alive."""
    moments, sessions, ended = random.Random(20), [Session(place)], False
    while not ended and len(sessions) <= kills:
        ended = not _wait_a_moment(sessions[-1], moments)
        sessions[-1].end(None if ended else signal.SIGKILL)
        if not ended:
            sessions.append(Session(place))
    code = 0 if ended else sessions[-1].end()
    done = len(sessions) - 1
    return judge(
        f"controller killed {done} times",
        done=f"SIGKILL at {done} random moments of one run, restarted at once",
        happened=f"{len(place.events('session'))} sessions, exit code {code} at the end",
        place=place,
        whole=whole,
        sessions=sessions,
        as_expected=code == 0 and done == kills,
    )


def _wait_a_moment(session: Session, moments: random.Random) -> bool:
    """Up to a number of new events (none: while it starts), and a little; whether it still runs."""
    wanted = len(session.place.events()) + moments.choice([0, 1, 2, 4, 6])
    if not session.until(lambda: len(session.place.events()) >= wanted):
        return False
    moment = time.monotonic() + moments.uniform(0, 1.5)
    return session.until(lambda: time.monotonic() >= moment)


def interrupted(place: Place, whole: Whole, *, number: signal.Signals) -> Outcome:
    """Asked to end, then gone on with."""
    first = Session(place)
    first.until_reports(3)
    began = time.monotonic()
    code = first.end(number)
    took, left = time.monotonic() - began, leftovers(place)
    second = Session(place)
    again = second.end()
    return judge(
        "SIGTERM, 10 s of grace" if number == signal.SIGTERM else "Ctrl-C",
        done=f"{number.name} after three reports, then the same command again",
        happened=f"exit code {code} after {took:.1f} s: “{first.said[-1][:40]}…”; then {again}",
        place=place,
        whole=whole,
        sessions=[first, second],
        as_expected=(code, again) == (128 + number, 0) and took < GRACE_SECONDS and not left,
    )


def two_at_once(place: Place, whole: Whole) -> Outcome:
    """A second controller on the same directory."""
    first = Session(place)
    first.until_reports(1)
    second = Session(place)
    refused = second.end()
    code = first.end()
    named = f"pid {first.pid}" in second.said[-1]
    return judge(
        "two controllers, one run directory",
        done="the same command again while the first is at work",
        happened=f"the second: exit code {refused}, pid {'' if named else 'not '}named; "
        f"the first: exit code {code}",
        place=place,
        whole=whole,
        sessions=[first, second],
        as_expected=(refused, code) == (4, 0) and named,
    )


def mirror_killed(place: Place, whole: Whole) -> Outcome:
    """The mirror dies midway; the run's end brings up another."""
    from tests.tracked import content

    session = Session(place)
    session.until(lambda: bool(session.members("orchestrator.tracking.mirror")))
    session.until_reports(6)
    for mirror in session.members("orchestrator.tracking.mirror"):
        mirror.kill()
    code = session.end()
    ours, fresh = (f"sqlite:///{place.root}/{name}.db" for name in ("mlflow", "fresh"))
    late = sync(place.run, tracking_uri=ours, until_end=True).points
    sync(place.run, tracking_uri=fresh, until_end=True)
    mirrored = content(ours)
    same = mirrored == content(fresh)
    return judge(
        "mirror killed midway",
        done="SIGKILL to the mirror after six reports; `mlflow-sync` after the end",
        happened=f"{len(mirrored)} runs in MLflow, {'equal' if same else 'not equal'} to a fresh "
        f"copy; mlflow-sync adds {late} points",
        place=place,
        whole=whole,
        sessions=[session],
        as_expected=code == 0 and same and late == 0,
    )


terminated = partial(interrupted, number=signal.SIGTERM)
ctrl_c = partial(interrupted, number=signal.SIGINT)
