from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.trainer.fixres.factories import adaptation, network, source
from trainer.data.batches import evaluation_batches
from trainer.data.decoded import DecodedSet, StreamedImages
from trainer.data.splits import Splits, Subset
from trainer.errors import ConfigError
from trainer.evaluate import evaluate
from trainer.fit import Beat
from trainer.fixres.sweep import enlarged_share, sweep, sweeping

CPU = torch.device("cpu")
RESOLUTIONS = (16, 24, 20)


def test_each_point_is_what_an_evaluation_at_that_resolution_says(
    splits: Splits, ragged: Subset
) -> None:
    config = source()
    model = network(config, splits)
    for subset in (splits.selection, ragged):
        points = sweep(model, subset, RESOLUTIONS, config=config, crop_fraction=0.8, device=CPU)
        assert points is not None
        assert [point.preprocessing.resolution for point in points] == list(RESOLUTIONS)
        assert [point.preprocessing.short_side for point in points] == [20, 30, 25]
        for point in points:
            batches = evaluation_batches(
                subset,
                resolution=point.preprocessing.resolution,
                batch_size=16,
                device="cpu",
                crop_fraction=0.8,
            )
            scores = evaluate(model, batches, num_classes=10)
            assert (point.top1, point.top5) == (scores.top1, scores.top5)
            assert point.loss == pytest.approx(scores.loss, rel=1e-6)
            assert (point.correct, point.num_images) == (scores.packed(), scores.count)


class Counted:
    """Images that count how often each is asked for."""

    def __init__(self, decoded: DecodedSet) -> None:
        self.asked: Counter[int] = Counter()
        self._images = decoded.images

    def decode(self, index: int) -> NDArray[np.uint8]:
        self.asked[index] += 1
        return self._images[index]


def test_a_streamed_image_is_decoded_once_for_all_resolutions(
    splits: Splits, ragged: Subset
) -> None:
    config = source(batch_size=4, accumulate=1)
    model, counted = network(config, splits), Counted(ragged.decoded)
    images = StreamedImages(counted.decode, workers=2)
    decoded = replace(ragged.decoded, images=images, streamed=True)
    streamed = replace(ragged, decoded=decoded)
    kept, read = (
        sweep(model, each, RESOLUTIONS, config=config, crop_fraction=0.8, device=CPU)
        for each in (ragged, streamed)
    )
    assert kept == read
    assert counted.asked == Counter(ragged.indices.tolist())


def test_enlarged_images_are_counted(ragged: Subset) -> None:
    subset = replace(ragged, indices=np.arange(5))  # short sides 20, 20, 26, 30, 22
    shares = [enlarged_share(subset, short_side) for short_side in (20, 21, 26, 27, 30, 31)]
    assert shares == [0.0, 0.4, 0.6, 0.8, 0.8, 1.0]


def test_enlarging_is_allowed_and_said(splits: Splits) -> None:
    config = adaptation().source
    points = sweep(
        network(config, splits),
        splits.selection,
        (8, 16),
        config=config,
        crop_fraction=1.0,
        device=CPU,
    )
    assert points is not None
    assert [point.enlarged for point in points] == [0.0, 1.0]  # digits have 8 px


@pytest.mark.parametrize(
    ("resolutions", "message"),
    [
        ((16, 3), "test_resolution: 3 px is below the network's total stride 4; use at least 4"),
        ((), "test_resolution: at least one is needed"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_the_work(
    splits: Splits, resolutions: tuple[int, ...], message: str
) -> None:
    config = source()
    with pytest.raises(ConfigError) as caught:
        sweep(
            network(config, splits),
            splits.selection,
            resolutions,
            config=config,
            crop_fraction=0.875,
            device=CPU,
        )
    assert str(caught.value) == message


def test_it_stops_when_asked(splits: Splits) -> None:
    config = source()
    points = sweep(
        network(config, splits),
        splits.selection,
        (16,),
        config=config,
        crop_fraction=0.875,
        device=CPU,
        should_stop=lambda: True,
    )
    assert points is None


def test_signs_of_life_come_before_the_points(splits: Splits) -> None:
    config = source()
    steps = sweeping(
        network(config, splits),
        splits.selection,
        (16, 24),
        config=config,
        crop_fraction=1.0,
        device=CPU,
        beat_seconds=0,
    )
    *beats, points = steps
    assert all(isinstance(beat, Beat) and beat.steps == 10 for beat in beats)
    assert [beat.step for beat in beats if isinstance(beat, Beat)] == list(range(1, 11))
    assert isinstance(points, tuple)
    assert all(point.images_per_second > 0 for point in points)
