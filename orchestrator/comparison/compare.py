"""Two results of one stage side by side; paired differences where seeds and images are shared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.comparison.changes import NETWORK, apart, changed, handful
from orchestrator.comparison.sides import Row, Side, by_seed, keys_of
from orchestrator.comparison.tables import ALONE, signed_points
from orchestrator.errors import UsageError
from orchestrator.history import History, Trial, read_history
from orchestrator.reporting.formats import counted
from orchestrator.reporting.tables import aligned
from orchestrator.run_dir import RunDir
from orchestrator.selection.agreement import UNKNOWN, Agreement
from orchestrator.selection.answers import agreement_of
from orchestrator.selection.intervals import CONFIDENCE, ONE_SEED, check_runs
from orchestrator.selection.verdict import Difference, holm, paired_difference, way_out
from orchestrator.stages.finished import damaged, finished, read_document

COMPARABLE = ("search-scaling", "search-augment", "scale", "fixres", "ablate")
_NOT_ASKED = frozenset({"dataset", "fingerprint"})
CORRECTION = "Holm (1979), over what both have under one name and have trained differently"
SAME = "the same"


def compare(run_a: str, run_b: str) -> dict[str, Any]:
    """The two side by side, as plain JSON; differences are B less A.

    Raises: UsageError, on one line, for what is no result, another stage or other images.
    """
    a, b = _side(run_a, "RUN_A"), _side(run_b, "RUN_B")
    if a.command != b.command:
        raise UsageError(
            f"compare: {run_a} is a run of {a.command}, {run_b} of {b.command}; "
            "name two of one command"
        )
    return _document(a, b)


def _side(run_dir: str, option: str) -> Side:
    run = RunDir(Path(run_dir))
    description = read_document(run.description)
    if description is None:
        raise UsageError(f"{option}: {run_dir} is no run directory (no run.json)")
    command = description.get("command")
    if command not in COMPARABLE:
        raise UsageError(
            f"{option}: {run_dir} belongs to '{command}'; comparable are {', '.join(COMPARABLE)}"
        )
    _, result = finished(run_dir, command, option=option)
    side = Side(run_dir=run_dir, command=command, result=result, history=read_history(run.journal))
    try:
        _check(side)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(run_dir, command, option=option) from error
    return side


def _check(side: Side) -> None:
    """Stumble over whatever in a result is not as it should be."""
    _ = side.fingerprint, side.num_images
    rows = side.rows
    check_runs({name: by_seed(row) for name, row in rows.items()})
    aligned(ALONE, [_shown(row) for row in rows.values()])
    for row in rows.values():
        _ = side.recipe(row), {*keys_of(row)}, {*(row.get("tricks") or ())}


def _document(a: Side, b: Side) -> dict[str, Any]:
    if a.fingerprint != b.fingerprint or a.num_images != b.num_images:
        raise UsageError(
            f"compare: {a.run_dir} and {b.run_dir} were trained or judged on other images; "
            "accuracies on different images say nothing about each other"
        )
    ours, theirs = a.rows, b.rows
    if not ours.keys() & theirs.keys():
        raise UsageError(
            f"compare: {a.run_dir} and {b.run_dir} have no trained network of one name; "
            f"A has {handful(ours)}; B has {handful(theirs)}"
        )
    asked = apart(a.question, b.question, without=_NOT_ASKED, unsaid="the default")
    both = list(_both(a, b))
    return {
        "stage": a.command,
        "a": {"run_dir": a.run_dir},
        "b": {"run_dir": b.run_dir},
        "num_images": a.num_images,
        "asked": [said for _, said in asked],
        "both": both,
        "only_a": [_shown(row) for name, row in ours.items() if name not in theirs],
        "only_b": [_shown(row) for name, row in theirs.items() if name not in ours],
        "verdict": {"sentence": _verdict(both), "correction": CORRECTION},
    }


def _both(a: Side, b: Side) -> Iterator[Row]:
    ours, theirs = a.rows, b.rows
    names = [name for name in ours if name in theirs]
    rows = {f"A {name}": ours[name] for name in names}
    rows |= {f"B {name}": theirs[name] for name in names}
    first = _first_of(rows)
    values = _pooled(rows, first)
    agreement = _agreement({"A": a.history, "B": b.history}, rows, first)
    pairs = {
        name: (first[f"B {name}"], first[f"A {name}"])
        for name in names
        if first[f"B {name}"] != first[f"A {name}"]
        and values[first[f"B {name}"]].keys() & values[first[f"A {name}"]].keys()
    }
    # two names may stand for one pair of trainings, which is one comparison
    differences = {
        pair: paired_difference(values, *pair, num_images=a.num_images, agreement=agreement)
        for pair in pairs.values()
    }
    p_values = [difference.p_value for difference in differences.values()]
    adjusted = dict(zip(differences, holm(p_values), strict=True))
    for name in names:
        one, other, pair = ours[name], theirs[name], pairs.get(name)
        recipes = a.recipe(one), b.recipe(other)
        apart_in = changed(one, other, recipes)
        subject = f"{name} (in B: {handful(apart_in, '; ')})" if apart_in else name
        said = {"name": name, "a": _shown(one), "b": _shown(other), "changed": apart_in}
        if pair is not None:
            found = _told(subject, differences[pair], adjusted[pair], len(adjusted), a.num_images)
            found["difference"] |= {"first": f"B {name}", "second": f"A {name}"}
        else:
            alike = first[f"A {name}"] == first[f"B {name}"]
            found = _unpaired(subject, one, other, alike, not apart_in and None not in recipes)
        yield {**said, **found}


def _first_of(rows: Mapping[str, Row]) -> dict[str, str]:
    """Row -> the first of those that are the same training: that share a trial.

    A trial's key stands for all that decides its outcome, so one in common is enough, however
    many seeds either has.
    """
    groups = list[tuple[list[str], frozenset[str]]]()
    for label, row in rows.items():
        near = [group for group in groups if group[1] & keys_of(row)]
        labels = [*(each for group in near for each in group[0]), label]
        joined = (labels, keys_of(row).union(*(keys for _, keys in near)))
        groups = [*(group for group in groups if group not in near), joined]
    return {label: labels[0] for labels, _ in groups for label in labels}


def _pooled(rows: Mapping[str, Row], first: Mapping[str, str]) -> dict[str, dict[int, float]]:
    """The accuracies of each training by seed: a trial in both runs is evidence once."""
    values: dict[str, dict[int, float]] = {}
    for label, row in rows.items():
        values[first[label]] = by_seed(row) | values.get(first[label], {})
    return values


def _agreement(
    histories: Mapping[str, History], rows: Mapping[str, Row], first: Mapping[str, str]
) -> Agreement:
    """How far the runs are right on the same images, where the journals tell."""
    trials: dict[str, dict[str, Trial]] = {label: {} for label in first.values()}
    for label, row in rows.items():
        for key in row.get("keys") or ():
            trial = histories[label[0]].get(key)
            if trial is not None and trial.reports:
                trials[first[label]].setdefault(key, trial)
    found = {label: list(own.values()) for label, own in trials.items()}
    return agreement_of(found) if all(found.values()) else UNKNOWN


def _shown(row: Row) -> Row:
    kept = ("name", "tricks", *NETWORK, "mean", "interval", "seeds", "values", "verdict")
    return {name: row[name] for name in kept if name in row}


def _told(
    subject: str, pair: Difference, corrected: float, comparisons: int, num_images: int
) -> Row:
    """A difference in words, corrected for so many comparisons."""
    low, high = map(signed_points, pair.interval)
    error = "95 % interval, of the images alone," if pair.method == ONE_SEED else "95 % interval"
    gap = f"{signed_points(pair.mean)} points ({error} {low} to {high})"
    word, more = "cannot tell", f"; {way_out(pair, num_images, comparisons=comparisons)}"
    if corrected < 1 - CONFIDENCE:
        word, more = "B is better" if pair.mean > 0 else "B is worse", ""
    seeds = counted(pair.num_seeds, "shared seed")
    return {
        "difference": {**pair.to_json(), "adjusted_p_value": corrected},
        "verdict": word,
        "sentence": f"{subject}: {word} with {seeds}: {gap}{more}.",
    }


def _unpaired(subject: str, ours: Row, theirs: Row, alike: bool, told_alike: bool) -> Row:
    """Why there is no difference: one training in both, or no seed in common."""
    seeds = f"{counted(len(ours['seeds']), 'seed')} in A and {len(theirs['seeds'])} in B"
    verdict, said = None, "no seed in common, so nothing is paired"
    if alike and keys_of(ours) == keys_of(theirs):
        verdict, said = SAME, "the same trials in both"
    elif alike:
        verdict, said = SAME, f"the same training in both, with {seeds}: a gap is the seeds' alone"
    elif told_alike:
        verdict, said = SAME, f"the same configuration in both, with other seeds: {seeds}"
    return {"difference": None, "verdict": verdict, "sentence": f"{subject}: {said}."}


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        word = row["verdict"] or "nothing paired"
        counts[word] = counts.get(word, 0) + 1
    said = ", ".join(f"{word} in {number}" for word, number in counts.items())
    return f"Of {counted(len(rows), 'network')} that both have: {said}."
