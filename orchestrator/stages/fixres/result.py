"""What a resolution adaptation says: the sweep, the adaptations, and what was chosen of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.config.fixres import ADAPTATIONS
from orchestrator.errors import StageFailed
from orchestrator.estimates import Cost
from orchestrator.history import History, Status, Trial
from orchestrator.selection.intervals import Estimate, summarise
from orchestrator.selection.verdict import holm
from orchestrator.stages.fixres.choice import Choice, best_of, choose, scores, swept
from orchestrator.stages.fixres.comparing import (
    Tried,
    agreement_of,
    compared,
    mean_metric,
    p_value,
    tried,
)
from orchestrator.stages.fixres.hours import adapting_hours, search_hours, training_hours
from orchestrator.stages.fixres.plan import STAGE, Adaptation, FixResPlan, Network
from orchestrator.stages.fixres.sentences import lower_sentence, network_sentence, verdict
from trainer.complexity import count

Row = dict[str, Any]
Key = tuple[Adaptation, int]


def asked(plan: FixResPlan) -> Row:
    """What was asked; the head of every document."""
    return {
        "stage": STAGE,
        "source": dict(plan.source),
        "networks": [_planned(network) for network in plan.networks],
        "adaptations": list(plan.adaptations),
        "finetune_at": plan.finetune_at if isinstance(plan.finetune_at, str) else _list(plan),
        "evidence": plan.evidence.to_json(),
        "warnings": list(plan.warnings),
    }


def _list(plan: FixResPlan) -> list[int] | None:
    return None if plan.finetune_at is None else [int(side) for side in plan.finetune_at]


def _planned(network: Network) -> Row:
    tuning = network.tuning
    return {
        "name": network.name,
        "lower_than": network.lower_than or None,
        "train_resolution": network.train_resolution,
        "resolutions": list(network.resolutions),
        "params": count(network.model).params,
        "seeds": [run.seed for run in network.runs],
        "given": [run.seed for run in network.runs if run.weights is not None],
        "finetune": {
            name: getattr(tuning, name)
            for name in ("epochs", "lr", "batch_size", "augmentation", "flip", "label_smoothing")
        }
        | {"affine": tuning.affine},
    }


def document(plan: FixResPlan, history: History) -> Row:
    """The result.

    Raises: StageFailed where no network came to an accuracy.
    """
    looked = {network.name: _looked_at(plan, network, history) for network in plan.networks}
    if not any(looked.values()):
        raise StageFailed(_why_nothing(history))
    results = [_result(plan, network, history, looked[network.name]) for network in plan.networks]
    _correct(results)
    for row in results:
        row["sentence"] = network_sentence(row, plan.evidence.reporting_images)
    lower = list(_lower(plan, history, results, looked))
    return {
        **asked(plan),
        "results": results,
        "sweep": [row for n in plan.networks for row in _sweep(plan, n, history)],
        "tried": [row for n in plan.networks for row in _adapted(plan, n, history)],
        "lower": lower,
        "verdict": {"sentence": verdict(results, lower)},
        "models": list(_models(plan, history)),
        "plan": _cost(plan, history).to_json(),
    }


def _looked_at(plan: FixResPlan, network: Network, history: History) -> dict[Key, Tried]:
    """What the reporting split has said of a network: as it was, and as it was chosen to be."""
    choice = choose(plan, network, history)
    wanted: list[Key] = [("none", network.train_resolution)]
    if choice is not None:
        wanted.append((choice.adaptation, choice.resolution))
    found = {}
    for adaptation, side in dict.fromkeys(wanted):
        by_seed = {
            run.seed: trial.reports[-1]
            for run in swept(plan, network, history)
            if (trial := history.get(plan.reporting(network, run, adaptation, side).key))
            and trial.status is Status.COMPLETE
        }
        if by_seed:
            found[adaptation, side] = tried(by_seed)
    return found


def _result(
    plan: FixResPlan, network: Network, history: History, looked: Mapping[Key, Tried]
) -> Row:
    """A network before and after, on the reporting split."""
    choice = choose(plan, network, history)
    before_key: Key = ("none", network.train_resolution)
    row = _planned(network) | _speeds(plan, network, history, choice)
    row["error"] = _failure(network, history)
    row |= {"test_resolution": None, "adapt": None, "before": None, "after": None}
    row |= {"difference": None, "chosen_by": None}
    estimates = _estimates(looked, plan.evidence.reporting_images)
    if before_key in looked:
        row["before"] = _shown(looked[before_key], estimates[before_key])
    row["training_hours"] = training_hours(plan, network, history)
    row["search_hours"] = search_hours(plan, network, history)
    if choice is None:
        return row
    key: Key = (choice.adaptation, choice.resolution)
    row |= {"test_resolution": choice.resolution, "adapt": choice.adaptation}
    row["chosen_by"] = {"split": "selection", "mean": choice.mean}
    row["adapting_hours"] = adapting_hours(plan, network, history, choice)
    if key in looked:
        row["after"] = _shown(looked[key], estimates[key])
    if key != before_key and key in looked and before_key in looked:
        pairs = {"after": looked[key], "before": looked[before_key]}
        row["difference"] = compared(pairs, "after", "before", plan.evidence.reporting_images)
    return row


def _correct(results: Sequence[Row]) -> None:
    """Holm's correction over the networks, each of which is a comparison of its own."""
    rows = [row["difference"] for row in results if row["difference"] is not None]
    for row, adjusted in zip(rows, holm([p_value(row) for row in rows]), strict=True):
        row["adjusted_p_value"] = adjusted


