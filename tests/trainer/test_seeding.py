from collections.abc import Generator

import pytest
import torch

from trainer.seeding import isolated, seed_everything


def draws(seed: int, *, count: int = 3) -> Generator[float, None, None]:
    seed_everything(seed)
    for _ in range(count):
        yield torch.rand(()).item()


def own(seed: int) -> Generator[float, None, None]:
    return isolated(draws(seed), threads=1, device=torch.device("cpu"))


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    def first(seed: int, epoch: int) -> float:
        seed_everything(seed, epoch=epoch)
        return torch.rand(()).item()

    pairs = [(0, 0), (0, 1), (1, 0), (-1, 1)]
    values = [first(*pair) for pair in pairs]
    assert len(set(values)) == 4
    assert [first(*pair) for pair in pairs] == values


def test_two_runs_that_take_turns_draw_as_if_each_were_alone() -> None:
    alone = [list(own(seed)) for seed in (1, 2)]
    together = list(zip(own(1), own(2), strict=True))
    assert [list(values) for values in zip(*together, strict=True)] == alone


def test_the_callers_draws_are_left_alone() -> None:
    torch.manual_seed(7)
    undisturbed = [torch.rand(()).item() for _ in range(3)]
    torch.manual_seed(7)
    assert [torch.rand(()).item() for _ in own(1)] == undisturbed


def test_threads_are_set_while_computing_and_given_back_in_between() -> None:
    def threads() -> Generator[int, None, None]:
        yield torch.get_num_threads()
        yield torch.get_num_threads()

    before = torch.get_num_threads()
    for inside in isolated(threads(), threads=before + 1, device=torch.device("cpu")):
        assert inside == before + 1
        assert torch.get_num_threads() == before


def test_closing_the_isolated_items_closes_the_inner_ones() -> None:
    closed = []

    def items() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            closed.append(True)

    outer = isolated(items(), threads=1, device=torch.device("cpu"))
    next(outer)
    outer.close()
    assert closed == [True]


def test_an_error_inside_still_gives_the_process_back() -> None:
    def items() -> Generator[int, None, None]:
        seed_everything(5)
        raise RuntimeError("inside")
        yield 1

    torch.manual_seed(3)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="inside"):
        next(isolated(items(), threads=2, device=torch.device("cpu")))
    assert torch.equal(torch.get_rng_state(), before)
