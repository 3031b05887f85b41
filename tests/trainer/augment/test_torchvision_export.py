"""The torchvision transform, run as other people would run it."""

from __future__ import annotations

import pickle

import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from tests.pictures import pictures
from trainer.augment.apply import apply_drawn
from trainer.augment.draws import draw
from trainer.augment.policy import Operation, Policy, PopulationPolicy, SubPolicy, Uniform
from trainer.augment.presets import PRESETS, preset
from trainer.augment.torchvision_export import to_torchvision
from trainer.errors import ConfigError

EXPORTABLE = [
    name
    for name in PRESETS
    if name not in ("autoaugment-v0", "sample-pairing", "bag-of-tricks-color")
]


def one(*operations: Operation) -> Policy:
    return Policy(name="one", sub_policies=(SubPolicy(operations=operations),))


@pytest.mark.parametrize("name", EXPORTABLE)
def test_a_preset_runs_in_a_pipeline_of_other_transforms(name: str) -> None:
    pipeline = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            to_torchvision(preset(name)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    for image in pictures(12, 32, 40):
        assert pipeline(functional.to_pil_image(image)).shape == (3, 32, 40)
        assert pipeline(image).shape == (3, 32, 40)


@pytest.mark.parametrize("name", EXPORTABLE)
def test_a_transformed_tensor_is_what_the_batch_kernel_gives(name: str) -> None:
    """The same random numbers, an image at a time; few pixels lie between two others."""
    policy, same, pixels = preset(name), 0, 0
    transform = to_torchvision(policy)
    for seed, image in enumerate(pictures(40, 32, 32)):
        torch.manual_seed(seed)
        theirs = transform(image)
        torch.manual_seed(seed)
        ours = apply_drawn(image.unsqueeze(0), draw(policy, 1))[0]
        same, pixels = same + int((theirs == ours).sum()), pixels + ours.numel()
    assert same / pixels > 0.99


def test_a_population_is_drawn_as_the_batch_kernel_draws_it() -> None:
    policy = PopulationPolicy(
        name="population",
        operations=(
            Operation(name="invert", probability=0.4),
            Operation(name="posterize", probability=0.5, magnitude=Uniform(low=2, high=8)),
            Operation(name="color", probability=0.6, magnitude=1.5, mirrored=True),
            Operation(name="solarize", probability=0.3, magnitude=100),
        ),
        counts=(0.1, 0.2, 0.3, 0.4),
    )
    transform, changed = to_torchvision(policy), 0
    for seed, image in enumerate(pictures(40, 8, 8)):
        torch.manual_seed(seed)
        theirs = transform(image).int()
        torch.manual_seed(seed)
        ours = apply_drawn(image.unsqueeze(0), draw(policy, 1))[0].int()
        changed += int((ours != image).any())
        assert (theirs - ours).abs().max() <= 2
    assert changed > 20


def test_a_pil_image_stays_one() -> None:
    image = functional.to_pil_image(pictures(2, 20, 30)[1])
    invert = to_torchvision(one(Operation(name="invert")))(image)
    assert isinstance(invert, Image.Image)
    assert functional.pil_to_tensor(invert).equal(255 - functional.pil_to_tensor(image))


def test_a_grey_pil_image_is_cut_out() -> None:
    image = Image.new("L", (20, 20), color=7)
    covered = to_torchvision(one(Operation(name="cutout", magnitude=0.5)))(image)
    assert covered.mode == "L"
    assert set(covered.tobytes()) == {7, 128}


def test_labels_pass_and_boxes_are_refused() -> None:
    transform = to_torchvision(one(Operation(name="invert")))
    image = tv_tensors.Image(pictures(1, 8, 8)[0])
    changed, label = transform(image, 3)
    assert isinstance(changed, tv_tensors.Image)
    assert label == 3
    mask = tv_tensors.Mask(torch.zeros(8, 8))
    with pytest.raises(TypeError, match="policy 'one': Mask cannot follow the image"):
        transform(image, mask)


def test_a_transform_can_be_sent_to_a_worker() -> None:
    transform = pickle.loads(pickle.dumps(to_torchvision(preset("randaugment"))))
    assert transform(pictures(1, 8, 8)[0]).shape == (3, 8, 8)
    assert repr(transform) == "PolicyTransform(policy='randaugment')"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("autoaugment-v0", "torchvision cannot do solarize-add"),
        ("sample-pairing", "torchvision cannot do sample-pairing"),
        ("bag-of-tricks-color", "torchvision cannot scale hues"),
    ],
)
def test_what_torchvision_cannot_do_is_refused_by_name(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"policy '{name}': {reason}"):
        to_torchvision(preset(name))
