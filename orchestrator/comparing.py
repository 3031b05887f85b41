"""Two results of one stage side by side; paired differences where seeds and images are shared."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.errors import UsageError
from orchestrator.history import History, Trial, read_history
from orchestrator.loading import decode, decode_spec
from orchestrator.reporting.ablate_tables import points
from orchestrator.reporting.formats import counted, magnitude, percent
from orchestrator.reporting.tables import Columns, aligned, cell, interval_text, titled
from orchestrator.run_dir import RunDir
from orchestrator.selection.agreement import UNKNOWN, Agreement
from orchestrator.selection.answers import agreement_of
from orchestrator.selection.intervals import CONFIDENCE, ONE_SEED, check_runs
from orchestrator.selection.verdict import Difference, holm, paired_difference, way_out
from orchestrator.stages.finished import damaged, finished
from trainer.config import TrainConfig
from trainer.errors import ConfigError

Row: TypeAlias = dict[str, Any]
COMPARABLE = ("search-scaling", "search-augment", "scale", "fixres", "ablate")
_ROWS = {"search-augment": "arms"}
"""Where a result has its rows, if not under `results`."""
_COUNTS = ("params", "macs")
_NETWORK = ("epochs", "resolution", "train_resolution", "test_resolution", "adapt", *_COUNTS)
_PARTS = ("before", "after")
"""Of a row that says how accurate a network was and became."""
_NOT_TRAINING = frozenset({"dataset", "seed"})
"""Of a configuration: where the same images lie, and what runs are paired by."""
_NOT_ASKED = frozenset({"dataset", "fingerprint"})
_HANDFUL = 5
_LONGEST_TEXT = 40
CORRECTION = "Holm (1979), over what both have under one name and have trained differently"
SAME = "the same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two runs."""

    run_dir: str
    command: str
    result: Mapping[str, Any]
    history: History

    @property
    def question(self) -> Mapping[str, Any]:
        """What the run was asked."""
        asked: Mapping[str, Any] = self.history.questions.get(self.command, {}).get("question", {})
        return asked

    @property
    def fingerprint(self) -> str | None:
        """Of the images that it was trained and judged on."""
        evidence = self.result.get("evidence") or {}
        own = evidence.get("fingerprint") or evidence.get("verdict")
        found = own or self.question.get("fingerprint")
        return None if found is None else str(found)

    @property
    def num_images(self) -> int:
        """That accuracies are measured on."""
        evidence = self.result.get("evidence") or {}
        return int(evidence.get("reporting_images") or evidence["num_images"])

    @property
    def rows(self) -> dict[str, Row]:
        """What was trained, by name; what came to no accuracy is left out."""
        listed = [*(self.result.get(_ROWS.get(self.command, "results")) or ())]
        for row in self.result.get("controls") or ():
            listed.append({**row, "name": f"control: {row['control']}"})
        found = (flat for row in listed for flat in _flat(row, self.history))
        return {row["name"]: row for row in found if row.get("mean") is not None}

    def recipe(self, row: Row) -> dict[str, Any] | None:
        """All that its training was told, as this version says it; None where nothing tells."""
        said = (self.result.get("train") or {}).get(row["name"])
        trials = (self.history.get(key) for key in row.get("keys") or ())
        first = next((trial for trial in trials if trial is not None), None)
        try:
            if isinstance(said, Mapping):
                return asdict(decode(TrainConfig, said))
            config = None if first is None else decode_spec(first.proposal).config
        except (ConfigError, UsageError, KeyError, TypeError, ValueError):
            return None  # of another version
        return asdict(config) if isinstance(config, TrainConfig) else None


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


