from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.factories import timeless, tiny_model, tiny_run, tiny_teacher
from trainer.augment.policy import Operation, Policy, SubPolicy
from trainer.config import AugmentConfig, ExecutionConfig, MixConfig, TrainConfig
from trainer.data.batches import Batch
from trainer.data.splits import ChannelStatistics, Splits
from trainer.distillation import Teacher, may_be_kept, resized, taught
from trainer.errors import ConfigError
from trainer.feeding import Feed
from trainer.fit import Beat, fit
from trainer.models.build import build
from trainer.state import TrainingState

CPU = torch.device("cpu")
STILL = AugmentConfig(crop="none", flip=False)
FLIPPED = AugmentConfig(crop="none", flip=True)


def teacher_of(config: TrainConfig) -> Teacher:
    assert config.distillation is not None
    weights = tiny_teacher()[1]
    return Teacher(config.distillation, weights, execution=config.execution, device=CPU)


def fed(config: TrainConfig, splits: Splits, *, epoch: int = 1) -> Iterator[Batch]:
    """An epoch, with the teacher asked in advance where that is done."""
    feed = Feed(config, splits.train, device=CPU, teacher=teacher_of(config))
    list(feed.prepare())
    return feed.batches(epoch)


def taught_run(**changes: Any) -> TrainConfig:
    return tiny_run(distillation=tiny_teacher()[0], **changes)


