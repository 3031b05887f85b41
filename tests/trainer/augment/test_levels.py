"""Levels of other codebases."""

from __future__ import annotations

import pytest
from torchvision.transforms import v2

from trainer.augment.levels import (
    MAPPINGS,
    operation_from_level,
    policy_from_levels,
    policy_to_levels,
)
from trainer.augment.policy import Operation, Policy, SubPolicy
from trainer.augment.presets import (
    autoaugment_cifar10,
    autoaugment_imagenet,
    autoaugment_svhn,
    autoaugment_v0,
    randaugment,
)
from trainer.augment.published import CIFAR10, IMAGENET, SVHN, V0
from trainer.errors import ConfigError


def magnitudes(name: str, mapping: str) -> list[float]:
    levels = range(MAPPINGS[mapping].top + 1)
    operations = (operation_from_level((name, 1.0, level), mapping=mapping) for level in levels)
    return [end for operation in operations for end in operation.ends]


@pytest.mark.parametrize(
    ("name", "mapping", "bits"),
    [
        ("Posterize", "tpu", [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4]),
        ("Posterize", "research", [4, 4, 4, 3, 3, 2, 2, 2, 1, 1, 0]),
        ("Posterize", "torchvision", [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]),
        ("PosterizeOriginal", "timm", [4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8]),
        ("Posterize", "timm", [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4]),
        ("PosterizeIncreasing", "timm", [4, 4, 4, 3, 3, 2, 2, 2, 1, 1, 0]),
        ("Posterize", "autoaugment", [4, 4, 5, 5, 6, 6, 7, 7, 8, 8]),
    ],
)
def test_posterize_keeps_the_bits_of_each_codebase(
    name: str, mapping: str, bits: list[float]
) -> None:
    assert magnitudes(name, mapping) == bits


@pytest.mark.parametrize(
    ("name", "mapping", "at_nine"),
    [
        ("Rotate", "autoaugment", 30),
        ("Rotate", "torchvision", 30),
        ("Rotate", "tpu", 27),
        ("Rotate", "research", 27),
        ("Rotate", "timm", 27),
        ("Color", "autoaugment", 1.9),
        ("Color", "torchvision", 1.9),
        ("Color", "tpu", 1.72),
        ("ColorIncreasing", "timm", 1.81),
        ("Solarize", "autoaugment", 256),
        ("Solarize", "torchvision", 0),
        ("Solarize", "tpu", 230),
        ("Solarize", "research", 26),
        ("SolarizeIncreasing", "timm", 26),
        ("TranslateX", "autoaugment", 150 / 331),
        ("TranslateX", "torchvision", 150 / 331),
        ("TranslateX", "tpu", 225 / 331),
        ("TranslateX", "research", 9 / 32),
        ("TranslateXRel", "timm", 0.405),
        ("Cutout", "autoaugment", 60 / 331),
        ("Cutout", "tpu", 180 / 331),
        ("Cutout", "research", 18 / 32),
        ("SolarizeAdd", "tpu", 99),
    ],
)
def test_level_nine_of_each_codebase(name: str, mapping: str, at_nine: float) -> None:
    operation = operation_from_level((name, 1.0, 9), mapping=mapping)
    assert operation.ends == pytest.approx((at_nine,))


def test_torchvision_mirrors_factors_and_the_paper_does_not() -> None:
    mirrored = {
        mapping: operation_from_level(("Sharpness", 1.0, 9), mapping=mapping).mirrored
        for mapping in MAPPINGS
    }
    assert mirrored == {
        "autoaugment": False,
        "torchvision": True,
        "timm": False,
        "tpu": False,
        "research": False,
    }


def test_torchvisions_levels_are_those_of_its_own_transform() -> None:
    spaces = {
        **v2.AutoAugment._AUGMENTATION_SPACE,
        "Identity": (lambda *_: None, False),
    }
    assert set(spaces) == set(MAPPINGS["torchvision"].scales)
    for name, (values, mirrored) in spaces.items():
        theirs = values(10, 331, 331)
        if theirs is None:
            continue
        ours = operation_from_level((name, 1.0, 3), mapping="torchvision")
        unit = {"TranslateX": 331, "TranslateY": 331, "Solarize": 1 / 255}.get(name, 1)
        shift = 1 if name in ("Brightness", "Color", "Contrast", "Sharpness") else 0
        assert (ours.ends[0] - shift) * unit == pytest.approx(float(theirs[3]), abs=1e-4)
        assert ours.mirrored == mirrored


