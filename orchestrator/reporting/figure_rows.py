"""What the figures of a report show, worked out of a result document: all the thinking, no ink."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from orchestrator.reporting.formats import coefficient
from orchestrator.reporting.tables import Row

Kind: TypeAlias = Literal["winner", "tie", "finalist", "control", "dropped"]
"""`finalist`: told apart from the winner. `dropped`: compared in one run only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A network in the plane of cost and accuracy."""

    tag: str
    """What stands in the mark: the rank of a finalist, a letter for a control, "" otherwise."""
    label: str
    kind: Kind
    macs: int
    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankLine:
    """A candidate's place, from 1, at each step of the race it was still in."""

    label: str
    kind: Kind
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankChart:
    """The order at every rung, at the horizon, and by the fresh seeds that decide."""

    steps: tuple[str, ...]
    lines: tuple[RankLine, ...]
    """The last to leave first, the finalists in their final order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A network of the winner's family."""

    phi: float
    macs_ratio: float
    target_ratio: float
    """F^φ, F being the winner's own ratio."""
    params: int
    resolution: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a candidate may cost, in counted multiply-adds."""

    low: float
    high: float
    baseline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModePoint:
    """A trained member of a family."""

    label: str
    macs: int
    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeLine:
    """The members that were scaled in one way, the cheapest first."""

    mode: str
    points: tuple[ModePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionPoint:
    """A network's accuracy at a test resolution."""

    resolution: int
    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionChart:
    """A network's accuracy against the test resolution, a line for each adaptation."""

    name: str
    file: str
    train_resolution: int
    lines: tuple[tuple[str, tuple[ResolutionPoint, ...]], ...]
    """Adaptation and its points, from few pixels to many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedPoint:
    """A network in the plane of measured speed and accuracy."""

    label: str
    rival: bool
    """From another run, to stand beside the rungs."""
    images_per_second: float
    mean: float
    interval: tuple[float, float]


def speed_points(document: Row) -> list[SpeedPoint]:
    """The rungs in the order of the ladder, then the networks of another run."""
    rows = [(row, False) for row in document["results"]]
    rows += [(row, True) for row in document["rivals"]]
    return [
        SpeedPoint(
            label=row["name"],
            rival=rival,
            images_per_second=row["images_per_second"],
            mean=row["mean"],
            interval=(row["interval"][0], row["interval"][1]),
        )
        for row, rival in rows
        if row["mean"] is not None and row["images_per_second"] is not None
    ]


def resolution_charts(document: Row) -> list[ResolutionChart]:
    """A chart for each network that was swept, on the selection split."""
    rows = [*document["sweep"], *document["tried"]]
    names = dict.fromkeys(row["name"] for row in rows)
    return [
        _resolution_chart(name, number, [row for row in rows if row["name"] == name])
        for number, name in enumerate(names, start=1)
    ]


def _resolution_chart(name: str, number: int, rows: Sequence[Row]) -> ResolutionChart:
    adaptations = dict.fromkeys(row["adapt"] for row in rows)
    return ResolutionChart(
        name=name,
        file=f"resolution-{number}.png",
        train_resolution=rows[0]["train_resolution"],
        lines=tuple(
            (adaptation, tuple(_at(row) for row in rows if row["adapt"] == adaptation))
            for adaptation in adaptations
        ),
    )


def _at(row: Row) -> ResolutionPoint:
    low, high = row["interval"]
    return ResolutionPoint(
        resolution=row["test_resolution"], mean=row["mean"], interval=(low, high)
    )


def mode_lines(document: Row) -> list[ModeLine]:
    """A line for each way of scaling; what has no accuracy is left out."""
    rows = [row for row in document["results"] if row["mean"] is not None]
    modes = dict.fromkeys(row["mode"] for row in rows)
    return [
        ModeLine(mode=mode, points=tuple(_points(row for row in rows if row["mode"] == mode)))
        for mode in modes
    ]


def _points(rows: Iterable[Row]) -> Iterator[ModePoint]:
    for row in sorted(rows, key=lambda row: row["macs"]):
        low, high = row["interval"]
        label = row["beside"] or row["name"]
        yield ModePoint(label=label, macs=row["macs"], mean=row["mean"], interval=(low, high))


def accuracy_dots(document: Row) -> list[Dot]:
    """Finalists by rank, then the controls, then who was dropped; what has no accuracy is left out.

    The accuracy of a dropped network is that of the epoch it was dropped at.
    """
    dots = []
    for rank, row in enumerate(_finalists(document), start=1):
        dots.append(_dot(row, str(rank), point(row), _kind(document, row)))
    for row in document.get("controls") or []:
        if row["mean"] is not None:
            dots.append(_dot(row, row["control"][0].upper(), row["control"], "control"))
    for row in document["results"]:
        if not row["finalist"] and row["mean"] is not None:
            dots.append(_dot(row, "", point(row), "dropped"))
    return dots


def budget_of(document: Row) -> Budget | None:
    """The allowed costs; None where the constraint limits the formula, not the count."""
    limit, baseline = document["constraint"], document["baseline"]["macs"]
    if limit["kind"] != "counted":
        return None
    target, tolerance = limit["target_ratio"], limit["tolerance"]
    return Budget(
        low=baseline * (target - tolerance), high=baseline * (target + tolerance), baseline=baseline
    )


def rank_chart(document: Row, horizon_scores: Mapping[str, float]) -> RankChart | None:
    """The order at every step of the race; None where there was no race.

    Args:
        document: the result.
        horizon_scores: name -> accuracy of the race at its last epoch, of those who got there.
    """
    decisions = (document.get("rungs") or {}).get("decisions") or []
    if not decisions:
        return None
    finalists = [row["name"] for row in _finalists(document)]
    arrived = sorted(horizon_scores, key=lambda name: (-horizon_scores[name], name))
    orders = [*(d["order"] for d in decisions), arrived, finalists]
    seeds = len(document["winner"]["seeds"])
    steps = [
        *(f"epoch {d['epoch']}" for d in decisions),
        f"epoch {document['recipe']['epochs']}",
        f"{seeds} fresh seed{'' if seeds == 1 else 's'}",
    ]
    rows = {row["name"]: row for row in document["results"]}
    lines = [_rank_line(document, rows[name], orders) for name in decisions[0]["order"]]
    lines.sort(key=lambda line: (-len(line.ranks), line.ranks[-1]))
    return RankChart(steps=tuple(steps), lines=tuple(lines))


def family_members(document: Row) -> list[Member]:
    """The winner's family by φ."""
    return [
        Member(
            phi=row["phi"],
            macs_ratio=row["macs_ratio"],
            target_ratio=row["target_ratio"],
            params=row["params"],
            resolution=row["resolution"],
        )
        for row in document.get("family") or []
    ]


