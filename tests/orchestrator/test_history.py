import json

from orchestrator.history import History, Trial


def reported(history: History, number: int) -> Trial:
    """A trial of the history whose one report was read from JSON, as a journal's are."""
    key = f"trial {number}"
    history.apply({"event": "proposed", "key": key, "number": number, "stage": "s"}, b"{}")
    report = json.loads('{"epoch": 1, "top1": 0.5}')
    history.apply({"event": "report", "key": key, "attempt": 1, "report": report})
    return history[key]


def test_reports_share_their_names_so_that_many_trials_stay_small() -> None:
    history = History()
    (first,), (second,) = (reported(history, number).reports for number in range(2))
    assert first == second == {"epoch": 1, "top1": 0.5}
    assert all(a is b for a, b in zip(first, second, strict=True))