@pytest.mark.parametrize(
    ("table", "policy"),
    [("IMAGENET", IMAGENET), ("CIFAR10", CIFAR10), ("SVHN", SVHN)],
)
def test_published_tables_are_those_torchvision_carries(
    table: str, policy: list[tuple[object, ...]]
) -> None:
    theirs = v2.AutoAugment(v2.AutoAugmentPolicy[table])._policies
    assert list(policy) == theirs


def test_published_tables_have_the_published_number_of_distinct_rows() -> None:
    assert [len(table) for table in (IMAGENET, CIFAR10, SVHN, V0)] == [25, 25, 25, 25]
    assert [len(set(table)) for table in (IMAGENET, CIFAR10, SVHN, V0)] == [20, 25, 23, 25]


def test_v0_is_what_timm_carries_and_darkens_to_black_at_two_bits() -> None:
    from timm.data.auto_augment import auto_augment_policy_v0

    theirs = auto_augment_policy_v0({})  # type: ignore[no-untyped-call]
    ours = [[(name, probability, level) for name, probability, level in row] for row in V0]
    assert ours == [
        [(op.name.replace("Rel", ""), op.prob, op.magnitude) for op in row] for row in theirs
    ]
    assert autoaugment_v0().sub_policies[22].operations[0] == Operation(
        name="posterize", probability=0.8, magnitude=0
    )


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("table", [CIFAR10, IMAGENET, SVHN])
def test_what_came_in_by_levels_goes_out_by_levels(
    table: list[tuple[object, ...]], mapping: str
) -> None:
    policy = policy_from_levels(table, name="again", mapping=mapping)  # type: ignore[arg-type]
    out = policy_to_levels(policy, mapping=mapping)
    assert policy_from_levels(out, name="again", mapping=mapping) == policy


def test_what_no_level_means_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="torchvision has no operation like solarize-add"):
        policy_to_levels(_only(Operation(name="solarize-add", magnitude=33)), mapping="torchvision")
    with pytest.raises(ConfigError, match="torchvision has no level for posterize 0"):
        policy_to_levels(_only(Operation(name="posterize", magnitude=0)), mapping="torchvision")
    both_ways = Operation(name="color", magnitude=1.9, mirrored=True)
    with pytest.raises(ConfigError, match=r"tpu has no level for color 1\.9 with a random sign"):
        policy_to_levels(_only(both_ways), mapping="tpu")
    with pytest.raises(ConfigError, match=r"timm has no level for rotate 17\.3 with a random sign"):
        policy_to_levels(_only(Operation(name="rotate", magnitude=17.3)), mapping="timm")


def _only(operation: Operation) -> Policy:
    return Policy(name="one", sub_policies=(SubPolicy(operations=(operation,)),))


def test_unknown_names_and_levels_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"level mapping: unknown value 'torch'.*'torchvision'"):
        operation_from_level(("Rotate", 1.0, 3), mapping="torch")
    with pytest.raises(
        ConfigError, match=r"tpu: operation: unknown value 'Rotat'.* Did you mean 'Rotate'"
    ):
        operation_from_level(("Rotat", 1.0, 3), mapping="tpu")
    with pytest.raises(ConfigError, match="Rotate: level must be within 0 and 9, got 10"):
        operation_from_level(("Rotate", 1.0, 10), mapping="autoaugment")
    with pytest.raises(ConfigError, match="Rotate: level must be within 0 and 9, got None"):
        operation_from_level(("Rotate", 1.0, None), mapping="autoaugment")


def test_the_papers_policies_default_to_the_papers_levels() -> None:
    assert autoaugment_imagenet() == autoaugment_imagenet(mapping="autoaugment")
    rotate = autoaugment_cifar10().sub_policies[1].operations[0]
    assert rotate == Operation(name="rotate", probability=0.7, magnitude=60 / 9)
    assert autoaugment_svhn().name == "autoaugment-svhn"
    assert randaugment(magnitude=30).operations[3].ends == (30.0,)
