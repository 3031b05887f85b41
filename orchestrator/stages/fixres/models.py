"""Networks in a run's directory: those it was given, and those it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.objectives.resolution import model_folder, sources
from orchestrator.run_dir import RunDir
from orchestrator.stages.fixres.plan import STAGE, FixResPlan, Network, SourceRun
from orchestrator.stages.fixres.source import Found
from trainer.errors import CheckpointError
from trainer.preprocessing import preprocessing

if TYPE_CHECKING:
    from trainer.portable.files import PortableModel
    from trainer.portable.recipe import ModelRecipe


def keep_sources(found: Found, run_dir: RunDir) -> None:
    """Copy what is adapted into the run's directory, where every worker finds it.

    Raises: CheckpointError, DiskFull.
    """
    from trainer.portable.files import RECIPE, write_model

    for given in found.networks:
        folder = sources(run_dir, STAGE) / given.digest
        if not (folder / RECIPE).exists():  # which is written last
            write_model(folder, given.portable)


def keep_models(plan: FixResPlan, document: Mapping[str, Any], run_dir: RunDir) -> None:
    """Write the models that the document lists.

    Raises: CheckpointError, DiskFull.
    """
    from trainer.portable.files import write_model

    networks = {network.name: network for network in plan.networks}
    rows = {row["name"]: row for row in document["results"]}
    for entry in document["models"]:
        network = networks[entry["name"]]
        run = next(run for run in network.runs if run.seed == entry["seed"])
        try:
            model = _adapted(plan, network, run, entry, run_dir)
        except CheckpointError:
            if _is_written(run_dir.root / entry["path"], entry):
                continue  # by an earlier session; the trials' files may have been cleared since
            raise
        after = rows[network.name]["after"]
        write_model(
            run_dir.root / entry["path"],
            replace(model, recipe=_recipe(plan, model, network, entry, after)),
        )


def _is_written(folder: Path, entry: Mapping[str, Any]) -> bool:
    from trainer.portable.files import read_model

    try:
        origin = read_model(folder).recipe.origin
    except CheckpointError:
        return False
    said = (origin.get(name) for name in ("adaptation", "test_resolution", "seed"))
    return tuple(said) == (entry["adapt"], entry["test_resolution"], entry["seed"])


def _adapted(
    plan: FixResPlan, network: Network, run: SourceRun, entry: Mapping[str, Any], run_dir: RunDir
) -> PortableModel:
    """The network with the weights that were chosen."""
    from trainer.fixres.saving import adapted_model
    from trainer.portable.files import read_model

    source = read_model(model_folder(run_dir, STAGE, plan.origin(network, run)))
    if entry["adapt"] == "none":
        return source
    spec = plan.adapting(network, run, entry["adapt"], entry["test_resolution"])
    config = plan.adaptation(network, run, entry["adapt"], entry["test_resolution"])
    weights = adapted_model(run_dir.trial(STAGE, spec.key), config).state_dict()
    return replace(
        source,
        weights={name: tensor.detach().cpu().clone() for name, tensor in weights.items()},
        recipe=source.recipe.with_(pooled_map=entry["adapt"] == "parametric"),
    )


def _recipe(
    plan: FixResPlan,
    model: PortableModel,
    network: Network,
    entry: Mapping[str, Any],
    after: Mapping[str, Any] | None,
) -> ModelRecipe:
    """How it is to be used now, how good it is there, and what it was made from."""
    seed = entry["seed"]
    scores = {} if after is None else {"split": "reporting", "top1": _of_seed(after, seed)}
    return model.recipe.with_(
        name=network.name,
        class_names=plan.class_names or model.recipe.class_names,
        preprocessing=preprocessing(
            entry["test_resolution"], crop_fraction=network.tuning.crop_fraction
        ),
        scores=scores,
        origin={
            **model.recipe.origin,
            "adaptation": entry["adapt"],
            "train_resolution": network.train_resolution,
            "test_resolution": entry["test_resolution"],
            "seed": seed,
        },
    )


def _of_seed(after: Mapping[str, Any], seed: int) -> float | None:
    by_seed = dict(zip(after["seeds"], after["values"], strict=True))
    return by_seed.get(seed)
