from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.data.factories import MakeFolder
from trainer.config import DataConfig
from trainer.data.cache import prepare
from trainer.data.decoded import DecodedSet
from trainer.data.splits import (
    Splits,
    apportion,
    carve,
    channel_statistics,
    hold_out,
    learning_fingerprint,
    reporting_fingerprint,
)
from trainer.errors import ConfigError, DatasetError


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DecodedSet:
    return prepare("digits", cache_root=tmp_path_factory.mktemp("cache"))


def _indices(splits: Splits) -> list[list[int]]:
    return [part.indices.tolist() for part in (splits.train, splits.selection, splits.reporting)]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any), st.fractions(0, 1))
def test_shares_are_within_one_of_exact_and_add_up(counts: list[int], part: float) -> None:
    total = int(sum(counts) * part)
    shares = apportion(total, counts)
    assert sum(shares) == total
    for share, count in zip(shares, counts, strict=True):
        assert abs(share - count * total / sum(counts)) < 1


def test_the_parts_are_disjoint_and_complete(digits: DecodedSet) -> None:
    parts = _indices(carve(digits, DataConfig()))
    assert sorted(chain(*parts)) == list(range(1797))
    assert [len(part) for part in parts] == [1079, 359, 359]


def test_the_parts_have_the_classes_in_proportion(digits: DecodedSet) -> None:
    splits = carve(digits, DataConfig(selection_fraction=0.3, reporting_fraction=0.1))
    whole = np.bincount(digits.labels)
    for part, fraction in ((splits.selection, 0.3), (splits.reporting, 0.1)):
        assert (np.abs(np.bincount(part.labels) - whole * fraction) < 1.1).all()


def test_the_seed_decides_and_nothing_else(digits: DecodedSet) -> None:
    config = DataConfig(split_seed=3)
    assert _indices(carve(digits, config)) == _indices(carve(digits, config))
    other = carve(digits, DataConfig(split_seed=4))
    assert _indices(other) != _indices(carve(digits, config))


def test_a_known_division_stays_what_it_was(digits: DecodedSet) -> None:
    """Results of earlier versions stay comparable only while this holds."""
    assert learning_fingerprint(carve(digits, DataConfig())) == "4784a0eded7415a4b9c7efcb65f959b1"


def test_what_is_reported_on_does_not_move_with_the_selection_fraction(digits: DecodedSet) -> None:
    few, many = (carve(digits, DataConfig(selection_fraction=fraction)) for fraction in (0.1, 0.4))
    assert few.reporting.indices.tolist() == many.reporting.indices.tolist()
    assert set(few.selection.indices) < set(many.selection.indices)


TWO = {"a": 10, "b": 20}


@pytest.mark.parametrize(
    ("own", "selection", "reporting"),
    [
        ([], (2, 4), (2, 4)),
        (["val"], (2, 4), "val"),
        (["test"], (2, 4), "test"),
        (["val", "test"], "val", "test"),
    ],
)
def test_nothing_is_selected_on_what_is_reported_on(
    make_folder: MakeFolder,
    cache_root: Path,
    own: list[str],
    selection: str | tuple[int, int],
    reporting: str | tuple[int, int],
) -> None:
    counts = {"train": TWO} | {split: {"a": 3, "b": 3} for split in own}
    decoded = prepare(str(make_folder(counts)), cache_root=cache_root)
    splits = carve(decoded, DataConfig())
    for part, expected in ((splits.selection, selection), (splits.reporting, reporting)):
        if isinstance(expected, str):
            assert part.indices.tolist() == list(decoded.splits[expected])
        else:
            assert tuple(np.bincount(part.labels)) == expected
            assert set(part.indices) <= set(decoded.splits["train"])


