import pytest

from orchestrator.errors import UsageError
from orchestrator.loading import decode, overlay
from trainer.config import TrainConfig
from trainer.models.resnets import named_resnet

ASSEMBLED = TrainConfig(model=named_resnet("assemble-resnet-50-small", num_classes=10))


def test_a_run_with_a_resnet_survives_json() -> None:
    assert decode(TrainConfig, ASSEMBLED.to_json()) == ASSEMBLED


def test_single_parts_of_a_trick_can_be_set_as_text() -> None:
    changed = overlay(ASSEMBLED, {"model": {"drop_block": {"keep_prob": "0.8"}, "blur_size": "5"}})
    assert changed.model.drop_block.keep_prob == 0.8
    assert (changed.model.blur_size, changed.model.drop_block.block_size) == (5, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stem": "smal"}, r"^model\.stem: unknown value 'smal'; choose .* Did you mean 'small'"),
        ({"drop_block": {"keep": 1}}, r"^model\.drop_block\.keep: unknown key; choose from keep_"),
        ({"resolution": 33}, r"^model\.resolution must be a multiple of 8 .* got 33; try 32 or 40"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_path(changes: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        overlay(ASSEMBLED, {"model": changes})
