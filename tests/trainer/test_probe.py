import pytest

from tests.trainer.factories import tiny_run, tiny_teacher
from trainer.config import AugmentConfig
from trainer.distillation import Teacher
from trainer.models.children import child
from trainer.probe import probed_images, training_speed


@pytest.mark.parametrize(
    ("name", "resolution", "images"),
    [
        ("efficientnet-b0-small", 32, 128),
        ("wrn-40-2", 32, 128),
        ("efficientnet-b0", 224, 8),  # large images
        ("wrn-28-10", 32, 19),  # a costly network
        ("wrn-28-10", 224, 2),
    ],
)
def test_a_probed_batch_is_smaller_where_a_step_would_take_long(
    name: str, resolution: int, images: int
) -> None:
    model = child(name, num_classes=10, resolution=resolution)
    assert probed_images(tiny_run(model=model, batch_size=128)) == images


def test_a_speed_is_measured() -> None:
    assert training_speed(tiny_run(), seconds=0.0) > 0


@pytest.mark.parametrize(("crop", "always"), [("pad", True), ("none", False)])
def test_a_teacher_that_looks_at_every_batch_takes_its_time(
    crop: str, always: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    asked = Teacher.logits
    monkeypatch.setattr(Teacher, "logits", lambda *a: looks.append(1) or asked(*a))
    config = tiny_run(
        distillation=tiny_teacher()[0],
        augment=AugmentConfig(crop=crop, flip=False),  # type: ignore[arg-type]
    )
    assert training_speed(config, seconds=0.0) > 0
    assert len(looks) == (2 if always else 1)  # a step to warm up, a step that is timed
