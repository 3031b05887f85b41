import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.population import (
    POPULATION_OPS,
    POPULATION_TOPS,
    population_operations,
    population_parameters,
)
from trainer.augment.policy import Operation
from trainer.errors import ConfigError

NOTHING = (0,) * 60
PARAMETERS = st.tuples(*(st.integers(0, top) for top in POPULATION_TOPS))


def test_sixty_integers_are_fifteen_operations_twice_with_probability_and_magnitude():
    assert len(POPULATION_TOPS) == 60
    assert (len(POPULATION_OPS), len(set(POPULATION_OPS))) == (30, 15)
    assert set(POPULATION_TOPS[::2]) == {10}
    assert set(POPULATION_TOPS[1::2]) == {9}


def test_the_two_copies_of_an_operation_are_apart():
    parameters = list(NOTHING)
    parameters[8:10], parameters[38:40] = (3, 9), (10, 0)
    operations = population_operations(parameters)
    assert operations[4] == Operation(name="rotate", probability=0.3, magnitude=30)
    assert operations[19] == Operation(name="rotate", probability=1, magnitude=0)


@given(PARAMETERS)
def test_integers_read_from_operations_make_the_same_operations(parameters):
    operations = population_operations(parameters)
    read = population_parameters(operations)
    assert population_operations(read) == operations
    assert read[::2] == parameters[::2]


def test_parameters_beyond_the_space_are_refused():
    with pytest.raises(ConfigError, match="60 parameters make a policy, got 59"):
        population_operations(NOTHING[1:])
    with pytest.raises(ConfigError, match="parameter 1 must be within 0 and 9, got 10"):
        population_operations((0, 10, *NOTHING[2:]))


def test_operations_of_another_list_are_refused():
    with pytest.raises(ConfigError, match="not the 15 of the space, twice"):
        population_parameters(population_operations(NOTHING)[1:])
