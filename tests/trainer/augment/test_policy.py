"""What a policy may say, and how it says that it may not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.augment.ops import OPS, PAPER_OPS
from trainer.augment.policy import (
    ColorPipeline,
    Operation,
    Policy,
    PolicySchedule,
    PopulationPolicy,
    RandomPolicy,
    Segment,
    SubPolicy,
    Uniform,
)
from trainer.errors import ConfigError

INVERT = Operation(name="invert")


def test_the_controllers_output_index_does_not_move() -> None:
    assert tuple(OPS) == (
        "shear-x",
        "shear-y",
        "translate-x",
        "translate-y",
        "rotate",
        "autocontrast",
        "invert",
        "equalize",
        "solarize",
        "posterize",
        "contrast",
        "color",
        "brightness",
        "sharpness",
        "cutout",
        "sample-pairing",
        "identity",
        "solarize-add",
    )
    assert len(PAPER_OPS) == 16
    assert PAPER_OPS[-1] == "sample-pairing"


def test_the_searched_ranges_are_those_of_the_paper() -> None:
    ranges = {
        name: (m.low, round(m.high, 4), m.mirrored)
        for name in PAPER_OPS
        if (m := OPS[name].magnitude) is not None
    }
    assert ranges == {
        "shear-x": (0, 0.3, True),
        "shear-y": (0, 0.3, True),
        "translate-x": (0, 0.4532, True),
        "translate-y": (0, 0.4532, True),
        "rotate": (0, 30, True),
        "solarize": (0, 256, False),
        "posterize": (4, 8, False),
        "contrast": (0.1, 1.9, False),
        "color": (0.1, 1.9, False),
        "brightness": (0.1, 1.9, False),
        "sharpness": (0.1, 1.9, False),
        "cutout": (0, 0.1813, False),
        "sample-pairing": (0, 0.4, False),
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"name": "sharpnes", "magnitude": 1.5},
            "unknown value 'sharpnes'; choose from shear-x, .* Did you mean 'sharpness'?",
        ),
        ({"name": "invert", "probability": 1.1}, "invert: probability must be within 0 and 1, got"),
        ({"name": "invert", "probability": -0.1}, "probability must be within 0 and 1, got -0.1"),
        ({"name": "invert", "probability": float("nan")}, "probability must be within 0 and 1"),
        (
            {"name": "rotate", "magnitude": 181},
            r"rotate: magnitude \(degrees\) must be within -180",
        ),
        (
            {"name": "color", "magnitude": 2.1},
            r"color: magnitude \(factor\) must be within 0 and 2",
        ),
        ({"name": "color", "magnitude": float("nan")}, "must be within 0 and 2, got nan"),
        ({"name": "cutout", "magnitude": Uniform(low=0.5, high=1.5)}, "within 0 and 1, got 0.5 to"),
        ({"name": "posterize", "magnitude": 4.5}, "bits kept.* must be a whole number, got 4.5"),
        ({"name": "rotate"}, r"rotate: magnitude \(degrees\) is missing"),
        ({"name": "equalize", "magnitude": 3}, "equalize takes no magnitude"),
        ({"name": "equalize", "mirrored": True}, "equalize has no sign to mirror"),
        (
            {"name": "posterize", "magnitude": 4, "mirrored": True},
            "posterize has no sign to mirror",
        ),
    ],
)
def test_an_impossible_operation_is_refused_in_one_line(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Operation(**fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_empty_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="'none': at least one sub-policy is needed"):
        Policy(name="none", sub_policies=())
    with pytest.raises(ConfigError, match="a sub-policy needs at least one operation"):
        SubPolicy(operations=())
    with pytest.raises(ConfigError, match="'none': at least one operation is needed"):
        RandomPolicy(name="none", operations=())


def test_other_impossible_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_ops must be at least 1, got 0"):
        RandomPolicy(name="zero", operations=(INVERT,), num_ops=0)
    with pytest.raises(ConfigError, match=r"low < high, got 1\.0 and 1\.0"):
        Uniform(low=1, high=1)
    with pytest.raises(ConfigError, match="at least 2 bins, got 1"):
        Uniform(low=0, high=1, bins=1)
    with pytest.raises(ConfigError, match="0 <= low <= high"):
        ColorPipeline(name="color", low=1.4, high=0.6)
    with pytest.raises(ConfigError, match="noise must not be negative"):
        ColorPipeline(name="color", noise=-1)


@pytest.mark.parametrize("fill", [256, -1, (1, 2), (0, 0, 300), 12.5])
def test_a_fill_that_is_no_colour_is_refused(fill: object) -> None:
    with pytest.raises(ConfigError, match=r"policy\.fill: .* is no colour"):
        Policy(
            name="fill",
            sub_policies=(SubPolicy(operations=(INVERT,)),),
            fill=fill,  # type: ignore[arg-type]
        )


def test_the_sign_is_the_papers_unless_said() -> None:
    assert Operation(name="rotate", magnitude=30).mirrored is True
    assert Operation(name="color", magnitude=1.9).mirrored is False
    assert Operation(name="color", magnitude=1.9, mirrored=True).mirrored is True
    assert Operation(name="rotate", magnitude=-30, mirrored=False).mirrored is False


def test_equal_policies_are_equal_keys() -> None:
    whole, real = (Operation(name="posterize", magnitude=bits) for bits in (4, 4.0))
    assert whole == real
    assert hash(whole) == hash(real)
    assert repr(whole) == repr(real)


def test_values_load_without_torch() -> None:
    modules = "files, levels, ops, policy, presets, published"
    code = f"import sys; from trainer.augment import {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def schedule(*lengths: int) -> PolicySchedule:
    """Segments of these lengths, told apart by their policies' names."""
    return PolicySchedule(
        name="test",
        segments=tuple(
            Segment(epochs=length, policy=PopulationPolicy(name=str(place), operations=(INVERT,)))
            for place, length in enumerate(lengths)
        ),
    )


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 500))
def test_a_stretched_schedule_has_exactly_the_epochs_and_keeps_its_proportions(
    lengths: list[int], epochs: int
) -> None:
    stretched = schedule(*lengths).stretched(epochs)
    assert stretched.epochs == epochs
    lasting = {segment.policy.name: segment.epochs for segment in stretched.segments}
    for place, length in enumerate(lengths):
        share = length * epochs / sum(lengths)
        assert abs(lasting.get(str(place), 0) - share) <= 1


def test_a_schedule_stretched_to_its_own_length_stays_as_it_is() -> None:
    assert schedule(3, 1, 4).stretched(8) == schedule(3, 1, 4)
    assert schedule(3, 1, 4).stretched(16) == schedule(6, 2, 8)


def test_every_epoch_has_a_policy_and_the_last_one_stays() -> None:
    names = [schedule(2, 1).at(epoch).name for epoch in range(1, 6)]
    assert names == ["0", "0", "1", "1", "1"]


@pytest.mark.parametrize(
    "counts", [(1.0,), (0.5, 0.4), (0.5, 0.6), (1.5, -0.5), (float("nan"), 1.0)]
)
def test_counts_that_are_no_chances_are_refused(counts: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="counts must be two or more chances that add up to 1"):
        PopulationPolicy(name="p", operations=(INVERT,), counts=counts)


def test_a_schedule_needs_segments_and_a_segment_epochs() -> None:
    with pytest.raises(ConfigError, match="at least one segment is needed"):
        PolicySchedule(name="none", segments=())
    with pytest.raises(ConfigError, match="a segment has at least 1 epoch, got 0"):
        schedule(0)
    with pytest.raises(ConfigError, match="epochs must be at least 1, got 0"):
        schedule(3).stretched(0)
