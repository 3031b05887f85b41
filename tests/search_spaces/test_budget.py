from fractions import Fraction

import pytest

from search_spaces.budget import parse_budget, parse_count, short, window
from trainer.errors import ConfigError

B0_MACS = 385_814_752


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("2x", Fraction(2)),
        (" 1.8X ", Fraction(9, 5)),
        ("2×", Fraction(2)),
        ("800M", Fraction(800_000_000, B0_MACS)),
        ("1.2G", Fraction(1_200_000_000, B0_MACS)),
        ("1x", Fraction(1)),
    ],
)
def test_a_budget_is_an_exact_multiple_of_the_baseline(text, target):
    assert parse_budget(text, baseline_macs=B0_MACS) == target


@pytest.mark.parametrize("text", ["", "2", "x", "-2x", "nanx", "1e3x", "800MB", "2xx", "two"])
def test_a_budget_that_is_none_is_refused_with_examples(text):
    with pytest.raises(ConfigError, match=r"^--flops-budget: .* \(2x, 1\.8x\) or") as error:
        parse_budget(text, baseline_macs=B0_MACS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["0.9x", "0x", "300M"])
def test_a_budget_below_the_baseline_is_refused(text):
    with pytest.raises(ConfigError, match=r"385\.8M multiply-adds.*at least 1x"):
        parse_budget(text, baseline_macs=B0_MACS)


@pytest.mark.parametrize(("text", "number"), [("5300000", 5_300_000), ("5.3M", 5_300_000)])
def test_a_count_may_carry_a_unit(text, number):
    assert parse_count(text, path="--max-params") == number


@pytest.mark.parametrize("text", ["0", "1.5", "-3", "5.3 millions", "2x"])
def test_a_count_that_is_no_positive_whole_number_is_refused(text):
    with pytest.raises(ConfigError, match="--max-params"):
        parse_count(text, path="--max-params")


def test_a_window_includes_its_ends_and_nothing_beyond():
    allowed = window(target=Fraction(2), tolerance=Fraction(1, 10), unit=100)
    assert [n for n in range(300) if n in allowed] == list(range(190, 211))
    thirds = window(target=Fraction(1, 3), tolerance=Fraction(0), unit=100)
    assert not [n for n in range(100) if n in thirds]


def test_large_numbers_are_shortened():
    assert [short(n) for n in (7, 1_500, B0_MACS, 1_200_000_000)] == ["7", "1.5K", "385.8M", "1.2G"]
