import subprocess
import sys
from fractions import Fraction

import pytest

from search_spaces.compound_scaling import Baseline, ScalingCoefficients, scale
from search_spaces.controls import published_triple, random_candidate, uniform_scaling
from search_spaces.screening import screen
from trainer.complexity import count

B0 = Baseline.of("efficientnet-b0")


def test_the_published_triple_costs_more_than_twice_the_baseline():
    control = published_triple(B0)
    assert control.cost.macs == 992_629_472
    assert round(control.macs_ratio, 3) == 2.573
    assert control.to_json()["formula"] == 1.92027


@pytest.mark.parametrize("target", ["1", "1.8", "2", "3.7", "20"])
def test_uniform_scaling_comes_nearest_to_its_target(target):
    control = uniform_scaling(B0, Fraction(target))
    factors = control.coefficients
    assert factors.depth == factors.width == factors.resolution
    every = (Fraction(n, 1000) for n in range(1000, 2500))
    costs = {count(scale(B0, ScalingCoefficients(f, f, f))).macs for f in every}
    wanted = Fraction(target) * count(B0.config).macs
    assert abs(control.cost.macs - wanted) == min(abs(cost - wanted) for cost in costs)


def test_uniform_scaling_has_the_smallest_factor_of_its_network():
    control = uniform_scaling(B0, Fraction(2))
    less = control.coefficients.depth - Fraction(1, 1000)
    assert scale(B0, ScalingCoefficients(less, less, less)) != control.config


def test_a_random_candidate_depends_on_the_seed_alone():
    candidates = screen(B0, target=Fraction(2)).candidates
    drawn = [random_candidate(candidates, seed) for seed in range(20)]
    assert drawn == [random_candidate(candidates, seed) for seed in range(20)]
    assert len({row.coefficients for row in drawn}) > 5


def test_planning_loads_neither_torch_nor_numpy():
    program = (
        "import sys, search_spaces.controls;"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
