"""What a coefficient search says: the rows of its plan and of its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.errors import StageFailed
from orchestrator.estimates import measured_rate
from orchestrator.history import History, Status, Trial
from orchestrator.selection.agreement import UNKNOWN, Agreement
from orchestrator.selection.answers import agreement_of
from orchestrator.selection.intervals import Estimate, summarise
from orchestrator.selection.verdict import Verdict, fastest_tie, winner_and_ties
from orchestrator.stages.scaling.plan import STAGE, ScalingPlan, name_of
from orchestrator.trial import TrialSpec
from search_spaces.compound_scaling import family
from search_spaces.screening import Candidate
from trainer.config import TrainConfig

if TYPE_CHECKING:
    from orchestrator.stages.scaling.stage import ScalingSearch

Row = dict[str, Any]


def asked(plan: ScalingPlan) -> Row:
    """What was asked and what there is to choose from; the head of every document."""
    return {
        "stage": STAGE,
        "constraint": plan.constraint,
        "baseline": plan.start.to_json(),
        **plan.screening.to_json(),
        "warnings": list(plan.screening.warnings),
    }


def document(search: ScalingSearch, history: History) -> Row:
    """The finished search.

    Raises: StageFailed where no candidate came to an accuracy.
    """
    plan, recipe = search.plan, search.recipe(history)
    assert recipe is not None, "a search is reduced after it has ended"
    race = search.race(recipe)
    runs = {name: search.runs(recipe, candidate) for name, candidate in plan.by_name.items()}
    means = {name: values for name, values in _values(runs, history).items() if values}
    finalists = {name: means[name] for name in search.finalists(history, recipe) if name in means}
    if not finalists:
        raise StageFailed(_why_nothing(history))
    agreement = agreement_of(_trials(runs, history, finalists))
    verdict = winner_and_ties(finalists, num_images=plan.evidence.num_images, agreement=agreement)
    rows = {r["name"]: r for r in _results(search, recipe, history, finalists, agreement)}
    winner = plan.by_name[verdict.winner]
    return {
        **asked(plan),
        "recipe": _recipe(plan, recipe),
        "results": list(rows.values()),
        "winner": rows[verdict.winner],
        "ties": [rows[name] for name in verdict.ties],
        "verdict": _verdict(verdict, rows, agreement),
        "controls": _controls(search, recipe, history, finalists, agreement),
        "rungs": race.to_json(history) if race else None,
        "family": [
            {**member.to_json(), "target_ratio": winner.macs_ratio**member.phi}
            for member in family(plan.start, winner.coefficients)
            if member.phi is not None
        ],
        "evidence": plan.evidence.to_json(),
        "plan": plan.cost(measured_rate(history.trials(STAGE))).to_json(),
    }


Runs = Mapping[str, Mapping[int, TrialSpec]]


def _values(runs: Runs, history: History) -> dict[str, dict[int, float]]:
    """Network -> seed -> final accuracy, of the runs that came to one."""
    values: dict[str, dict[int, float]] = {}
    for name, specs in runs.items():
        found = {seed: _final(history.get(spec.key)) for seed, spec in specs.items()}
        values[name] = {seed: value for seed, value in found.items() if value is not None}
    return values


def _final(trial: Trial | None) -> float | None:
    if trial is None or trial.status is not Status.COMPLETE:
        return None
    return trial.metric("top1")


def _trials(runs: Runs, history: History, names: Iterable[str]) -> dict[str, list[Trial]]:
    return {
        name: [history[spec.key] for spec in runs[name].values() if spec.key in history]
        for name in names
    }


def _results(
    search: ScalingSearch,
    recipe: TrainConfig,
    history: History,
    finalists: Mapping[str, Mapping[int, float]],
    agreement: Agreement,
) -> Iterable[Row]:
    """Finalists by their fresh seeds, best first; then the others by the one run they had."""
    plan = search.plan
    races, race = search.races(recipe), search.race(recipe)
    estimates = summarise(finalists, num_images=plan.evidence.num_images, agreement=agreement)
    for estimate in sorted(estimates, key=lambda e: (-e.mean, e.key)):
        specs = search.runs(recipe, plan.by_name[estimate.key])
        spec = races.get(estimate.key) or next(iter(specs.values()))
        row = _row(plan.by_name[estimate.key], spec, history, estimate, finalists[estimate.key])
        yield {**row, "finalist": True, "keys": [s.key for s in specs.values()]}
    scores = race.scores(history) if race else {}
    others = [name for name in plan.by_name if name not in finalists]
    for name in sorted(others, key=lambda n: (-max(scores.get(n) or [0]), n)):
        spec = races.get(name) or next(iter(search.runs(recipe, plan.by_name[name]).values()))
        yield {**_single_run(plan, name, spec, history), "finalist": False, "keys": [spec.key]}


def _single_run(plan: ScalingPlan, name: str, spec: TrialSpec, history: History) -> Row:
    """A candidate that was compared in one run only: shown, never decisive."""
    trial = history.get(spec.key)
    value = trial.metric("top1") if trial and trial.status is not Status.FAILED else None
    if value is None:
        return _row(plan.by_name[name], spec, history, None, {})
    values = {_seed(spec): value}
    (estimate,) = summarise({name: values}, num_images=plan.evidence.num_images)
    return _row(plan.by_name[name], spec, history, estimate, values)


def _row(
    candidate: Candidate,
    spec: TrialSpec,
    history: History,
    estimate: Estimate | None,
    values: Mapping[int, float],
) -> Row:
    trial = history.get(spec.key)
    return {
        "name": name_of(candidate),
        **candidate.to_json(),
        "key": spec.key,
        "mean": estimate.mean if estimate else None,
        "interval": list(estimate.interval) if estimate else None,
        "method": estimate.method if estimate else None,
        "seeds": list(values),
        "values": list(values.values()),
        "epochs": trial.epochs if trial else 0,
        "status": str(trial.status) if trial else str(Status.WAITING),
        "error": trial.error if trial else "",
        "images_per_second": trial.metric("images_per_second") if trial else None,
    }


def _verdict(verdict: Verdict, rows: Mapping[str, Row], agreement: Agreement) -> Row:
    """How much the winner's first place says; beside it, the tie that trains fastest."""
    standing = (verdict.winner, *verdict.ties)
    speeds = {name: rows[name]["images_per_second"] for name in standing}
    seconds = {name: 1 / speed for name, speed in speeds.items() if speed}
    return {
        "sentence": verdict.sentence,
        "separated": verdict.separated,
        "seeds_to_separate": verdict.seeds_to_separate,
        "fastest_tie": fastest_tie(verdict, seconds),
        "differences": [difference.to_json() for difference in verdict.differences],
        "agreement": agreement.to_json() if agreement != UNKNOWN else None,
    }


