import json
from pathlib import Path

import pytest

from search_spaces.compound_scaling import channels, repeats
from search_spaces.published import PUBLISHED, published, published_family
from trainer.errors import ConfigError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "efficientnet.json").read_text())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_size_is_built_as_released(name):
    config, known = published(name), GOLDEN["published"][name]
    assert (config.stem_channels, config.head_channels) == (known["stem"], known["head"])
    assert list(channels(config)) == known["channels"]
    assert list(repeats(config)) == known["repeats"]
    assert (config.resolution, config.dropout) == (known["resolution"], known["dropout"])


def test_all_released_sizes_are_there():
    assert set(PUBLISHED) == set(GOLDEN["published"])


def test_b1_and_b2_are_equally_deep():
    assert repeats(published("b1")) == repeats(published("b2"))


def test_the_table_of_the_published_sizes_grows_from_b0():
    rows = [member.to_json() for member in published_family()]
    assert [row["name"] for row in rows] == list(PUBLISHED)
    ratios = [round(row["macs_ratio"], 3) for row in rows]
    assert ratios[:8] == [1, 1.780, 2.575, 4.736, 11.388, 26.610, 49.422, 97.834]
    assert ratios == sorted(ratios)
    assert {row["phi"] for row in rows} == {None}


def test_classes_change_the_classifier_alone():
    small, large = published("B4", num_classes=10), published("B4")
    assert small.with_(num_classes=1000) == large


def test_an_unpublished_size_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match=r"unknown value 'B9'; choose from B0, B1"):
        published("B9")