def compare_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The comparison as aligned plain text."""
    yield f"A          {document['a']['run_dir']}"
    yield f"B          {document['b']['run_dir']}"
    yield (
        f"compared   {document['stage']}, top-1 on the same "
        f"{counted(document['num_images'], 'image')}; B less A"
    )
    if document["asked"]:
        yield f"asked      in B: {_handful(document['asked'], '; ')}"
    yield from titled("both have", _BOTH, document["both"])
    for side in ("a", "b"):
        yield from titled(f"only {side.upper()} has", _ALONE, document[f"only_{side}"])
    yield ""
    for row in document["both"]:
        yield f"           {row['sentence']}"
    yield f"verdict    {document['verdict']['sentence']}"


def _points(value: float) -> str:
    """A difference of accuracies; what rounds to nothing has no sign of its own."""
    return points(round(value, 4) + 0.0)  # -0.0 + 0.0 is 0.0


def _of(side: str, columns: Columns) -> Columns:
    """The columns of one of the two."""

    def moved(column: Any) -> Any:
        return lambda row: column(row[side])

    return {f"{name} {side.upper()}": moved(column) for name, column in columns.items()}


def _of_either(columns: Columns) -> Columns:
    """What both have, said once; where they differ A's and B's."""

    def joined(column: Any) -> Any:
        return lambda row: " / ".join(dict.fromkeys((column(row["a"]), column(row["b"]))))

    return {name: joined(column) for name, column in columns.items()}


def _of_difference(form: Callable[[Any], str]) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: form(row["difference"]) if row["difference"] else ""


_SCORES: Columns = {
    "top-1": cell("mean", percent),
    "95 % interval": cell("interval", interval_text),
    "seeds": cell("seeds", lambda seeds: str(len(seeds))),
}
_COSTS: Columns = {
    "params": cell("params", magnitude),
    "MACs": cell("macs", magnitude),
    "epochs": cell("epochs"),
}
_ALONE: Columns = {"name": cell("name"), **_COSTS, **_SCORES}
_BOTH: Columns = {
    "name": cell("name"),
    **_of_either(_COSTS),
    "changed": lambda row: str(len(row["changed"])) if row["changed"] else "",
    **_of("a", _SCORES),
    **_of("b", _SCORES),
    "points": _of_difference(lambda pair: _points(pair["mean"])),
    "interval": _of_difference(lambda pair: " to ".join(map(_points, pair["interval"]))),
    "shared seeds": _of_difference(lambda pair: str(pair["num_seeds"])),
    "p (Holm)": _of_difference(lambda pair: f"{pair['adjusted_p_value']:.3f}"),
    "verdict": cell("verdict"),
}


def _side(run_dir: str, option: str) -> Side:
    run = RunDir(Path(run_dir))
    description = _read(run.description)
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


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _check(side: Side) -> None:
    """Stumble over whatever in a result is not as it should be."""
    _ = side.fingerprint, side.num_images
    rows = side.rows
    check_runs({name: _by_seed(row) for name, row in rows.items()})
    aligned(_ALONE, [_shown(row) for row in rows.values()])
    for row in rows.values():
        _ = side.recipe(row), {*_keys(row)}, {*(row.get("tricks") or ())}


def _flat(row: Mapping[str, Any], history: History) -> Iterator[Row]:
    """A row, or for a network that was adapted one for before and one for after."""
    if not any(part in row for part in _PARTS):
        yield dict(row)
        return
    network = {name: value for name, value in row.items() if name not in _PARTS}
    unadapted = {"adapt": "none", "test_resolution": row.get("train_resolution")}
    for part in _PARTS:
        if row.get(part):
            found = {**network, **(unadapted if part == "before" else {}), **row[part]}
            keys = list(_judged(found, history))
            yield {**found, "name": f"{row['name']} {part}", "keys": keys}


def _judged(row: Row, history: History) -> Iterator[str]:
    """The trials that have judged an adapted network; its result does not name them."""
    values = _by_seed(row)
    wanted = {
        "network": row["name"],
        "adaptation": row.get("adapt"),
        "test_resolution": row.get("test_resolution"),
    }
    for trial in history.trials("fixres"):
        proposal = trial.proposal
        labels, split = proposal["labels"], proposal["config"].get("evaluate_on")
        if split == "reporting" and wanted.items() <= labels.items():
            top1 = trial.metric("top1")
            if top1 is not None and top1 == values.get(labels["seed"]):
                yield trial.key


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
            f"A has {_handful(ours)}; B has {_handful(theirs)}"
        )
    asked = _apart(a.question, b.question, without=_NOT_ASKED, unsaid="the default")
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
        changed = _changed(one, other, recipes)
        subject = f"{name} (in B: {_handful(changed, '; ')})" if changed else name
        said = {"name": name, "a": _shown(one), "b": _shown(other), "changed": changed}
        if pair is not None:
            found = _told(subject, differences[pair], adjusted[pair], len(adjusted), a.num_images)
            found["difference"] |= {"first": f"B {name}", "second": f"A {name}"}
        else:
            alike = first[f"A {name}"] == first[f"B {name}"]
            found = _unpaired(subject, one, other, alike, not changed and None not in recipes)
        yield {**said, **found}


def _keys(row: Row) -> frozenset[str]:
    return frozenset(row.get("keys") or ())


def _by_seed(row: Row) -> dict[int, float]:
    return dict(zip(row["seeds"], row["values"], strict=True))


def _first_of(rows: Mapping[str, Row]) -> dict[str, str]:
    """Row -> the first of those that are the same training: that share a trial.

    A trial's key stands for all that decides its outcome, so one in common is enough, however
    many seeds either has.
    """
    groups = list[tuple[list[str], frozenset[str]]]()
    for label, row in rows.items():
        near = [group for group in groups if group[1] & _keys(row)]
        labels = [*(each for group in near for each in group[0]), label]
        joined = (labels, _keys(row).union(*(keys for _, keys in near)))
        groups = [*(group for group in groups if group not in near), joined]
    return {label: labels[0] for labels, _ in groups for label in labels}


def _pooled(rows: Mapping[str, Row], first: Mapping[str, str]) -> dict[str, dict[int, float]]:
    """The accuracies of each training by seed: a trial in both runs is evidence once."""
    values: dict[str, dict[int, float]] = {}
    for label, row in rows.items():
        values[first[label]] = _by_seed(row) | values.get(first[label], {})
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
    kept = ("name", "tricks", *_NETWORK, "mean", "interval", "seeds", "values", "verdict")
    return {name: row[name] for name in kept if name in row}


def _changed(ours: Row, theirs: Row, recipes: Sequence[Row | None]) -> list[str]:
    """What the same name stands for in B and not in A, beside the seeds."""
    fields = (*_NETWORK, "micro_batches")
    one, other = ({name: row.get(name) for name in fields} for row in (ours, theirs))
    network = dict(_apart(one, other))
    told = {} if None in recipes else dict(_apart(*recipes, without=_NOT_TRAINING))
    told = {path: said for path, said in told.items() if path.split(".")[-1] not in network}
    if told.keys() & {"batch_size", "accumulate"}:
        network.pop("micro_batches", None)
    counts = [network.pop(name) for name in _COUNTS if name in network]  # follow from the others
    return [*_tricks(ours, theirs), *network.values(), *told.values(), *counts]


def _tricks(ours: Row, theirs: Row) -> Iterator[str]:
    """Those of an ablation's rung that only one has: a ladder gathers what others try alone."""
    one, other = ours.get("tricks") or (), theirs.get("tricks") or ()
    added = [f"with {trick}" for trick in other if trick not in one]
    lacking = [f"without {trick}" for trick in one if trick not in other]
    if added or lacking:
        yield f"tricks {', '.join([*added, *lacking])}"


