"""`python -m tests.integration.faults [NAME …]`: run the faults, print a Markdown table."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.integration.faults.evidence import Outcome, Whole
from tests.integration.faults.faults import FAULTS
from tests.integration.faults.on_the_disk import CannotMount
from tests.integration.faults.runs import Place
from trainer.errors import unknown_value

COLUMNS = (
    "fault",
    "what was done",
    "what happened",
    "lost / repeated",
    "tables equal",
    "orphans after 5 s",
    "verdict",
)


def main(names: Sequence[str]) -> int:
    """Run them; 0 if all hold."""
    for name in names:
        if name not in FAULTS:
            raise unknown_value("fault", name, FAULTS)
    print(_row(COLUMNS), _row(["---"] * len(COLUMNS)), sep="\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        whole = Whole.in_place(_new_place(Path(folder), "whole"))
        verdicts = [_run(name, Path(folder), whole) for name in names or FAULTS]
    return 0 if all(verdicts) else 1


def _run(name: str, folder: Path, whole: Whole) -> bool:
    try:
        outcome = FAULTS[name](_new_place(folder, name), whole)
    except CannotMount as error:
        print(_row([name, "", f"left out: {error}", "", "", "", "—"]), flush=True)
        return True
    except AssertionError as error:  # it did not come to the fault
        print(_row([name, "", str(error), "", "", "", "**fails**"]), flush=True)
        return False
    print(_row(_cells(outcome)), flush=True)
    return outcome.holds


def _new_place(folder: Path, name: str) -> Place:
    place = Place(folder / name)
    place.root.mkdir()
    return place


def _cells(outcome: Outcome) -> list[str]:
    return [
        outcome.fault,
        outcome.done,
        outcome.happened,
        f"{outcome.lost} / {outcome.repeated}",
        "yes" if outcome.equal else "no",
        ", ".join(outcome.orphans) or "0",
        "holds" if outcome.holds else "**fails**",
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
