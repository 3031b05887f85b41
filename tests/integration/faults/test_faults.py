"""Real searches on Ray, disturbed: nothing is lost, repeated, changed or left behind."""

from functools import partial
from pathlib import Path

import pytest

from tests.integration.faults import on_the_controller
from tests.integration.faults.evidence import Whole
from tests.integration.faults.faults import FAULTS, Fault
from tests.integration.faults.on_the_disk import CannotMount
from tests.integration.faults.runs import Place

# MLflow and SQLAlchemy have each other's deprecations to sort out.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

QUICK: dict[str, Fault] = {
    "controller-killed-twice": partial(on_the_controller.killed, kills=2),
}
"""The others take a minute each; a worker's death alone is in test_ray_pool.py too."""
SLOW = {name: fault for name, fault in FAULTS.items() if name not in QUICK}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole.in_place(Place(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize(
    "fault",
    [
        *(pytest.param(fault, id=name) for name, fault in QUICK.items()),
        *(pytest.param(fault, id=name, marks=pytest.mark.slow) for name, fault in SLOW.items()),
    ],
)
def test_a_disturbed_search_comes_to_the_undisturbed_result(
    fault: Fault, whole: Whole, tmp_path: Path
) -> None:
    try:
        outcome = fault(Place(tmp_path), whole)
    except CannotMount as error:
        pytest.skip(str(error))
    assert outcome.holds, outcome