def _apart(
    ours: Any, theirs: Any, *, without: Collection[str] = (), unsaid: str = "none", path: str = ""
) -> Iterator[tuple[str, str]]:
    """Every dotted path at which B is told otherwise, and how to say it; a list is one value."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in (key for key in {**ours, **theirs} if key not in without):
            below = f"{path}.{key}" if path else str(key)
            pair = ours.get(key), theirs.get(key)
            yield from _apart(*pair, without=without, unsaid=unsaid, path=below)
    elif ours != theirs:
        one, other = (_text(value, unsaid) for value in (ours, theirs))
        yield path, f"another {path}" if one == other else f"{path} {other} instead of {one}"


def _text(value: Any, unsaid: str) -> str:
    """A setting in few words."""
    match value:
        case None:
            return unsaid
        case int() if not isinstance(value, bool):
            return f"{value:,}"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _handful(items: Iterable[str], separator: str = ", ") -> str:
    """The first few, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - _HANDFUL} more" if len(listed) > _HANDFUL else ""
    return separator.join(listed[:_HANDFUL]) + more or "nothing"


def _told(
    subject: str, pair: Difference, corrected: float, comparisons: int, num_images: int
) -> Row:
    """A difference in words, corrected for so many comparisons."""
    low, high = map(_points, pair.interval)
    error = "95 % interval, of the images alone," if pair.method == ONE_SEED else "95 % interval"
    gap = f"{_points(pair.mean)} points ({error} {low} to {high})"
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
    if alike and _keys(ours) == _keys(theirs):
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