def _shown(found: Tried, estimate: Estimate) -> Row:
    return {
        "mean": estimate.mean,
        "interval": list(estimate.interval),
        "method": estimate.method,
        "top5": mean_metric(found, "top5"),
        "seeds": list(found.values),
        "values": list(found.values.values()),
    }


def _estimates(found: Mapping[Key, Tried], num_images: int) -> dict[Key, Estimate]:
    names = {f"{adaptation} {side}": (adaptation, side) for adaptation, side in found}
    values = {name: found[key].values for name, key in names.items()}
    agreement = agreement_of([found[key] for key in names.values()])
    made = summarise(values, num_images=num_images, agreement=agreement)
    return {names[estimate.key]: estimate for estimate in made}


def _speeds(plan: FixResPlan, network: Network, history: History, choice: Choice | None) -> Row:
    """Images a second through the unadapted network, at the train and at the chosen resolution."""
    found = scores(plan, network, history)

    def speed(side: int | None) -> float | None:
        by_seed = found.get(("none", side)) if side is not None else None
        return mean_metric(tried(by_seed), "images_per_second") if by_seed else None

    return {
        "images_per_second_before": speed(network.train_resolution),
        "images_per_second": speed(choice.resolution if choice else None),
    }


def _sweep(plan: FixResPlan, network: Network, history: History) -> Iterator[Row]:
    """The unadapted network at each resolution, and how far it is from the train resolution."""
    found = {key: tried(by) for key, by in scores(plan, network, history).items()}
    unadapted = {key: value for key, value in found.items() if key[0] == "none"}
    yield from _rows(plan, network, unadapted, enlarged=True)


def _adapted(plan: FixResPlan, network: Network, history: History) -> Iterator[Row]:
    """Every adaptation at every resolution that it was tried at; the best of each is marked."""
    found = scores(plan, network, history)
    runs = len(swept(plan, network, history))
    best = {
        choice.adaptation: choice.resolution
        for adaptation in plan.adaptations
        if (choice := best_of(found, [adaptation], seeds=runs, allowed=network.resolutions))
    }
    chosen = choose(plan, network, history)
    for row in _rows(plan, network, {key: tried(by) for key, by in found.items()}):
        if row["adapt"] == "none":
            continue
        row["best"] = best.get(row["adapt"]) == row["test_resolution"]
        row["chosen"] = chosen is not None and (chosen.adaptation, chosen.resolution) == (
            row["adapt"],
            row["test_resolution"],
        )
        yield row


