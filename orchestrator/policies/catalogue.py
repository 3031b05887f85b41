"""Policies to look at: which there are, and what one of them does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import UsageError
from orchestrator.new_files import new_file, written_to
from orchestrator.policies.finding import find_policy
from trainer.augment.files import policy_to_dict
from trainer.augment.policy import Augmentation
from trainer.augment.presets import PRESETS
from trainer.errors import ConfigError

_AUTOAUGMENT = "Cubuk 2019, arXiv:1805.09501"
SOURCES: Final[Mapping[str, str]] = {
    "autoaugment-imagenet": _AUTOAUGMENT,
    "autoaugment-cifar10": _AUTOAUGMENT,
    "autoaugment-svhn": _AUTOAUGMENT,
    "autoaugment-v0": "the code of Tan & Le 2019, arXiv:1905.11946; in no paper",
    "randaugment": "Cubuk 2020, arXiv:1909.13719",
    "trivialaugment": "Müller & Hutter 2021, arXiv:2103.10158",
    "cutout": "DeVries & Taylor 2017, arXiv:1708.04552",
    "sample-pairing": "Inoue 2018, arXiv:1801.02929",
    "bag-of-tricks-color": "He 2018, arXiv:1812.01187",
}
"""Where each preset was published."""

USUAL_IMAGES: Final = 2
MOST_IMAGES: Final = 8
"""Of a picture; each takes four columns."""


def presets() -> list[dict[str, Any]]:
    """A row for each published policy; what it does not have is None."""
    return [_row(name) for name in PRESETS]


def _row(name: str) -> dict[str, Any]:
    document = policy_to_dict(PRESETS[name]())
    return {
        "name": name,
        "kind": document["kind"],
        "sub_policies": _length(document, "sub_policies"),
        "operations": _length(document, "operations"),
        "source": SOURCES[name],
    }


def _length(document: Mapping[str, Any], key: str) -> int | None:
    return len(document[key]) if key in document else None


def named_policy(name: str, *, side: int) -> Augmentation:
    """The preset of that name, for images of that side, or the policy in that file.

    Raises:
        ConfigError, UsageError: as `find_policy`.
    """
    try:
        return find_policy(name, side=side)
    except (ConfigError, UsageError) as error:
        # It is an option where a run is told its policy, and an argument here.
        raise type(error)(str(error).removeprefix("--")) from error


def show_policy(
    name: str,
    *,
    side: int,
    picture: str | Path | None,
    dataset: str | None,
    images: int | None,
    download: bool,
) -> dict[str, Any]:
    """The policy as its JSON file has it; with `picture`, drawn on a set's first training images.

    Raises:
        ConfigError: the policy or the data set is none.
        UsageError: the policy cannot be read or the picture not be written, the number of images
            is out of range, or images are asked for without a picture.
        DatasetError: the data set cannot be read.
    """
    policy = named_policy(name, side=side)
    if picture is not None:
        path = new_file(picture, option="--picture", suffix=".png")
        count = USUAL_IMAGES if images is None else images
        if not 1 <= count <= MOST_IMAGES:
            raise UsageError(f"--images must be between 1 and {MOST_IMAGES}, got {count}")
        _draw(policy, path, dataset=dataset, count=count, download=download)
    elif dataset is not None or images is not None or download:
        raise UsageError("--dataset, --images and --download say what --picture shows; give it too")
    return policy_to_dict(policy)


def _draw(
    policy: Augmentation, path: Path, *, dataset: str | None, count: int, download: bool
) -> None:
    # These load torch, which a policy's lines do without.
    from orchestrator.policies.sample_images import training_images
    from orchestrator.reporting.policy_picture import write_policy_picture
    from trainer.data.sources import DIGITS

    images = training_images(dataset or DIGITS, count=count, download=download)
    with written_to(path, option="--picture"):
        write_policy_picture(policy, images, path)