def dodges(places: Sequence[tuple[float, float]], *, apart: float) -> list[float]:
    """How far to move each mark to the right so that no two are nearer than `apart` both ways."""
    shifted: list[tuple[float, float]] = []
    shifts = [0.0] * len(places)
    for index in sorted(range(len(places)), key=lambda i: places[i][0]):
        x, y = places[index]
        for other_x, other_y in sorted(shifted):
            if abs(y - other_y) < apart and abs(x - other_x) < apart:
                x = other_x + apart
        shifted.append((x, y))
        shifts[index] = x - places[index][0]
    return shifts


def point(row: Row) -> str:
    """A network by its coefficients."""
    return "  ".join(
        f"{symbol} {coefficient(row[axis])}"
        for symbol, axis in (("α", "alpha"), ("β", "beta"), ("γ", "gamma"))
    )


def _finalists(document: Row) -> list[dict[str, Any]]:
    return [row for row in document["results"] if row["finalist"]]


def _kind(document: Row, row: Row) -> Kind:
    if row["name"] == document["winner"]["name"]:
        return "winner"
    if row["name"] in {tie["name"] for tie in document["ties"]}:
        return "tie"
    return "finalist" if row["finalist"] else "dropped"


def _dot(row: Row, tag: str, label: str, kind: Kind) -> Dot:
    low, high = row["interval"]
    return Dot(
        tag=tag,
        label=label,
        kind=kind,
        macs=row["macs"],
        mean=row["mean"],
        interval=(low, high),
    )


def _rank_line(document: Row, row: Row, orders: Sequence[Sequence[str]]) -> RankLine:
    return RankLine(
        label=point(row), kind=_kind(document, row), ranks=tuple(_ranks(row["name"], orders))
    )


def _ranks(name: str, orders: Sequence[Sequence[str]]) -> Iterator[int]:
    """The places up to the step at which the candidate is missing."""
    for order in orders:
        if name not in order:
            return
        yield order.index(name) + 1
