from math import cos, pi

import pytest

from trainer.config import ScheduleConfig
from trainer.schedule import lr_at, progress_at


def rates(config: ScheduleConfig, *, steps_per_epoch: int, epochs: int) -> list[float]:
    return [
        lr_at(config, peak=1.0, step=step, steps_per_epoch=steps_per_epoch, epochs=epochs)
        for step in range(steps_per_epoch * epochs)
    ]


def test_cosine_falls_from_the_peak_and_would_reach_zero_one_step_after_the_last() -> None:
    found = rates(ScheduleConfig(kind="cosine"), steps_per_epoch=2, epochs=3)
    assert found == pytest.approx([1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873])


def test_warm_up_reaches_the_peak_with_its_last_step_and_the_cosine_starts_there() -> None:
    found = rates(ScheduleConfig(kind="cosine", warmup_epochs=2), steps_per_epoch=2, epochs=4)
    cosine = [0.5 * (1 + cos(pi * t / 4)) for t in range(4)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, *cosine])


def test_step_drops_are_counted_from_the_beginning_of_training() -> None:
    config = ScheduleConfig(kind="step", step_epochs=2, step_factor=0.1, warmup_epochs=1)
    found = rates(config, steps_per_epoch=2, epochs=5)
    assert found == pytest.approx([0.5, 1.0, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_exponential_decay_is_a_staircase_of_2_4_epochs() -> None:
    found = rates(ScheduleConfig(kind="exponential"), steps_per_epoch=5, epochs=6)
    assert found == pytest.approx([1] * 12 + [0.97] * 12 + [0.97**2] * 6)


@pytest.mark.parametrize("steps_per_epoch", [10, 30, 70, 390])
def test_a_drop_due_at_a_step_happens_there_in_spite_of_rounding(steps_per_epoch: int) -> None:
    config = ScheduleConfig(kind="exponential", exponential_epochs=0.1, exponential_factor=0.5)
    found = rates(config, steps_per_epoch=steps_per_epoch, epochs=3)
    every = steps_per_epoch // 10
    assert found == [0.5 ** (step // every) for step in range(len(found))]


def test_a_warm_up_longer_than_the_run_just_rises() -> None:
    found = rates(ScheduleConfig(warmup_epochs=4), steps_per_epoch=1, epochs=2)
    assert found == [0.25, 0.5]


def test_a_warm_up_of_a_part_of_an_epoch_has_the_nearest_number_of_steps() -> None:
    for warmup_epochs, steps in ((0.29, 29), (0.124, 12), (0.126, 13)):  # 0.29 · 100 is 28.99…
        found = rates(ScheduleConfig(warmup_epochs=warmup_epochs), steps_per_epoch=100, epochs=1)
        assert found[:2] == pytest.approx([1 / steps, 2 / steps])
        assert found.index(1.0) == steps - 1


def test_the_progress_is_the_part_of_the_steps_that_is_done() -> None:
    found = [progress_at(step, steps_per_epoch=2, epochs=2) for step in range(4)]
    assert found == [0.0, 0.25, 0.5, 0.75]
