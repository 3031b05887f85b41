from __future__ import annotations

import pytest

from orchestrator.runners.room import places
from orchestrator.trial import Bundle


@pytest.mark.parametrize(
    ("nodes", "bundle", "expected"),
    [
        ([{"CPU": 8.0}], Bundle(cpus=1), 8),
        ([{"CPU": 8.0}], Bundle(cpus=3), 2),
        ([{"CPU": 3.0}, {"CPU": 3.0}], Bundle(cpus=2), 2),  # a bundle is of one node
        ([{"CPU": 8.0}], Bundle(gpus=1.0), 0),
        ([{"CPU": 8.0, "GPU": 2.0}], Bundle(gpus=1.0), 2),
        ([{"CPU": 1.0, "GPU": 2.0}], Bundle(gpus=1.0), 1),
        ([{"CPU": 8.0, "GPU": 2.0}], Bundle(gpus=0.5), 4),
        ([{"CPU": 8.0, "GPU": 2.0}], Bundle(gpus=1 / 3), 6),
        ([{"CPU": 8.0, "GPU": 2.0}], Bundle(gpus=0.4), 4),  # 0.8 of each, not five of two
        ([{"CPU": 8.0, "GPU": 3.0}], Bundle(gpus=2.0), 1),
        ([], Bundle(), 0),
    ],
)
def test_a_bundle_fits_so_often(
    nodes: list[dict[str, float]], bundle: Bundle, expected: int
) -> None:
    assert places(nodes, bundle) == expected