def _rows(
    plan: FixResPlan,
    network: Network,
    found: Mapping[Key, Tried],
    *,
    enlarged: bool = False,
) -> Iterator[Row]:
    num_images = plan.evidence.selection_images
    estimates = _estimates(found, num_images) if found else {}
    base: Key = ("none", network.train_resolution)
    named = {f"{adaptation} {side}": value for (adaptation, side), value in found.items()}
    for (adaptation, side), value in sorted(found.items(), key=lambda item: _place(item[0])):
        estimate, row = estimates[adaptation, side], Row()
        row |= {
            "name": network.name,
            "seeds": list(value.values),
            "train_resolution": network.train_resolution,
            "test_resolution": side,
            "adapt": adaptation,
            "is_train": side == network.train_resolution,
            "mean": estimate.mean,
            "interval": list(estimate.interval),
            "method": estimate.method,
            "top5": mean_metric(value, "top5"),
            "difference": None,
        }
        if (adaptation, side) != base and base in found and _share(value, found[base]):
            first, second = f"{adaptation} {side}", f"{base[0]} {base[1]}"
            row["difference"] = compared(named, first, second, num_images)
        if enlarged:
            row["enlarged"] = mean_metric(value, "enlarged")
            row["images_per_second"] = mean_metric(value, "images_per_second")
        yield row


def _place(key: Key) -> tuple[int, int]:
    return (ADAPTATIONS.index(key[0]), key[1])


def _share(first: Tried, second: Tried) -> bool:
    return bool(first.values.keys() & second.values.keys())


def _lower(
    plan: FixResPlan,
    history: History,
    results: Sequence[Row],
    looked: Mapping[str, Mapping[Key, Tried]],
) -> Iterator[Row]:
    """Trained lower and adapted, against the same network trained at its own resolution."""
    rows = {row["name"]: row for row in results}
    for network in plan.networks:
        if not network.lower_than:
            continue
        row, base = rows[network.name], rows[network.lower_than]
        after = looked[network.name].get((row["adapt"], row["test_resolution"]))
        before = looked[network.lower_than].get(("none", base["train_resolution"]))
        if after is None or before is None or not _share(after, before):
            continue
        difference = compared(
            {network.name: after, network.lower_than: before},
            network.name,
            network.lower_than,
            plan.evidence.reporting_images,
        )
        spent = _sum(row["training_hours"], row["adapting_hours"])
        whole = base["training_hours"]
        found: Row = {
            "name": network.name,
            "lower_than": network.lower_than,
            "train_resolution": network.train_resolution,
            "base_resolution": base["train_resolution"],
            "test_resolution": row["test_resolution"],
            "adapt": row["adapt"],
            "mean": row["after"]["mean"],
            "base_mean": base["before"]["mean"],
            "difference": difference,
            "hours": spent,
            "base_hours": whole,
            "search_hours": row["search_hours"],
            "saved_hours": None if spent is None or whole is None else whole - spent,
            "saved": None if spent is None or not whole else 1 - spent / whole,
            "is_gpu_hours": plan.resources[0].gpus > 0,
        }
        found["sentence"] = lower_sentence(found, plan.evidence.reporting_images)
        yield found


def _sum(*hours: float | None) -> float | None:
    return None if hours[0] is None else sum(value or 0 for value in hours)


def _models(plan: FixResPlan, history: History) -> Iterator[Row]:
    """Of each network the model of the first seed; the best on the reporting split would be a
    choice made on it."""
    register = plan.register
    for network in plan.networks:
        runs, choice = swept(plan, network, history), choose(plan, network, history)
        if choice is None or not runs:
            continue
        name = register if len(plan.networks) == 1 else f"{register}-{network.slug}"
        yield {
            "name": network.name,
            "path": f"{STAGE}/models/{network.slug}",
            "seed": runs[0].seed,
            "adapt": choice.adaptation,
            "test_resolution": choice.resolution,
            "register": name if register else None,
        }


def _failure(network: Network, history: History) -> str:
    for trial in history.trials(STAGE):
        if trial.status is Status.FAILED and trial.labels.get("network") == network.name:
            return trial.error
    return ""


def _cost(plan: FixResPlan, history: History) -> Cost:
    rates = []
    for trial in history.trials(STAGE):
        work = trial.labels.get("work")
        if work and trial.status is Status.COMPLETE and trial.seconds:
            rates.append(trial.seconds / work)
    return plan.cost(sorted(rates)[len(rates) // 2] if rates else None)


def _why_nothing(history: History) -> str:
    failed: Iterator[Trial] = (t for t in history.trials(STAGE) if t.status is Status.FAILED)
    first = next((trial.error for trial in failed), "no trial ended")
    return (
        f"no network came to an accuracy: {first}; mend the cause and start again with a new "
        "--run-dir"
    )
