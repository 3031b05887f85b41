"""A model in a folder sees what the trainer's own evaluation saw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainer.factories import tiny_model, tiny_run
from tests.trainer.portable.factories import a_model
from trainer.checkpoint import Checkpointing, load_model
from trainer.config import EpochReport
from trainer.data.batches import evaluation_batches
from trainer.data.images import read_image
from trainer.data.splits import Splits
from trainer.evaluate import predict
from trainer.fit import fit
from trainer.models.build import build
from trainer.portable import inference
from trainer.portable.files import read_model, write_model
from trainer.portable.inference import logits
from trainer.portable.making import portable

CPU = torch.device("cpu")


def test_pictures_in_files_are_answered_as_in_evaluation(splits: Splits, tmp_path: Path) -> None:
    config, files = tiny_run(epochs=1), Checkpointing(directory=tmp_path / "trial")
    (report,) = fit(config, splits, checkpoint=files)
    assert isinstance(report, EpochReport)
    network = build(config.model).eval()
    network.load_state_dict(dict(load_model(files.best).weights))
    write_model(
        tmp_path / "model",
        portable(network, config, splits.train, name="tiny", scores={}, origin={}),
    )
    paths = []
    for index in splits.selection.indices.tolist():
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(splits.selection.decoded.images[index]).save(paths[-1])

    found = read_model(tmp_path / "model")
    answers = logits(found.network(), found.recipe, map(read_image, paths), device=CPU)
    batches = evaluation_batches(splits.selection, resolution=16, batch_size=32, device="cpu")
    expected = torch.cat([predict(network, batch.images) for batch in batches])
    assert torch.equal(answers.argmax(dim=1), expected.argmax(dim=1))
    assert torch.allclose(answers, expected, rtol=0, atol=1e-5)
    right = answers.argmax(dim=1).numpy() == splits.selection.labels
    assert np.packbits(right).tobytes().hex() == report.correct


def test_no_answer_depends_on_the_pictures_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model(tiny_model(resolution=32))
    rng = np.random.default_rng(0)
    sizes = [(8, 8), (40, 30), (30, 40), (200, 100), (32, 32)]
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    network = model.network()
    together = logits(network, model.recipe, pictures, device=CPU)
    monkeypatch.setattr(inference, "LARGEST_BATCH", 2)
    assert torch.allclose(logits(network, model.recipe, pictures, device=CPU), together, atol=1e-6)
    for picture, answer in zip(pictures, together, strict=True):
        alone = logits(network, model.recipe, [picture], device=CPU)
        assert torch.allclose(alone[0], answer, atol=1e-6)


def test_no_pictures_have_no_answers() -> None:
    model = a_model()
    assert logits(model.network(), model.recipe, [], device=CPU).shape == (0, 10)