def _controls(
    search: ScalingSearch,
    recipe: TrainConfig,
    history: History,
    finalists: Mapping[str, Mapping[int, float]],
    agreement: Agreement,
) -> list[Row]:
    """Each control with its own interval, at its own cost."""
    plan, rows = search.plan, []
    for control in plan.controls:
        specs = search.runs(recipe, control.candidate)
        values = _values({control.name: specs}, history)
        spec = next(iter(specs.values()))
        estimate = None
        if values[control.name]:
            # The noise between seeds is pooled over everything that was run with several.
            *_, estimate = summarise(
                {**finalists, f"control: {control.name}": values[control.name]},
                num_images=plan.evidence.num_images,
                agreement=agreement,
            )
        row = _row(control.candidate, spec, history, estimate, values[control.name])
        rows.append({"control": control.name, **row, "keys": [s.key for s in specs.values()]})
    return rows


def _recipe(plan: ScalingPlan, recipe: TrainConfig) -> Row:
    return {
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "lr": recipe.optim.lr,
        "weight_decay": recipe.optim.weight_decay,
        "tuned": plan.recipe_trials > 0,
        "train": recipe.to_json(),
    }


def _seed(spec: TrialSpec) -> int:
    assert isinstance(spec.config, TrainConfig)
    return spec.config.seed


def _why_nothing(history: History) -> str:
    failed = [trial for trial in history.trials(STAGE) if trial.status is Status.FAILED]
    first = failed[0].error if failed else "no trial ended"
    return (
        f"no candidate came to an accuracy: {len(failed)} trials failed, the first with: {first}; "
        "mend the cause and start again with a new --run-dir"
    )
