from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.reporting.ablate_report import ablate_chapter, labelled
from orchestrator.reporting.figure_rows import SpeedPoint
from orchestrator.reporting.figures.gains import draw_gains
from orchestrator.reporting.figures.speed import Box, asides, draw_speed, frontier
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job
from orchestrator.stages.ablate.stage import Ablation
from orchestrator.trial import Report
from tests.controlled import carried_out
from tests.simulated_ablate import LEARNER, ablate_plan, learn

BLUE, ORANGE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
LONG = "without deep-stem+pooled-shortcut+anti-alias+stochastic-depth"


def row(name: str, word: str | None = None, gain: float = 0.0, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "compares": [],
        "tricks": [],
        "over": None,
        "beside": [],
        "mean": 0.7,
        "interval": [0.68, 0.72],
        "values": [0.69, 0.7, 0.71],
        "gain": None if word is None else {"mean": gain, "interval": [gain - 0.01, gain + 0.01]},
        "verdict": word,
        "status": "complete",
        **changes,
    }


LADDER = [
    row("base"),
    row("mixup", "helps", 0.03),
    row("dropout", "hurts", -0.03, beside=["8 epochs instead of 4"]),
    row("sk", "cannot tell"),
    row("epochs-2x", verdict="the same"),
    row("se", mean=None, interval=None, values=[], status="failed"),
]


def point(speed: float, mean: float, *, rival: bool = False) -> SpeedPoint:
    ends = (mean - 0.02, mean + 0.02)
    return SpeedPoint(
        label=f"{speed:g}", rival=rival, images_per_second=speed, mean=mean, interval=ends
    )


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def has(path: Path, color: tuple[int, int, int]) -> bool:
    return bool((pixels(path) == color).all(axis=-1).any())


def has_a_white_border(path: Path) -> bool:
    found = pixels(path)
    return all((edge == 255).all() for edge in (found[0], found[-1], found[:, 0], found[:, -1]))


@pytest.mark.parametrize(
    "rows",
    [
        LADDER,
        LADDER[:1],
        LADDER[-1:],
        [row(name) for name in "abc"],
        [row(LONG, "helps", 0.01, beside=["more"])] * 30,
        [row("x" * 90, "hurts", -0.5)],
    ],
    ids=["ladder", "one rung", "none with an accuracy", "no gain", "30 long names", "one word"],
)
def test_gains_of_any_ladder_are_drawn_whole(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "gains.png"
    draw_gains(rows, path)
    assert has_a_white_border(path)
    height, width, _ = pixels(path).shape
    assert 900 < width < 2500
    assert 150 < height < 400 + 75 * len(rows)


def test_only_a_gain_that_was_told_has_a_colour(tmp_path: Path) -> None:
    for word, colors in {"helps": {BLUE}, "hurts": {ORANGE}, "cannot tell": set()}.items():
        path = tmp_path / f"{word}.png"
        draw_gains([row("base"), row("trick", word, 0.01)], path)
        assert {color for color in (BLUE, ORANGE) if has(path, color)} == colors


def test_a_star_stands_beside_what_was_not_the_tricks_alone(tmp_path: Path) -> None:
    alone, starred = tmp_path / "alone.png", tmp_path / "starred.png"
    draw_gains([row("base"), row("mixup", "helps", 0.03)], alone)
    draw_gains([row("base"), row("mixup", "helps", 0.03, beside=["8 epochs"])], starred)
    assert alone.read_bytes() != starred.read_bytes()


def test_a_label_says_what_is_added_and_over_what_where_that_is_not_the_rung_above() -> None:
    rows = [
        row("base"),
        row("B", compares=["stride-3x3"], over="base"),
        row("mixup", compares=["mixup"], over="base"),
    ]
    names = [each["name"] for each in labelled({"results": rows, "design": "cumulative"})]
    assert names == ["base", "B: stride-3x3", "mixup (over base)"]
    alone = [each["name"] for each in labelled({"results": rows, "design": "add-one"})]
    assert alone == ["base", "B: stride-3x3", "mixup"]


def test_the_frontier_is_those_that_no_other_beats_in_both() -> None:
    slow, even, fast = point(10, 0.9), point(20, 0.8), point(30, 0.7)
    beaten = [point(10, 0.85), point(15, 0.8), point(20, 0.75), point(30, 0.6)]
    assert frontier([*beaten, fast, slow, even]) == [slow, even, fast]
    assert frontier([point(20, 0.8)] * 2) == [even]
    assert frontier([]) == []


def box(x: float, y: float) -> Box:
    return Box(x=x, y=y, low=y - 30, high=y + 30)


def test_a_mark_that_hides_nothing_stays() -> None:
    boxes = [box(100, 100), box(130, 100), box(100, 300)]
    assert asides(boxes, size=10, within=(0, 500)) == [0, 0, 0]


def test_marks_on_one_spot_stand_on_both_sides_of_it() -> None:
    left, right = sorted(asides([box(100, 100)] * 2, size=10, within=(0, 500)))
    assert left < -5
    assert right > 5


def test_of_marks_whose_intervals_meet_the_first_stays() -> None:
    shifts = asides([box(100, 100), box(100, 140)], size=10, within=(0, 500))
    assert shifts[0] == 0
    assert abs(shifts[1]) > 5


def test_no_mark_leaves_the_plot() -> None:
    boxes = [box(100, 100 + y) for y in range(30)]
    shifts = asides(boxes, size=10, within=(90, 140))
    assert all(90 <= 100 + shift <= 140 for shift in shifts)


RUNGS = [point(410, 0.7 - 0.01 * n) for n in range(6)] + [
    point(350, 0.7 + 0.01 * n) for n in (1, 2)
]
RIVALS = [point(100 * n, 0.8 - 0.02 * n, rival=True) for n in range(1, 6)]


@pytest.mark.parametrize(
    "points",
    [RUNGS + RIVALS, RUNGS, RUNGS[:1], RUNGS[:1] * 30, RIVALS],
    ids=["both", "rungs", "one", "30 on one spot", "rivals"],
)
def test_speeds_of_any_networks_are_drawn_whole(points: list[SpeedPoint], tmp_path: Path) -> None:
    path = tmp_path / "speed.png"
    draw_speed(points, path)
    assert has_a_white_border(path)
    assert 700 < min(pixels(path).shape[:2]) < 2000


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    once, again = tmp_path / "once.png", tmp_path / "again.png"
    for path in (once, again):
        draw_gains(LADDER, path)
    assert once.read_bytes() == again.read_bytes()
    for path in (once, again):
        draw_speed(RUNGS + RIVALS, path)
    assert once.read_bytes() == again.read_bytes()


def failing(name: str) -> Mapping[str, Any]:
    def objective(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        if job.spec.labels["name"] == name:
            raise FloatingPointError("the loss became nan")
        yield from learn(job, should_stop)

    return {**LEARNER, "train-model": objective}


def test_the_chapter_says_what_the_figure_shows_and_which_rung_failed(tmp_path: Path) -> None:
    plan, run_dir = ablate_plan(), RunDir(tmp_path / "run")
    history = carried_out(tmp_path, Ablation(plan), failing("mixup"))
    text = "\n".join(ablate_chapter(Ablation(plan).reduce(history), history, run_dir))
    shown = text[text.index("figures/ladder.png") : text.index("| rung |")]
    assert "every run. Right: what the trick bought" in shown
    assert "**mixup failed**: 0 of 3 runs ended well; FloatingPointError: the loss" in shown
    assert text.count("failed**") == 1
    assert (run_dir.figures / "ladder.png").stat().st_size > 1000
