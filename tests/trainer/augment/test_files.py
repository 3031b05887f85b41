"""Policies in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.augment.files import policy_from_dict, policy_from_json, policy_to_dict, policy_to_json
from trainer.augment.ops import OPS
from trainer.augment.policy import (
    Augmentation,
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
from trainer.augment.presets import PRESETS, preset
from trainer.errors import ConfigError


@st.composite
def operations(draw: Callable[[Any], Any]) -> Operation:
    name = draw(st.sampled_from(sorted(OPS)))
    probability, meaning = draw(st.floats(0, 1)), OPS[name].magnitude
    if meaning is None:
        return Operation(name=name, probability=probability)
    value: float | Uniform = draw(st.floats(meaning.minimum, meaning.maximum))
    if meaning.whole:
        value = draw(st.integers(int(meaning.minimum), int(meaning.maximum)))
    elif draw(st.booleans()):
        bins = draw(st.none() | st.integers(2, 31))
        value = Uniform(low=meaning.minimum, high=meaning.maximum, bins=bins)
    mirrored = draw(st.booleans()) if meaning.neutral is not None else None
    return Operation(name=name, probability=probability, magnitude=value, mirrored=mirrored)


FILLS = st.integers(0, 255) | st.tuples(*[st.integers(0, 255)] * 3)
POLICIES = (
    st.builds(
        Policy,
        name=st.text(),
        sub_policies=st.lists(
            st.builds(SubPolicy, operations=st.lists(operations(), min_size=1, max_size=3)),
            min_size=1,
            max_size=3,
        ),
        fill=FILLS,
    )
    | st.builds(
        RandomPolicy,
        name=st.text(),
        operations=st.lists(operations(), min_size=1, max_size=3),
        num_ops=st.integers(1, 4),
        fill=FILLS,
    )
    | st.builds(
        PopulationPolicy,
        name=st.text(),
        operations=st.lists(operations(), min_size=1, max_size=3),
        counts=st.sampled_from([(0.2, 0.3, 0.5), (0, 1), (0.25, 0.25, 0.25, 0.25)]),
        fill=FILLS,
    )
    | st.builds(ColorPipeline, name=st.text(), noise=st.floats(0, 1))
)
SCHEDULES = st.builds(
    PolicySchedule,
    name=st.text(),
    segments=st.lists(
        st.builds(Segment, epochs=st.integers(1, 9), policy=POLICIES), min_size=1, max_size=3
    ),
)


@settings(deadline=None)
@given(POLICIES | SCHEDULES)
def test_a_policy_comes_back_from_json_exactly(policy: Augmentation) -> None:
    assert policy_from_json(policy_to_json(policy)) == policy
    assert policy_from_dict(policy_to_dict(policy)) == policy


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back_from_json_exactly(name: str) -> None:
    assert policy_from_json(policy_to_json(preset(name))) == preset(name)


def test_a_file_has_one_sub_policy_a_line() -> None:
    lines = policy_to_json(preset("autoaugment-cifar10")).splitlines()
    assert sum('"operations"' in line for line in lines) == 25
    assert '"rotate"' in lines[5]
    assert '"translate-x"' in lines[5]


def test_a_file_may_leave_out_defaults() -> None:
    text = '{"kind": "random", "name": "mine", "operations": [{"name": "rotate", "magnitude": 9}]}'
    assert policy_from_json(text) == RandomPolicy(
        name="mine", operations=(Operation(name="rotate", magnitude=9),)
    )


def _document(**changes: Any) -> dict[str, Any]:
    rotate = {"name": "rotate", "probability": 0.5, "magnitude": 9.0}
    return {
        "kind": "sub-policies",
        "name": "mine",
        "sub_policies": [{"operations": [{**rotate, **changes}]}],
    }


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "mine.json: expected an object, got []"),
        (
            {},
            "mine.json.kind: unknown value 'None'; "
            "choose from sub-policies, random, population, color, schedule.",
        ),
        (
            {**_document(), "fil": 3},
            "mine.json: key: unknown value 'fil'; choose from kind, name, sub_policies, fill. "
            "Did you mean 'fill'?",
        ),
        ({"kind": "random", "name": "mine"}, "mine.json: 'operations' is missing"),
        ({**_document(), "fill": "grey"}, 'mine.json.fill: expected a whole number, got "grey"'),
        ({**_document(), "sub_policies": {}}, "mine.json.sub_policies: expected a list, got {}"),
        ({**_document(), "sub_policies": []}, "mine.json: policy 'mine': at least one sub-policy"),
        ({**_document(), "name": 3}, "mine.json.name: expected a text, got 3"),
        (
            _document(probability=2),
            "mine.json.sub_policies[0].operations[0]: rotate: probability must be within 0 and 1",
        ),
        (
            _document(probability=True),
            "mine.json.sub_policies[0].operations[0].probability: expected a number, got true",
        ),
        (
            _document(magnitude={"low": 0, "hihg": 3}),
            "mine.json.sub_policies[0].operations[0].magnitude: key: unknown value 'hihg'; "
            "choose from low, high, bins. Did you mean 'high'?",
        ),
        (
            _document(mirrored=1),
            "mine.json.sub_policies[0].operations[0].mirrored: expected true or false, got 1",
        ),
        (
            _document(name="rotat"),
            "mine.json.sub_policies[0].operations[0]: operation: unknown value 'rotat'",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named_by_its_path(document: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_from_json(json.dumps(document), path="mine.json")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mine\.json: no JSON at line 2: Expecting value"):
        policy_from_json('{"kind":\n nothing}', path="mine.json")
