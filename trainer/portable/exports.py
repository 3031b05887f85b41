"""A model in the formats of other tools, and the proof that what was written answers alike."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from trainer.errors import CheckpointError, ConfigError, unknown_value
from trainer.portable.files import RECIPE, PortableModel
from trainer.portable.torchvision_weights import to_torchvision

Answer = Callable[[Tensor], Tensor]
"""Images (B, 3, R, R) -> logits (B, K), both float32."""

CHECKED = 3
"""Images that an export is tried on; another number than it was made with."""

ONNX_LIMIT = 2**31 - 2**20
"""Bytes of weights that fit into one ONNX file, whose format counts to 2 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a model is written for one tool, and read again with that tool."""

    suffix: str
    """Of the file's name."""
    tolerance: float
    """Largest difference of a logit, as a part of the largest logit."""
    make: Callable[[PortableModel], tuple[bytes, str]]
    """The file's content, and a note on what the reader should know, if there is anything."""
    load: Callable[[bytes, PortableModel], Answer]
    """The answers of the file's content, computed by the other tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far an export's logits are from ours on a batch of random images."""

    largest_difference: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether it is the same model; a difference that is no number is none."""
        return self.largest_difference <= self.allowed


def export_format(to: str) -> Format:
    """The format of that name. Raises: ConfigError."""
    if to not in FORMATS:
        raise unknown_value("--to", to, FORMATS)
    return FORMATS[to]


def compare(content: bytes, model: PortableModel, to: str) -> Agreement:
    """Load an export as a stranger would, and hold its logits against ours."""
    chosen = export_format(to)
    side = model.recipe.preprocessing.resolution
    images = torch.randn((CHECKED, 3, side, side), generator=torch.Generator().manual_seed(0))
    with _quiet(), torch.inference_mode():
        ours = model.network()(images)
        theirs = chosen.load(content, model)(images)
    return Agreement(
        largest_difference=(ours - theirs).abs().max().item(),
        allowed=chosen.tolerance * ours.abs().max().item(),
    )


def require_agreement(content: bytes, model: PortableModel, to: str) -> Agreement:
    """The agreement of an export with the model. Raises: CheckpointError where there is none."""
    found = compare(content, model, to)
    if not found.holds:
        raise CheckpointError(
            f"{model.recipe.name} as {to} answers differently: a logit is off by "
            f"{found.largest_difference:.2g}, allowed are {found.allowed:.2g}"
        )
    return found


def to_onnx(model: PortableModel) -> tuple[bytes, str]:
    """An ONNX file: `images` (batch, 3, R, R) -> `logits` (batch, K), the recipe as metadata.

    Raises: ConfigError for a model too large for a file of that format.
    """
    weight_bytes = sum(each.numel() * each.element_size() for each in model.weights.values())
    if weight_bytes > ONNX_LIMIT:
        raise ConfigError(f"{model.recipe.name} is larger than the 2 GB that an ONNX file can hold")
    with _quiet():
        program = torch.onnx.export(
            model.network(),
            _example(model),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=_BATCH,
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props.update(_metadata(model))
        return program.model_proto.SerializeToString(), ""


def from_onnx(content: bytes, model: PortableModel) -> Answer:
    """The answers of an ONNX file by onnxruntime, on the CPU."""
    import onnxruntime  # type: ignore[import-untyped]  # late: no part of training

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def answer(images: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)

    return answer


def to_torch_export(model: PortableModel) -> tuple[bytes, str]:
    """A `torch.export` program for any number of images, the recipe as an extra file."""
    file = io.BytesIO()
    with _quiet():
        program = torch.export.export(model.network(), _example(model), dynamic_shapes=_BATCH)
        torch.export.save(program, file, extra_files={RECIPE: _recipe(model)})
    return file.getvalue(), ""


def from_torch_export(content: bytes, model: PortableModel) -> Answer:
    """The answers of a `torch.export` program."""
    return _answers(torch.export.load(io.BytesIO(content)).module())


def to_torchvision_file(model: PortableModel) -> tuple[bytes, str]:
    """A state dictionary for torchvision's network of the same size. Raises: ConfigError."""
    found = to_torchvision(model)
    file = io.BytesIO()
    torch.save(dict(found.state), file)
    call = f"torchvision.models.{found.name}(num_classes={model.recipe.model.num_classes})"
    return file.getvalue(), "; ".join(filter(None, (f"for {call}", found.note)))


def from_torchvision_file(content: bytes, model: PortableModel) -> Answer:
    """The answers of torchvision's own network with these weights."""
    name = to_torchvision(model).name
    with torch.random.fork_rng(devices=[]):
        network = get_model(name, num_classes=model.recipe.model.num_classes)
    network.load_state_dict(torch.load(io.BytesIO(content), weights_only=True), strict=True)
    return _answers(network.eval())


_BATCH = ({0: torch.export.Dim("batch")},)
"""The first dimension of the images is open, the others are the recipe's resolution."""


def _example(model: PortableModel) -> tuple[Tensor]:
    side = model.recipe.preprocessing.resolution
    return (torch.zeros(2, 3, side, side),)  # of one image, the exporter would fix their number


def _answers(network: nn.Module) -> Answer:
    def answer(images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits

    return answer


def _metadata(model: PortableModel) -> dict[str, str]:
    """What a user of the file needs to know, by names; each value but the first is JSON."""
    recipe = model.recipe.to_json()
    told = ("class_names", "mean", "std", "preprocessing", "scores", "origin")
    return {"name": model.recipe.name} | {
        name: json.dumps(recipe[name], ensure_ascii=False) for name in told
    }


def _recipe(model: PortableModel) -> str:
    return json.dumps(model.recipe.to_json(), indent=1, ensure_ascii=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters tell their progress on every channel there is; what goes wrong they raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


FORMATS: dict[str, Format] = {
    # Another library's kernels, and batch norm folded into the convolutions: 2e-5 in B5, more in
    # deeper networks. What is really wrong, such as padding, is off by as much as the logits.
    "onnx": Format(suffix=".onnx", tolerance=1e-3, make=to_onnx, load=from_onnx),
    # the same kernels
    "torch-export": Format(
        suffix=".pt2", tolerance=1e-4, make=to_torch_export, load=from_torch_export
    ),
    # the same, on other variances where the constants of batch norm differ
    "torchvision": Format(
        suffix=".pth", tolerance=1e-3, make=to_torchvision_file, load=from_torchvision_file
    ),
}
"""`--to` -> how it is written."""
