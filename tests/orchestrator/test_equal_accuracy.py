"""Speed at equal accuracy: which rung stands beside which network, and what is said of the two."""

from typing import Any

import pytest

from orchestrator.stages.ablate.equal_accuracy import at_equal_accuracy


def row(name: str, mean: float, speed: float | None, *, seeds: tuple[int, ...] = (0, 1, 2)) -> Any:
    values = [mean - 0.01, mean, mean + 0.01][: len(seeds)]
    return {
        "name": name,
        "mean": sum(values) / len(values),
        "seeds": list(seeds),
        "values": values,
        "images_per_second": speed,
        "precision": "fp32",
    }


LADDER = [row("E0", 0.70, 500.0), row("E1", 0.75, 400.0), row("E2", 0.80, 200.0)]


def beside(*rivals: Any, ladder: list[Any] = LADDER) -> list[Any]:
    return list(at_equal_accuracy(ladder, rivals, num_images=10_000))


def test_the_fastest_of_those_that_are_no_less_accurate_stands_beside() -> None:
    (found,) = beside(row("B0", 0.74, 100.0))
    assert (found["rung"], found["rival"]) == ("E1", "B0")
    assert found["times_as_fast"] == pytest.approx(4.0)
    assert found["points"] == pytest.approx(0.01)
    assert found["interval"][0] < found["points"] < found["interval"][1]
    assert found["sentence"].startswith("E1 answers 4.00 times as fast as B0 at +1.00 points (95 %")


def test_of_equally_fast_rungs_the_most_accurate_stands_beside() -> None:
    (found,) = beside(row("B0", 0.74, 100.0), ladder=[*LADDER, row("E1b", 0.78, 400.0)])
    assert found["rung"] == "E1b"


def test_other_precisions_are_said() -> None:
    (found,) = beside(row("B0", 0.74, 100.0) | {"precision": "bf16"})
    assert found["sentence"].endswith(", fp32 against bf16.")
    (found,) = beside(row("B0", 0.74, 100.0))
    assert found["sentence"].endswith(").")


def test_a_claim_that_does_not_hold_is_said_as_plainly() -> None:
    slower, out_of_reach = beside(row("B0", 0.69, 600.0), row("B7", 0.90, 50.0))
    assert slower["rung"] == "E0"
    assert slower["sentence"].startswith("no rung as accurate as B0 is as fast: E0 answers 0.83")
    assert out_of_reach["rung"] == "E2"
    assert (
        "no rung is as accurate as B7: E2 comes nearest, -10.00 points"
        in (out_of_reach["sentence"])
    )
    assert "4.00 times its images per second" in out_of_reach["sentence"]


def test_the_gap_is_that_of_the_seeds_that_both_have() -> None:
    (found,) = beside(row("B0", 0.74, 100.0, seeds=(2, 3, 4)))
    assert found["num_seeds"] == 1
    assert beside(row("B0", 0.74, 100.0, seeds=(7, 8, 9))) == []


def test_nothing_is_said_of_what_was_not_measured() -> None:
    assert beside(row("B0", 0.74, None)) == []
    unmeasured = [{**each, "images_per_second": None} for each in LADDER]
    failed = [row("E0", 0.7, 100.0) | {"mean": None}]
    for ladder in (unmeasured, failed, []):
        assert beside(row("B0", 0.74, 100.0), ladder=ladder) == []
