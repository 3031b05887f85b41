"""What the search for α, β, γ can be told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestrator.config.checks import check_count, check_decimal, check_short, refuse_elsewhere
from orchestrator.config.common import CommonConfig
from search_spaces.budget import parse_budget, parse_count
from trainer.config import require

_COSTLIEST = 10**18
_LESS = re.compile(r"0+(\.\d*)?[x×]", re.IGNORECASE)
DECIDED = {
    "model.family": "baseline",
    "model.stem_channels": "baseline",
    "model.stem_stride": "baseline",
    "model.stages": "baseline",
    "model.head_channels": "baseline",
    "model.resolution": "resolution",
}
"""Keys of the training overlay that the baseline decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchScalingConfig(CommonConfig):
    """The search for α, β, γ under a budget."""

    families: ClassVar[tuple[str, ...]] = ("efficientnet",)

    flops_budget: str = "2x"
    """Multiple of the baseline's multiply-adds (`2x`), or a number of them (`800M`)."""
    constraint: Literal["counted", "formula"] = "counted"
    """What the budget limits: the built network's multiply-adds, or αβ²γ²."""
    tolerance: str = "0.1"
    """Allowed distance from the budget, in units of the ratio, ends included; an exact decimal."""
    grid_step: str = "0.05"
    grid_max: str = "2"
    """Last value of each axis; the first is 1."""
    max_params: str | None = None
    """The most parameters a candidate may have, such as `10M`."""
    baseline: str | None = None
    """None means the one that suits the data set's images."""
    baseline_width: str | None = None
    """Multiplier of the baseline's own channels, before α, β, γ; None means what suits the set."""
    resolution: int | None = None
    """The baseline's side in pixels; None means what suits the data set."""
    tune_recipe: int = 0
    """Trials that tune the recipe on the baseline before the search; 0 keeps the default recipe."""
    finalists: int | None = None
    """Candidates that are trained again with fresh seeds; None means what suits their number."""
    halving: bool = True
    """Drop the weaker candidates part of the way."""

    def __post_init__(self) -> None:
        CommonConfig.__post_init__(self)  # super() does not find its class under slots=True
        _check_budget(self.flops_budget)
        check_decimal("tolerance", self.tolerance, least=0, most=1000)
        check_decimal("grid_step", self.grid_step, least=0, most=100)
        check_decimal("grid_max", self.grid_max, least=1, most=100)
        if self.max_params is not None:
            check_short("max_params", self.max_params)
            parse_count(self.max_params, path="max_params")
        for name, least in (("resolution", 1), ("finalists", 1)):
            check_count(name, getattr(self, name), least=least)
        check_count("tune_recipe", self.tune_recipe, least=0)
        if self.baseline_width is not None:
            check_decimal("baseline_width", self.baseline_width, least=0, most=100)
        refuse_elsewhere(self.train, DECIDED)


def _check_budget(text: str) -> None:
    """The spelling now; its size as soon as the baseline is known."""
    check_short("flops_budget", text)
    require(
        not _LESS.fullmatch(text.strip()),
        f"flops_budget: '{text}' is less than the baseline costs; give at least 1x",
    )
    require(
        parse_budget(text, baseline_macs=1) <= _COSTLIEST,
        f"flops_budget: '{text}' is more than any network costs",
    )
