"""`orchestrator export` and `predict`: what becomes of runs and models outside."""

from __future__ import annotations

import click


@click.command()
@click.argument("source", metavar="RUN_DIR|MODEL")
@click.option(
    "--to",
    metavar="optuna|csv|onnx|torch-export|torchvision",
    required=True,
    help="Of a run: a study's database, or a table. Of a model: the format.",
)
@click.option("--output", metavar="FILE", required=True, help="A file that does not exist yet.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def export(*, source: str, to: str, output: str, as_json: bool) -> None:
    """Copy the trials of a run, or a trained model, into a file for other tools.

    A model's file is read back, and left only if its logits on random images are the model's. A
    model is a folder with model.safetensors and recipe.json; a run that has left a single one will
    do.
    """
    from orchestrator import api
    from orchestrator.reporting.formats import counted
    from orchestrator.reporting.screen import show, show_json

    found = api.export(source, to=to, output=output)
    if isinstance(found, int):
        document = {"output": output, "to": to, "trials": found}
        lines = [f"{output}: {counted(found, 'trial')}"]
    else:
        document, lines = found.to_json(), found.lines()
    if as_json:
        show_json(document)
    else:
        show(lines)


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Classes shown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def predict(*, model: str, images: tuple[str, ...], top: int, as_json: bool) -> None:
    """Say what MODEL sees in pictures.

    They are prepared as the training images were. An IMAGE may be a folder, whose own image files
    are then meant. Nothing is printed unless all can be read.
    """
    from orchestrator import api
    from orchestrator.models.predicting import prediction_lines
    from orchestrator.reporting.screen import show, show_json

    predictions = api.predict(model, images, top=top)
    if as_json:
        show_json({"model": model, "images": [each.to_json() for each in predictions]})
    else:
        show(prediction_lines(predictions))
