import pytest
import torch

from tests.trainer.fixres.factories import FAMILIES, network, source
from trainer.data.batches import Batch, evaluation_batches
from trainer.data.splits import Splits
from trainer.fixres.anatomy import dissect, run
from trainer.fixres.estimation import Moments, estimate_statistics, fit_map
from trainer.fixres.parametric import with_pooled_map


def _images(splits: Splits, resolution: int, batch_size: int = 16) -> list[Batch]:
    batches = evaluation_batches(
        splits.train,
        resolution=resolution,
        batch_size=batch_size,
        device="cpu",
        crop_fraction=0.875,
    )
    return list(batches)


def test_moments_in_parts_are_those_of_the_whole() -> None:
    values = 100 + torch.randn(30, 4, 5, 5)
    moments = Moments(over=(0, 2, 3))
    for part in values.split(7):
        moments.add(part)
    exact = values.double()
    assert torch.allclose(moments.mean(), exact.mean(dim=(0, 2, 3)))
    assert torch.allclose(moments.variance(), exact.var(dim=(0, 2, 3), correction=0))
    assert torch.allclose(moments.variance(correction=1), exact.var(dim=(0, 2, 3)))


def test_nothing_to_estimate_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no batch"):
        Moments(over=(0,)).mean()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_size", [5, 48])
def test_the_statistics_are_those_of_the_inputs_however_batched(
    splits: Splits, family: str, batch_size: int
) -> None:
    config = source(family)
    model = network(config, splits)
    anatomy = dissect(model)
    assert anatomy.norm is not None
    norm, seen = anatomy.norm.module, list[torch.Tensor]()
    hook = norm.register_forward_pre_hook(lambda _, values: seen.append(values[0].double()))
    with torch.no_grad():
        model(torch.cat([batch.images for batch in _images(splits, 24)]))
    hook.remove()
    (inputs,) = seen
    batches = _images(splits, 24, batch_size)
    done = list(estimate_statistics(model, batches, execution=config.execution))
    assert done[-1] == len(splits.train)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean.double(), inputs.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var.double(), inputs.var(dim=(0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_pooled_values_get_the_moments_that_they_had_in_training(
    splits: Splits, family: str
) -> None:
    config = source(family)
    model = network(config, splits)
    added = with_pooled_map(model)
    fitting = fit_map(
        model,
        added,
        lambda resolution: _images(splits, resolution),
        train_resolution=16,
        test_resolution=24,
        execution=config.execution,
    )
    list(fitting)
    anatomy = dissect(model)

    def pooled(resolution: int, links: int) -> torch.Tensor:
        images = torch.cat([batch.images for batch in _images(splits, resolution)])
        with torch.no_grad():
            return run(anatomy.links[: anatomy.pool + links], images).double()

    before, after = pooled(16, 1), pooled(24, 2)
    assert not torch.allclose(pooled(24, 1).mean(), before.mean(), rtol=1e-3)
    assert torch.allclose(after.mean(), before.mean(), rtol=1e-4)
    assert torch.allclose(after.std(), before.std(), rtol=1e-4)
