from itertools import pairwise
from typing import Any

from orchestrator.reporting.formats import coefficient, duration, magnitude, percent, size
from orchestrator.reporting.tables import aligned, scaling_lines, status_lines

HEAD: dict[str, Any] = {
    "stage": "search-scaling",
    "constraint": {"kind": "counted", "target_ratio": 2.0, "tolerance": 0.1},
    "baseline": {
        "name": "efficientnet-b0",
        "width": 1.0,
        "depth": 1.0,
        "stem_stride": 2,
        "resolution": 224,
        "params": 5288548,
        "macs": 385814752,
    },
    "grid": {"points": 9261, "within_formula": 109, "within_counted": 45, "distinct": 20},
}
NETWORK: dict[str, Any] = {
    "alpha": 1.0,
    "beta": 1.1,
    "gamma": 1.2,
    "formula": 1.7424,
    "macs": 771000000,
    "macs_ratio": 1.998,
    "params": 6000000,
    "resolution": 269,
    "channels": [16, 24],
    "repeats": [1, 2, 2],
    "equal_points": [[1.0, 1.1, 1.2], [1.05, 1.1, 1.2]],
}
SCORE: dict[str, Any] = {
    **NETWORK,
    "key": "k",
    "mean": 0.9321,
    "interval": [0.921, 0.9432],
    "seeds": [1, 2, 3],
    "values": [0.93, 0.93, 0.9363],
    "epochs": 8,
    "status": "complete",
    "error": "",
}
PLAN = {"trials": 63, "epochs": 412, "estimated_hours": 1.5, "estimated_gpu_hours": 0.0}


def test_a_table_puts_numbers_to_the_right_and_words_to_the_left() -> None:
    rows = [{"name": "a", "n": 5}, {"name": "long", "n": 12345}]
    columns = {"name": lambda row: row["name"], "n": lambda row: str(row["n"])}
    assert aligned(columns, rows) == ["name      n", "a         5", "long  12345"]


def test_a_column_without_a_word_is_left_out() -> None:
    columns = {"a": lambda row: "1", "error": lambda row: row.get("error") or ""}
    assert aligned(columns, [{}, {}]) == ["a", "1", "1"]


def test_a_plan_shows_what_there_is_to_choose_from_and_what_it_costs() -> None:
    document = {**HEAD, "candidates": [NETWORK], "plan": {**PLAN, "disk_bytes": 1_200_000_000}}
    assert list(scaling_lines(document)) == [
        "budget     counted cost 2 ± 0.1 times the baseline's",
        "baseline   efficientnet-b0, 224 px: 5,288,548 parameters, 385,814,752 multiply-adds",
        "grid       9,261 points: 109 keep to the budget by formula, 45 counted; "
        "20 distinct networks",
        "",
        "candidates",
        "   α     β     γ  αβ²γ²    cost    MACs  params   px  repeats  points",
        "1.00  1.10  1.20  1.742  1.998x  771.0M  6.000M  269    1-2-2       2",
        "",
        "plan       63 trials, 412 epochs in all, about 90 min, 1.2 GB of disk",
    ]


def test_a_plan_without_a_measured_time_gives_none() -> None:
    plan = {**PLAN, "estimated_hours": None, "estimated_gpu_hours": None, "disk_bytes": 0}
    lines = list(scaling_lines({**HEAD, "candidates": [NETWORK], "plan": plan}))
    assert lines[-1] == "plan       63 trials, 412 epochs in all, 0 bytes of disk"


def test_a_result_shows_finalists_dropped_and_controls_apart_and_the_verdict_last() -> None:
    dropped = {**SCORE, "mean": 0.5, "interval": [0.4, 0.6], "seeds": [0], "status": "pruned"}
    failed = {**SCORE, "mean": None, "interval": None, "status": "failed", "error": "Boom: x"}
    control = {**SCORE, "control": "published triple", "macs_ratio": 2.573, "mean": 0.94}
    member = {"phi": 1, "name": "B1", "depth": 1.2, "width": 1.1, **NETWORK}
    document = {
        **HEAD,
        "results": [{**SCORE, "finalist": True}, {**dropped, "finalist": False}, failed],
        "winner": SCORE,
        "ties": [{**SCORE, "alpha": 1.05}],
        "verdict": {"sentence": "Cannot tell.", "fastest_tie": "α=1.05 β=1.1 γ=1.2"},
        "controls": [control],
        "family": [member],
    }
    lines = list(scaling_lines(document))
    titles = [line for before, line in pairwise(lines) if not before]
    assert titles[:-1] == [
        "results, top-1 on the selection split",
        "dropped on the way, by one run each",
        "controls, at their own cost",
        "the family of the winner",
    ]
    assert any("93.21 %  92.10 to 94.32 %  complete" in line for line in lines)
    assert any("failed    Boom: x" in line for line in lines)
    assert any(line.startswith("published triple  1.00") and "2.573x" in line for line in lines)
    assert lines[-4:] == [
        "winner     α 1.00, β 1.10, γ 1.20: 93.21 % (92.10 to 94.32 %)",
        "ties       α 1.05, β 1.10, γ 1.20",
        "verdict    Cannot tell.",
        "fastest    α=1.05 β=1.1 γ=1.2",
    ]


def test_a_winner_alone_has_no_ties() -> None:
    document = {**HEAD, "results": [SCORE], "winner": SCORE, "ties": []}
    assert list(scaling_lines(document))[-1] == "ties       none"


def test_status_says_who_is_at_work_and_how_far_each_stage_is() -> None:
    counts = {"complete": 3, "running": 2, "pruned": 1, "failed": 0, "waiting": 4, "best": 0.91}
    document = {
        "run_dir": "runs/a",
        "controller": {"at_work": True, "holder": "pid 7 on here"},
        "stages": {"search-scaling": counts},
    }
    assert list(status_lines(document)) == [
        "runs/a: at work: pid 7 on here",
        "",
        "stage           complete  running  pruned  failed  waiting     best",
        "search-scaling         3        2       1       0        4  91.00 %",
    ]


def test_numbers_are_shown_as_people_read_them() -> None:
    assert [percent(0.93216), coefficient(1.1), coefficient(1.0625)] == [
        "93.22 %",
        "1.10",
        "1.0625",
    ]
    times = [duration(s) for s in (0.4, 119, 120, 7199, 7200, 90_000, 200_000)]
    assert times == ["0 s", "119 s", "2 min", "119 min", "2 h 0 min", "25 h 0 min", "2 d 7 h"]
    assert [magnitude(n) for n in (7, 7_370_000, 385_814_752)] == ["7", "7.370M", "385.8M"]
    assert [size(n) for n in (999, 1000, 1_500_000)] == ["999 bytes", "1 kB", "1.5 MB"]
