"""Carrying a policy search out: data, plan, session, result."""

from __future__ import annotations

from typing import Any

from orchestrator.config.augment import SearchAugmentConfig
from orchestrator.loading import overlay
from orchestrator.machine import bundle_for
from orchestrator.policies.finding import find_policy
from orchestrator.reporting.live import Watcher
from orchestrator.run_dir import RunDir, write_whole
from orchestrator.session import check_run_dir
from orchestrator.stages.augment.plan import STAGE, AugmentPlan
from orchestrator.stages.augment.result import asked
from orchestrator.stages.augment.setup import plan_augment
from orchestrator.stages.augment.stage import AugmentSearch
from orchestrator.stages.carrying import carry_out, check_place, seconds_per_mac
from orchestrator.stages.reading import read_set
from orchestrator.suited import suited_child
from trainer.augment.files import policy_from_dict, policy_to_json
from trainer.data.splits import Splits, carve


def dry(config: SearchAugmentConfig, *, watcher: Watcher) -> dict[str, Any]:
    """The plan with its cost, from a short measured step time; writes nothing but the cache."""
    check_place(config, STAGE)
    plan, whole = plan_for(config, watcher=watcher)
    rate = seconds_per_mac(plan.child, whole, bundle=plan.resources[0])
    return {**asked(plan), "plan": plan.cost(rate).to_json()}


def run(config: SearchAugmentConfig, *, run_dir: RunDir, watcher: Watcher) -> dict[str, Any]:
    """The search, begun or continued in `run_dir`, to its result and `policy.json`."""
    check_run_dir(run_dir, STAGE)
    plan, whole = plan_for(config, watcher=watcher)

    def keep(document: dict[str, Any]) -> None:
        _write_policy(run_dir, document, plan, whole)

    return carry_out(
        AugmentSearch(plan),
        config,
        run_dir=run_dir,
        bundle=plan.resources[0],
        watcher=watcher,
        keep=keep,
    )


def plan_for(config: SearchAugmentConfig, *, watcher: Watcher) -> tuple[AugmentPlan, Splits]:
    """Read the data set and work the plan out. Raises: ConfigError, DatasetError, UsageError."""
    dataset, decoded = read_set(config, watcher=watcher)
    bundle = bundle_for(config)
    fits = suited_child(
        dataset,
        decoded,
        device="cuda" if bundle.gpus else "cpu",
        num_classes=config.classes,
        child=config.child,
        resolution=config.resolution,
    )
    recipe = fits.recipe.with_(seed=config.seed, epochs=config.epochs or fits.recipe.epochs)
    recipe = overlay(recipe, config.train, "train")
    whole = carve(decoded, recipe.data.with_(train_images=0))
    wanted = config.train_images
    if wanted is None:
        wanted = min(fits.train_images, len(whole.train))
    recipe = recipe.with_(data=recipe.data.with_(train_images=wanted))
    reduced = carve(decoded, recipe.data)
    given = {}
    if config.policy:
        given[config.policy] = find_policy(config.policy, side=recipe.model.resolution)
    plan = plan_augment(
        config,
        reduced=reduced,
        whole=whole,
        child=recipe,
        seeds=fits.seeds,
        given=given,
        bundle=bundle,
    )
    for warning in asked(plan)["warnings"]:
        watcher.say(f"note: {warning}")
    return plan, whole


def _write_policy(
    run_dir: RunDir, document: dict[str, Any], plan: AugmentPlan, whole: Splits
) -> None:
    """`policy.json`, and a picture of what it does to images of the set."""
    if document["policy"] is None:
        return
    policy = policy_from_dict(document["policy"])
    write_whole(run_dir.policy(STAGE), policy_to_json(policy))
    # These load torch and matplotlib, which nothing before the first trial needs.
    from orchestrator.policies.sample_images import first_images
    from orchestrator.reporting.policy_picture import write_policy_picture

    images = first_images(whole.train, count=2, resolution=plan.final.model.resolution)
    write_policy_picture(policy, images, run_dir.figures / "policy.png")
