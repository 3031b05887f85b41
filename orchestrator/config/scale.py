"""What the training of a family can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.config.checks import (
    check_count,
    check_decimal,
    check_short,
    check_text,
    refuse_elsewhere,
    shortened,
)
from orchestrator.config.common import CommonConfig
from orchestrator.config.scaling import DECIDED
from search_spaces.budget import parse_count
from search_spaces.compound_scaling import ScalingCoefficients
from search_spaces.family_tables import parse_modes, parse_phis, parse_published
from trainer.config import require

_LONGEST_LIST = 200
_LARGEST_BASE = 4
"""No axis can be meant to grow faster than this with φ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleConfig(CommonConfig):
    """A family of networks, trained and compared."""

    families: ClassVar[tuple[str, ...]] = ("efficientnet",)

    published: bool = False
    """The published sizes with their rounded factors, resolutions and dropout."""
    members: str | None = None
    """Which of the published sizes, such as `B0,B2`; None means all of them."""
    from_: str | None = None
    """Run directory of a search for α, β, γ: its winner, baseline and data set."""
    coefficients: str | None = None
    """`α,β,γ`, each at least 1."""
    phi: str | None = None
    """`1-7`, `1,2.5`, `1-3,5`; None means 1-7."""
    mode: str = "compound"
    """What grows with φ: `compound`, or `depth`, `width`, `resolution` alone at the compound
    network's cost; several with commas, or `all`."""
    baseline: str | None = None
    """None means the one that suits the data set's images."""
    baseline_width: str | None = None
    """Multiplier of the baseline's own channels, before α, β, γ; None means what suits the set."""
    resolution: int | None = None
    """The baseline's side in pixels; None means what suits the data set."""
    resolution_multiple: int = 1
    """Sides are rounded to the nearest multiple of this; halves go up."""
    weights: str | None = None
    """What training begins from instead of chance: `torchvision:NAME`, `timm:NAME`, either with
    `=FILE`, a model folder or a checkpoint. Alone, the network that they are of is trained."""
    freeze: str = "none"
    """What of the weights stays as it came: `none`, `stem`, `stage-N` (with all before it), or
    `features` (all but the classifier)."""
    register: str | None = None
    """Name in MLflow's registry; of a family, `NAME-B1` and so on."""
    memory_per_trial: str | None = None
    """Bytes that a trial may take, such as `6G`; None means its part of the machine's."""

    def __post_init__(self) -> None:
        CommonConfig.__post_init__(self)  # super() does not find its class under slots=True
        for name in (
            "members",
            "from_",
            "coefficients",
            "phi",
            "mode",
            "baseline",
            "weights",
            "freeze",
            "register",
        ):
            check_text(name, getattr(self, name))
        for name in ("members", "coefficients", "phi", "mode"):
            text = getattr(self, name) or ""
            require(len(text) <= _LONGEST_LIST, f"{name}: '{shortened(text)}' is too long")
        for name in ("resolution", "resolution_multiple"):
            check_count(name, getattr(self, name), least=1)
        self._check_table()
        if self.members is not None:
            parse_published(self.members)
        if self.coefficients is not None:
            _check_coefficients(self.coefficients)
        if self.phi is not None:
            parse_phis(self.phi)
        parse_modes(self.mode)
        if self.baseline_width is not None:
            check_decimal("baseline_width", self.baseline_width, least=0, most=100)
        refuse_elsewhere(self.train, DECIDED)
        _check_judged_on(self.train)
        if self.memory_per_trial is not None:
            check_short("memory_per_trial", self.memory_per_trial)
            parse_count(self.memory_per_trial, path="memory_per_trial")
        self._check_weights()

    def _check_weights(self) -> None:
        require(
            self.weights is not None or self.freeze == "none",
            f"freeze: '{self.freeze}' keeps weights as they came; name them with --weights",
        )
        require(
            self.alone or self.controls == "all",
            "controls: those of a family are the single axes of --mode; this is for --weights",
        )
        if self.alone:
            for name in ("phi", "baseline", "baseline_width"):
                require(
                    getattr(self, name) is None,
                    f"{name}: the network is that of --weights; leave out one of the two, "
                    "or add --coefficients",
                )
            require(
                self.mode == "compound",
                f"mode: '{self.mode}' scales a network, and --weights is trained as it is",
            )

    @property
    def alone(self) -> bool:
        """Whether the network of the weights is trained as it is, and nothing is scaled."""
        scaled = self.published or self.from_ is not None or self.coefficients is not None
        return self.weights is not None and not scaled

    def _check_table(self) -> None:
        """There are two tables, and each has options of its own."""
        others = ("from_", "coefficients", "phi", "baseline", "baseline_width", "resolution")
        if self.published:
            for name in others:
                require(
                    getattr(self, name) is None,
                    f"{name}: the published sizes are as they are; leave out this or --published",
                )
            for name, usual in (("mode", "compound"), ("resolution_multiple", 1)):
                require(
                    getattr(self, name) == usual,
                    f"{name}: the published sizes are as they are; leave out this or --published",
                )
        require(
            self.members is None or self.published,
            "members: chooses among the published sizes; use --phi, or add --published",
        )
        if self.from_ is not None:
            for name in ("coefficients", "baseline", "baseline_width", "resolution"):
                require(
                    getattr(self, name) is None,
                    f"{name}: the run behind --from brings its own; leave out one of the two",
                )


def _check_coefficients(text: str) -> None:
    for part in text.split(","):
        check_short("coefficients", part)
    largest = max(ScalingCoefficients.parse(text).to_json())
    require(
        largest <= _LARGEST_BASE,
        f"coefficients: '{text}': {largest:g} is more than any axis grows, {_LARGEST_BASE} at most",
    )


def _check_judged_on(overlay: Mapping[str, Any]) -> None:
    data = overlay.get("data")
    require(
        not (isinstance(data, Mapping) and "evaluate_on" in data),
        "train.data.evaluate_on: a family is judged on the reporting split",
    )
