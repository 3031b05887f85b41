"""The commands around augmentation policies: parse, call one function, print."""

from __future__ import annotations

import click

from orchestrator.cli.groups import Commands

SIDE = click.option(
    "--side",
    metavar="PX",
    type=click.IntRange(1, 65535),
    default=224,
    show_default=True,
    help="Side of the training images; trivialaugment translates by pixels.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group(cls=Commands)
def policy() -> None:
    """Look at augmentation policies, and give them to other tools."""


@policy.command("list")
@JSON
def list_presets(*, as_json: bool) -> None:
    """Name the published policies."""
    from orchestrator import api
    from orchestrator.reporting.policy_tables import preset_lines
    from orchestrator.reporting.screen import show as print_lines
    from orchestrator.reporting.screen import show_json

    presets = api.policy_list()
    if as_json:
        show_json(presets)
    else:
        print_lines(preset_lines(presets))


@policy.command()
@click.argument("name", metavar="FILE|PRESET")
@SIDE
@click.option("--picture", metavar="FILE.png", help="Draw what it does to some images, too.")
@click.option("--dataset", metavar="NAME|DIR", help="Whose training images. [default: digits]")
@click.option("--images", metavar="N", type=int, help="How many of them. [default: 2]")
@click.option("--download", is_flag=True, help="Fetch a known data set that is not there.")
@JSON
def show(
    *,
    name: str,
    side: int,
    picture: str | None,
    dataset: str | None,
    images: int | None,
    download: bool,
    as_json: bool,
) -> None:
    """Say what a policy does, a sub-policy or an operation a line."""
    from orchestrator import api
    from orchestrator.reporting.policy_tables import policy_lines
    from orchestrator.reporting.screen import show as print_lines
    from orchestrator.reporting.screen import show_json

    document = api.policy_show(
        name, side=side, picture=picture, dataset=dataset, images=images, download=download
    )
    if as_json:
        show_json(document)
    else:
        drawn = [] if picture is None else ["", f"picture    {picture}"]
        print_lines((*policy_lines(document), *drawn))


@policy.command()
@click.argument("name", metavar="FILE|PRESET")
@click.option(
    "--to",
    metavar="torchvision|timm|json",
    required=True,
    help="A Python file for either library, or a policy file to begin with.",
)
@click.option("--output", metavar="FILE", required=True, help="A file that does not exist yet.")
@SIDE
@JSON
def convert(*, name: str, to: str, output: str, side: int, as_json: bool) -> None:
    """Write a policy for other training code.

    The file needs nothing of this project.
    """
    from orchestrator import api
    from orchestrator.reporting.screen import show as print_lines
    from orchestrator.reporting.screen import show_json

    path = str(api.policy_convert(name, to=to, output=output, side=side))
    if as_json:
        show_json({"output": path, "to": to})
    else:
        print_lines((path,))
