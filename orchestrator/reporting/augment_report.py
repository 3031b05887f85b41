"""The chapter of a report that a finished policy search fills."""

from __future__ import annotations

from orchestrator.history import History
from orchestrator.reporting.augment_tables import ARMS, CHILDREN, DIFFERENCES, SPENT
from orchestrator.reporting.formats import counted, percent
from orchestrator.reporting.markdown import bullets, code, figure, paragraph, section, table
from orchestrator.reporting.policy_tables import policy_lines
from orchestrator.reporting.tables import Row
from orchestrator.run_dir import RunDir


def augment_chapter(document: Row, history: History, run_dir: RunDir) -> list[str]:
    """Draw the figure and return the chapter that shows it; the picture is the search's own."""
    from orchestrator.reporting.figures.arms import draw_arms  # matplotlib takes most of a second

    draw_arms(document["arms"], document["method"], run_dir.figures / "arms.png")
    drawn = figure("Accuracy of every arm with its 95 % interval", "figures/arms.png")
    return [
        *paragraph(f"**{document['verdict']['sentence']}**"),
        *section("Question", _question(document)),
        *section("Verdict", drawn, table(ARMS, document["arms"]), _about_arms(document)),
        *section(
            f"{document['method']} less the others", table(DIFFERENCES, document["differences"])
        ),
        *section("The policy", *_policy(document, run_dir)),
        *section(
            "The best that were tried", _about_children(), table(CHILDREN, document["children"])
        ),
        *section("Spent", table(SPENT, document["spent"])),
    ]


def _question(document: Row) -> list[str]:
    child, evidence = document["child"], document["evidence"]
    return paragraph(
        "Which augmentation policy makes models of these images more accurate, and is it better "
        "than what could be had without a search?"
    ) + bullets(
        (
            f"method: {document['method']}, {counted(document['budget']['trials'], 'trial')}",
            f"child: {child['family']} at {child['resolution']} px, {child['params']:,} "
            f"parameters, {child['macs']:,} multiply-adds, {counted(child['epochs'], 'epoch')} on "
            f"{counted(evidence['train_images'], 'image')}",
            f"policies are judged on {counted(evidence['num_images'], 'image')} of the selection "
            f"split, where guessing gets {percent(evidence['chance'])}",
            f"the arms are trained anew on {counted(evidence['all_train_images'], 'image')} and "
            f"reported on {evidence['reporting_images']:,} that no search has seen",
        )
    )


def _about_arms(document: Row) -> list[str]:
    said = [f"intervals: 95 %, {document['winner']['method']}"]
    if document["differences"]:
        said.append(f"differences: {document['differences'][0]['method']}, each by itself")
    return bullets(said)


def _policy(document: Row, run_dir: RunDir) -> list[list[str]]:
    if document["policy"] is None:
        return [paragraph("None.")]
    picture = run_dir.figures / "policy.png"
    shown = figure("What each sub-policy does to images of the set", "figures/policy.png")
    return [
        shown if picture.is_file() else [],
        code(*policy_lines(document["policy"]), language="text"),
    ]


def _about_children() -> list[str]:
    return paragraph(
        "By their accuracy in the search: the best of many is flattered, which is why the arms "
        "above are trained with other seeds and judged on other images."
    )
