"""A policy search as aligned plain text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.reporting.formats import counted, duration, percent
from orchestrator.reporting.policy_tables import policy_lines
from orchestrator.reporting.tables import (
    Columns,
    Row,
    cell,
    interval_text,
    next_lines,
    planned_lines,
    titled,
)

ARMS: Columns = {
    "trained with": cell("name"),
    "epochs": cell("epochs"),
    "seeds": cell("seeds", lambda seeds: str(len(seeds))),
    "top-1": cell("mean", percent),
    "95 % interval": cell("interval", interval_text),
    "error": cell("error"),
}
DIFFERENCES: Columns = {
    "less": cell("second"),
    "points": cell("mean", lambda value: f"{100 * value:+.2f}"),
    "95 % interval": cell(
        "interval", lambda bounds: f"{100 * bounds[0]:+.2f} to {100 * bounds[1]:+.2f}"
    ),
    "p": cell("p_value", lambda value: f"{value:.3f}"),
    "seeds": cell("num_seeds"),
}
SPENT: Columns = {
    "part": cell("phase"),
    "trials": cell("trials", lambda number: f"{number:,}"),
    "epochs": cell("epochs", lambda number: f"{number:,}"),
    "training time": cell("training_hours", lambda hours: duration(3600 * hours)),
    "GPU hours": cell("gpu_hours", lambda hours: f"{hours:.2f}"),
}
CHILDREN: Columns = {
    "trial": cell("key"),
    "what": cell("name"),
    "epochs": cell("epochs"),
    "top-1": cell("top1", percent),
}


def augment_lines(document: Row) -> Iterator[str]:
    """A policy search: the plan, or once it has ended the verdict."""
    yield from _asked(document)
    if "arms" not in document:
        yield from planned_lines(document)
        return
    if document["policy"] is not None:
        yield ""
        yield from policy_lines(document["policy"])
    yield from titled("trained anew, top-1 on the reporting split", ARMS, document["arms"])
    yield from titled(
        f"{document['method']} less each of the others", DIFFERENCES, document["differences"]
    )
    yield from titled("spent", SPENT, document["spent"])
    yield ""
    for warning in document["warnings"]:
        yield f"warning    {warning}"
    yield f"verdict    {document['verdict']['sentence']}"


def policy_next_lines(run_dir: Path | None, document: Row) -> Iterator[str]:
    """What to type after a search that left a run directory; nothing after a dry run."""
    yield from next_lines(run_dir)
    if run_dir is not None and document["policy"] is not None:
        near = run_dir.relative_to(Path.cwd()) if run_dir.is_relative_to(Path.cwd()) else run_dir
        file = near / "search-augment" / "policy.json"
        yield f"use it     --policy {file}"
        if _is_known_elsewhere(document["policy"]):
            convert = f"orchestrator policy convert {file}"
            yield f"elsewhere  {convert} --to torchvision --output policy.py"


def _is_known_elsewhere(policy: Row) -> bool:
    """Whether torchvision can do it: it knows no epochs and lacks two operations."""
    groups = policy.get("sub_policies") or [{"operations": policy.get("operations", [])}]
    names = {operation["name"] for group in groups for operation in group["operations"]}
    return policy["kind"] != "schedule" and not names & {"sample-pairing", "solarize-add"}


def _asked(document: Row) -> Iterator[str]:
    child, budget, evidence = document["child"], document["budget"], document["evidence"]
    tried = f", {counted(budget['trials'], 'trial')}" if budget["trials"] else ""
    yield f"method     {document['method']}{tried}"
    yield (
        f"child      {child['family']}, {child['resolution']} px: {child['params']:,} parameters, "
        f"{child['macs']:,} multiply-adds; {counted(child['epochs'], 'epoch')} on "
        f"{counted(evidence['train_images'], 'image')}"
    )
    yield (
        f"judged on  {counted(evidence['num_images'], 'image')} of the selection split; the "
        f"verdict trains on {evidence['all_train_images']:,} and reports on "
        f"{evidence['reporting_images']:,} others"
    )