def test_a_division_depends_on_the_images_not_on_their_names(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    root = make_folder({"train": TWO})
    before = prepare(str(root), cache_root=cache_root)
    for number, file in enumerate(sorted((root / "train" / "a").iterdir())):
        file.rename(file.with_name(f"{99 - number}.png"))
    after = prepare(str(root), cache_root=cache_root)
    assert after.fingerprint != before.fingerprint  # the order of the images changed
    shown = [
        {decoded.digests[index].tobytes() for index in carve(decoded, DataConfig()).train.indices}
        for decoded in (before, after)
    ]
    assert shown[0] == shown[1]


def test_a_reduced_training_set_is_stratified_and_leaves_the_rest_alone(
    digits: DecodedSet,
) -> None:
    whole, some = carve(digits, DataConfig()), carve(digits, DataConfig(train_images=100))
    assert set(some.train.indices) < set(whole.train.indices)
    assert set(Counter(some.train.labels.tolist()).values()) <= {9, 10, 11}
    assert len(some.train) == 100
    assert _indices(some)[1:] == _indices(whole)[1:]


@pytest.mark.parametrize("count", [9, 1080])
def test_a_reduction_that_cannot_be_met_is_refused(digits: DecodedSet, count: int) -> None:
    with pytest.raises(DatasetError, match=f"train_images is {count}; this data set leaves 1079"):
        carve(digits, DataConfig(train_images=count))


def test_fractions_that_leave_nothing_are_refused(digits: DecodedSet) -> None:
    with pytest.raises(ConfigError, match=r"0\.5 and 0\.5; together they must leave"):
        carve(digits, DataConfig(selection_fraction=0.5, reporting_fraction=0.5))


def test_a_class_too_small_to_carve_from_is_named(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    decoded = prepare(str(make_folder({"": {"few": 2, "many": 9}})), cache_root=cache_root)
    with pytest.raises(DatasetError, match=r"'few' has 2 training image\(s\).*at least 3"):
        carve(decoded, DataConfig())


def test_three_images_of_a_class_go_one_into_each_part(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    decoded = prepare(str(make_folder({"": {"few": 3, "many": 90}})), cache_root=cache_root)
    splits = carve(decoded, DataConfig(selection_fraction=0.8, reporting_fraction=0.1))
    for part in (splits.train, splits.selection, splits.reporting):
        assert np.bincount(part.labels)[0] == 1


def test_the_learning_fingerprint_sees_training_and_selection_and_not_reporting(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    counts = {"train": TWO, "test": {"a": 2, "b": 2}}
    before = carve(prepare(str(make_folder(counts)), cache_root=cache_root), DataConfig())
    more = counts | {"test": {"a": 2, "b": 3}}
    other = prepare(str(make_folder(more, name="more")), cache_root=cache_root)
    after = carve(other, DataConfig())
    assert learning_fingerprint(after) == learning_fingerprint(before)
    assert reporting_fingerprint(after) != reporting_fingerprint(before)
    reduced = carve(other, DataConfig(train_images=5))
    assert learning_fingerprint(reduced) != learning_fingerprint(before)
    assert reporting_fingerprint(reduced) == reporting_fingerprint(after)


def test_statistics_are_those_of_the_training_pixels(ragged: DecodedSet) -> None:
    splits = carve(ragged, DataConfig())
    pixels = np.concatenate([ragged.images[i].reshape(-1, 3) for i in splits.train.indices]) / 255
    for part in (splits.train, splits.reporting):
        assert part.statistics.mean == pytest.approx(tuple(pixels.mean(axis=0)), abs=1e-9)
        assert part.statistics.std == pytest.approx(tuple(pixels.std(axis=0)), abs=1e-9)


@pytest.mark.slow
def test_real_photographs_have_their_published_statistics(
    real_folder: Callable[[str], Path], cache_root: Path
) -> None:
    decoded = prepare(str(real_folder("cifar10")), cache_root=cache_root)
    assert {split: len(span) for split, span in decoded.splits.items()} == {
        "train": 10_000,
        "test": 2_000,
    }
    statistics = carve(decoded, DataConfig(selection_fraction=0.001)).train.statistics
    assert statistics.mean == pytest.approx((0.4909, 0.4817, 0.4458), abs=2e-4)
    assert statistics.std == pytest.approx((0.2476, 0.2439, 0.2614), abs=2e-4)


def test_what_is_held_out_is_a_stratified_part_of_the_training_images(digits: DecodedSet) -> None:
    whole = carve(digits, DataConfig())
    folds = [hold_out(whole, 0.4, seed=0, number=number) for number in range(5)]
    for fold in folds:
        train, held, reporting = _indices(fold)
        assert sorted(train + held) == whole.train.indices.tolist()
        assert reporting == whole.reporting.indices.tolist()
        shares = np.bincount(fold.selection.labels) / np.bincount(whole.train.labels)
        assert shares == pytest.approx([0.4] * 10, abs=0.02)
    assert len({tuple(_indices(fold)[1]) for fold in folds}) == 5
    again = hold_out(whole, 0.4, seed=0, number=3)
    assert _indices(again) == _indices(folds[3])


def test_held_out_images_tell_nothing_to_the_rest(digits: DecodedSet) -> None:
    fold = hold_out(carve(digits, DataConfig()), 0.4, seed=0, number=0)
    assert fold.train.statistics == fold.selection.statistics
    assert fold.train.statistics == channel_statistics(digits, fold.train.indices)
