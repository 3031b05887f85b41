"""A trained model as two files in a folder: safetensors weights and a JSON recipe.

Reading them never executes code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from trainer.errors import CheckpointError, ConfigError, DiskFull, is_disk_full
from trainer.fixres.parametric import with_pooled_map
from trainer.models.build import build
from trainer.portable.recipe import ModelRecipe, recipe_from_json

WEIGHTS = "model.safetensors"
RECIPE = "recipe.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PortableModel:
    """A trained model, complete."""

    recipe: ModelRecipe
    weights: Mapping[str, Tensor]
    """On the CPU, by the names that `build(recipe.model)` gives its parameters and buffers."""

    def network(self, *, device: torch.device | str = "cpu") -> nn.Module:
        """The network with its weights, in evaluation mode.

        Raises: CheckpointError where the two do not belong together, the first tensors named.
        """
        with torch.random.fork_rng(devices=[]):
            network = build(self.recipe.model)
        if self.recipe.pooled_map:
            with_pooled_map(network)
        wanted, found = network.state_dict(), self.weights
        wrong = [
            name
            for name in {**wanted, **found}
            if name not in wanted or name not in found or wanted[name].shape != found[name].shape
        ]
        if wrong:
            first = ", ".join(wrong[:3])
            raise CheckpointError(f"{len(wrong)} tensors do not fit the network: {first} …")
        network.load_state_dict(dict(found))
        return network.to(device).eval()


def write_model(folder: Path, model: PortableModel) -> None:
    """Write both files, each whole or not at all, the recipe last.

    Raises: DiskFull, CheckpointError when they cannot be written.
    """
    weights = {name: weight.detach().cpu().contiguous() for name, weight in model.weights.items()}
    recipe = json.dumps(model.recipe.to_json(), indent=1, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECIPE).unlink(missing_ok=True)  # never beside weights of another model
        _write(folder / WEIGHTS, save(weights, metadata={"format": "pt"}))
        _write(folder / RECIPE, recipe.encode())
    except OSError as error:
        kind = DiskFull if is_disk_full(error) else CheckpointError
        raise kind(f"{folder}: cannot be written: {error.strerror or error}") from error


def read_model(place: Path) -> PortableModel:
    """The model in a folder, or in the folder of one of its files.

    Raises: CheckpointError when it is not there, is damaged, or is of another format.
    """
    folder = place.parent if place.name in (WEIGHTS, RECIPE) else place
    try:
        recipe = recipe_from_json(json.loads((folder / RECIPE).read_bytes()))
        weights = load((folder / WEIGHTS).read_bytes())
    except FileNotFoundError as error:
        missing = Path(error.filename or folder).name
        raise CheckpointError(f"{place}: no model ({missing} is missing)") from None
    except OSError as error:
        raise CheckpointError(f"{place}: cannot be read: {error.strerror or error}") from error
    except (ValueError, ConfigError, SafetensorError) as error:
        raise CheckpointError(f"{place}: {' '.join(str(error).split())}") from error
    return PortableModel(recipe=recipe, weights=weights)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