class Looks:
    """What a teacher was shown."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images: list[Tensor] = []
        asked = Teacher.logits

        def logits(teacher: Teacher, images: Tensor) -> Tensor:
            self.images.append(images.clone())
            return asked(teacher, images)

        monkeypatch.setattr(Teacher, "logits", logits)


def test_a_teacher_answers_as_in_evaluation_and_without_a_way_back() -> None:
    config, weights = tiny_teacher()
    teacher = Teacher(config, weights, execution=ExecutionConfig(), device=CPU)
    network = build(config.model)
    network.load_state_dict(dict(weights))
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    answers = teacher.logits(images)
    assert torch.equal(answers, teacher.logits(images))  # no dropout
    with torch.no_grad():
        torch.testing.assert_close(answers, network.eval()(images))
    assert not answers.requires_grad
    assert not answers.is_inference()  # those a loss could not keep for its own way back
    assert answers.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


UNDIVIDED = ChannelStatistics(mean=(0.5, 0.4, 0.5), std=(1 / 255,) * 3)


SAME_MEAN = ChannelStatistics(mean=(0.1, 0.2, 0.3), std=(1 / 255,) * 3)
SAME_STD = ChannelStatistics(mean=(0.5, 0.4, 0.5), std=(0.3, 0.2, 0.1))


@pytest.mark.parametrize(
    "seen",
    [None, UNDIVIDED, SAME_MEAN, SAME_STD],
    ids=["own statistics", "a paper's", "its mean", "its deviation"],
)
def test_a_teacher_sees_images_as_it_was_trained_on_them(
    splits: Splits, seen: ChannelStatistics | None
) -> None:
    seen = seen or splits.train.statistics
    config, weights = tiny_teacher()
    config = config.with_(mean=(0.1, 0.2, 0.3), std=(0.3, 0.2, 0.1))
    own = ChannelStatistics(mean=config.mean, std=config.std)

    def answers(statistics: ChannelStatistics, told: ChannelStatistics | None) -> Tensor:
        subset = replace(splits.train, statistics=statistics)
        batch = next(Feed(tiny_run(mix=MixConfig()), subset, device=CPU).batches(1))
        teacher = Teacher(config, weights, execution=ExecutionConfig(), device=CPU, seen=told)
        return teacher.logits(batch.images)

    torch.testing.assert_close(answers(seen, seen), answers(own, None), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(answers(seen, None), answers(own, None), atol=0.1)


def test_a_run_shows_its_teacher_what_that_was_trained_on(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    built = Teacher.__init__

    def noted(teacher: Teacher, *arguments: Any, **named: Any) -> None:
        made.append(named["seen"])
        built(teacher, *arguments, **named)

    monkeypatch.setattr(Teacher, "__init__", noted)
    list(fit(taught_run(epochs=1), splits, teacher=tiny_teacher()[1]))
    assert made == [splits.train.statistics]


def test_a_teacher_computes_as_its_student_does() -> None:
    config, weights = tiny_teacher()
    teacher = Teacher(config, weights, execution=ExecutionConfig(precision="bf16"), device=CPU)
    seen: list[torch.dtype] = []
    stem = teacher.network.get_submodule("features.0.0")
    stem.register_forward_hook(lambda _module, _inputs, maps: seen.append(maps.dtype))
    assert teacher.logits(torch.randn(2, 3, 16, 16)).dtype == torch.float32
    assert seen == [torch.bfloat16]


def test_building_a_teacher_draws_nothing() -> None:
    before = torch.random.get_rng_state()
    teacher_of(taught_run())
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("augment", [FLIPPED, AugmentConfig()], ids=["kept", "asked anew"])
def test_training_leaves_the_teacher_as_it_was_to_the_last_bit(
    augment: AugmentConfig, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, weights = taught_run(augment=augment), tiny_teacher()[1]
    given = {name: tensor.clone() for name, tensor in weights.items()}
    made: list[Teacher] = []
    load = Teacher.__init__

    def init(self: Teacher, *args: Any, **options: Any) -> None:
        load(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(Teacher, "__init__", init)
    list(fit(config, splits, teacher=given))
    (teacher,) = made
    for name, tensor in teacher.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
        assert torch.equal(given[name], weights[name]), name
    assert not teacher.network.training


def test_a_teacher_of_another_resolution_sees_the_images_at_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, weights = tiny_teacher(model={"resolution": 24})
    teacher = Teacher(config, weights, execution=ExecutionConfig(), device=CPU)
    seen: list[tuple[int, ...]] = []
    teacher.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    images = torch.randn(2, 3, 16, 16)
    answers = teacher.logits(images)
    assert seen == [(2, 3, 24, 24)]
    torch.testing.assert_close(answers, teacher.logits(resized(images, 24)))


def test_resizing_keeps_the_mean_of_an_image() -> None:
    images = torch.rand(2, 3, 32, 32)
    small = resized(images, 16)
    torch.testing.assert_close(small.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=5e-3, rtol=0)
    halves = resized(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]), 4)
    assert halves[0, 0, 0].tolist() == [0.0, 0.25, 0.75, 1.0]  # bilinear, not the nearest


def test_every_pixel_of_an_image_that_shrinks_counts() -> None:
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., ::4] = 1.0
    inside = resized(stripes, 8)[..., 1:-1]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.25), atol=0.05, rtol=0)


@pytest.mark.parametrize("mix", [None, MixConfig(alpha=1.0), MixConfig(draw="sample", alpha=1.0)])
def test_the_teacher_sees_what_the_student_sees(
    mix: MixConfig | None, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = taught_run(mix=mix, accumulate=1)
    looks = Looks(monkeypatch)
    batches = list(fed(config, splits))
    shown = list(looks.images)
    for seen, batch in zip(shown, batches, strict=True):
        assert torch.equal(seen, batch.images)
        assert batch.teacher is not None
        assert torch.equal(teacher_of(config).logits(batch.images), batch.teacher)


def test_a_teacher_is_asked_in_parts_that_fit_the_memory(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    batch = next(fed(taught_run(accumulate=4), splits))
    assert [len(images) for images in looks.images] == [4, 4, 4, 4]
    assert torch.equal(torch.cat(looks.images), batch.images)


def test_a_step_gives_each_part_of_a_batch_its_own_answers() -> None:
    """A student in evaluation mode: the loss of the parts is that of the whole."""
    losses = []
    for parts in (1, 2, 16):
        config = taught_run(accumulate=parts, ema_decay=0.0)
        state = TrainingState(config, device=CPU)
        state.model.eval()
        images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        batch = Batch(images=images, labels=torch.arange(16) % 10)
        losses.append(state.step(taught(batch, teacher_of(config)), lr=0.1).item())
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


@pytest.mark.parametrize("augment", [STILL, FLIPPED], ids=["still", "mirrored"])
def test_answers_that_were_kept_are_those_to_the_images_at_hand(
    augment: AugmentConfig, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = taught_run(augment=augment)
    for epoch in (1, 3):
        kept = list(fed(config, splits, epoch=epoch))
        with monkeypatch.context() as patch:
            patch.setattr("trainer.distillation.MOST_KEPT", 0)
            asked = list(fed(config, splits, epoch=epoch))
        for one, other in zip(kept, asked, strict=True):
            assert torch.equal(one.images, other.images)
            torch.testing.assert_close(one.teacher, other.teacher)
            spread = one.teacher.std(dim=0).min()  # type: ignore[union-attr]
            assert spread > 1e-3  # else the comparison would say nothing


def test_a_mirrored_image_has_an_answer_of_its_own(splits: Splits) -> None:
    config = taught_run(augment=FLIPPED)
    batches = list(fed(config, splits))
    assert {bool(m) for batch in batches for m in batch.mirrored} == {False, True}  # type: ignore[union-attr]
    teacher = teacher_of(config)
    for batch in batches:
        turned = teacher.logits(batch.images.flip(3))
        assert not torch.allclose(turned, batch.teacher, atol=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("augment", "ways"), [(STILL, 1), (FLIPPED, 2)])
def test_kept_answers_are_asked_for_once(
    augment: AugmentConfig, ways: int, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    list(fit(taught_run(augment=augment), splits, teacher=tiny_teacher()[1]))
    assert sum(map(len, looks.images)) == ways * len(splits.train)


TURNED = Policy(
    name="turned",
    sub_policies=(SubPolicy(operations=(Operation(name="rotate", magnitude=10),)),),
)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"augment": STILL}, True),
        ({"augment": FLIPPED}, True),
        ({"augment": FLIPPED, "epochs": 1}, False),  # two looks in advance to save one
        ({"augment": STILL, "epochs": 1}, True),
        ({"augment": STILL.with_(crop="pad")}, False),
        ({"augment": STILL.with_(crop="random-resized")}, False),
        ({"augment": STILL.with_(policy=TURNED)}, False),
        ({"augment": STILL, "mix": MixConfig()}, False),
    ],
)
def test_answers_are_kept_where_an_image_always_looks_the_same(
    changes: dict[str, Any], kept: bool
) -> None:
    assert may_be_kept(taught_run(**changes), num_images=48) is kept


def test_answers_that_would_fill_the_memory_are_not_kept() -> None:
    config = taught_run(augment=STILL)
    assert may_be_kept(config, num_images=2**30 // 40)
    assert not may_be_kept(config, num_images=2**30 // 40 + 1)
    assert not may_be_kept(taught_run(augment=FLIPPED), num_images=2**30 // 40)


def test_a_student_sees_the_same_images_with_and_without_a_teacher(splits: Splits) -> None:
    with_teacher = fed(taught_run(), splits)
    without = Feed(tiny_run(), splits.train, device=CPU).batches(1)
    for one, other in zip(with_teacher, without, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert other.teacher is None


def test_signs_of_life_come_while_the_teacher_is_asked(splits: Splits) -> None:
    config = taught_run(augment=FLIPPED, epochs=2)
    items = list(fit(config, splits, teacher=tiny_teacher()[1], beat_seconds=0))
    before = [i for i in items if isinstance(i, Beat) and i.step == 0]
    assert [beat.epoch for beat in before] == [1] * (2 * len(splits.train) // 8)
    assert all(beat.images_per_second > 0 for beat in before)


def test_a_stop_is_heeded_while_the_teacher_is_asked(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    config = taught_run(augment=FLIPPED)
    answers = iter([False, False, True])
    stopped = fit(
        config, splits, teacher=tiny_teacher()[1], should_stop=lambda: next(answers, True)
    )
    assert list(stopped) == []
    assert len(looks.images) == 2


def test_a_finished_run_does_not_ask_its_teacher(
    splits: Splits, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.checkpoint import Checkpointing

    files = Checkpointing(directory=tmp_path)
    config, weights = taught_run(augment=STILL, epochs=1), tiny_teacher()[1]
    whole = timeless(fit(config, splits, checkpoint=files, teacher=weights))
    looks = Looks(monkeypatch)
    assert timeless(fit(config, splits, checkpoint=files, teacher=weights)) == whole
    assert looks.images == []


def test_a_teacher_that_was_named_but_not_given_is_refused(splits: Splits) -> None:
    with pytest.raises(ConfigError, match="distillation: the teacher's weights were not given"):
        fit(taught_run(), splits)


def test_a_teacher_that_does_not_fit_its_configuration_is_refused(splits: Splits) -> None:
    config, weights = tiny_teacher()
    wide = replace(config, model=config.model.with_(head_channels=40))
    with pytest.raises(ConfigError, match=r"^distillation: the teacher's weights: .* instead of"):
        list(fit(tiny_run(distillation=wide), splits, teacher=weights))


def test_a_teacher_whose_tensors_know_other_classes_is_refused(splits: Splits) -> None:
    weights = tiny_teacher(model={"num_classes": 12})[1]
    with pytest.raises(ConfigError, match=r"^distillation: .* is \(12, 24\) instead of \(10, 24\)"):
        list(fit(taught_run(), splits, teacher=weights))


def test_a_teacher_of_other_classes_is_refused() -> None:
    config = tiny_teacher(model={"num_classes": 12})[0]
    with pytest.raises(ConfigError) as caught:
        tiny_run(distillation=config)
    assert str(caught.value) == (
        "distillation.model.num_classes: the teacher must know the student's classes, got 12; "
        "choose a teacher of 10"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, r"distillation\.temperature must be positive, up to 1000, got 0\.0"),
        ({"weight": -1.0}, r"distillation\.weight must be positive, up to 1000, got -1\.0"),
        ({"digest": ""}, r"distillation\.digest: the teacher's weights have no name"),
    ],
)
def test_what_no_teacher_can_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_teacher(**changes)


def test_a_student_comes_to_answer_as_its_teacher_does() -> None:
    config = tiny_run(
        model=tiny_model(head_channels=64, dropout=0.0, stochastic_depth=0.0),
        distillation=tiny_teacher(weight=100.0)[0],  # hardly anything is left to the labels
        ema_decay=0.0,
        accumulate=1,
    )
    state = TrainingState(config, device=CPU)
    images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(16) % 10
    batch = taught(Batch(images=images, labels=labels), teacher_of(config))
    assert batch.teacher is not None
    wanted = batch.teacher.softmax(dim=1)
    apart = []
    for _ in range(40):
        with torch.no_grad():
            apart.append((state.model(images).softmax(dim=1) - wanted).abs().mean().item())
        state.step(batch, lr=0.002)
    assert apart[-1] < 0.5 * apart[0]
