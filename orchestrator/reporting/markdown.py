"""Rows as Markdown, with the columns of the plain-text tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.reporting.tables import Columns, Row

_NUMBERS = frozenset("-0123456789")


def table(columns: Columns, rows: Sequence[Row]) -> list[str]:
    """A table and a blank line, () without rows; a column that says nothing is left out."""
    texts = {header: [cell(row) for row in rows] for header, cell in columns.items()}
    shown = {header: cells for header, cells in texts.items() if any(cells)}
    if not shown:
        return []
    rules = ["--:" if _is_numeric(cells) else ":--" for cells in shown.values()]
    lines = [list(shown), rules, *map(list, zip(*shown.values(), strict=True))]
    return [*(f"| {' | '.join(map(escaped, line))} |" for line in lines), ""]


def figure(title: str, path: str) -> list[str]:
    """An image below the report, with its title for those who do not see it."""
    return [f"![{title}]({path})", ""]


def section(title: str, *parts: Iterable[str]) -> list[str]:
    """A second-level heading and what stands under it; nothing where nothing does."""
    lines = [line for part in parts for line in part]
    return [f"## {title}", "", *lines] if lines else []


def paragraph(text: str) -> list[str]:
    """A paragraph; () for an empty one."""
    return [text, ""] if text else []


def bullets(items: Iterable[str]) -> list[str]:
    """A list with a blank line after it."""
    lines = [f"- {item}" for item in items]
    return [*lines, ""] if lines else []


def code(*lines: str, language: str = "sh") -> list[str]:
    """A block that can be copied as it stands."""
    return [f"```{language}", *lines, "```", ""]


def escaped(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("|", r"\|")


def _is_numeric(cells: Sequence[str]) -> bool:
    return all(not cell or cell[0] in _NUMBERS for cell in cells)
