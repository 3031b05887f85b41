"""What a resolution adaptation will run: networks, test resolutions, adaptations; pure values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from orchestrator.estimates import Cost
from orchestrator.objectives.resolution_trials import AdaptConfig, Origin, SweepConfig
from orchestrator.runners.base import KeepCheckpoints
from orchestrator.trial import Bundle, Scalar, TrialSpec, trial_key
from trainer.complexity import count
from trainer.config import ModelConfig, Strict, TrainConfig
from trainer.fixres.config import FixResConfig

STAGE = "fixres"
ENOUGH_IMAGES = 4096
"""The most training images that the adaptations without labels look at."""
SIDE_BY_SIDE = 3
"""Resolutions that are fine-tuned at where the user names none."""

Adaptation: TypeAlias = Literal["none", "parametric", "statistics", "finetune"]
Split: TypeAlias = Literal["selection", "reporting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun(Strict):
    """A network as one seed has trained it, or will."""

    train: TrainConfig
    weights: str | None
    """Digest of the weights that were given; None: it is trained in this run."""
    seconds: float | None = None
    """What training it took, where its own run says so."""

    @property
    def seed(self) -> int:
        """Of its training, and of its fine-tuning."""
        return self.train.seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Strict):
    """A network at its train resolution, with every seed that there is of it."""

    name: str
    runs: tuple[SourceRun, ...]
    """Those that were given first."""
    resolutions: tuple[int, ...]
    """Test resolutions, ascending, the train resolution among them."""
    tuning: FixResConfig
    """How it is fine-tuned: all but resolution and seed."""
    lower_than: str = ""
    """The network that this one is, trained at a lower resolution; "" for one as it was given."""
    has_norm: bool = True
    """Whether there is a batch norm before the pool that can be re-estimated."""

    @property
    def model(self) -> ModelConfig:
        """What is built."""
        return self.runs[0].train.model

    @property
    def train_resolution(self) -> int:
        """In pixels."""
        return self.model.resolution

    @property
    def slug(self) -> str:
        """A name for files."""
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "._") else "-" for c in self.name)
        return kept.strip(".-") or "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Strict):
    """What is learned from, selected on and reported on."""

    fingerprint: str
    """Of all images and labels."""
    train_images: int
    selection_images: int
    reporting_images: int
    chance: float
    """Accuracy of always guessing the most frequent class of the reporting split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixResPlan:
    """Everything the adaptation was told and has worked out, before anything is computed."""

    question: dict[str, Any]
    networks: tuple[Network, ...]
    adaptations: tuple[Adaptation, ...]
    evidence: Evidence
    finetune_at: tuple[int, ...] | Literal["all"] | None = None
    """None: around the best of the sweep."""
    warnings: tuple[str, ...] = ()
    resources: tuple[Bundle, ...] = (Bundle(),)
    workers: int = 1
    keep_checkpoints: KeepCheckpoints = "best-and-last"
    register: str | None = None
    """What the models are registered as."""
    class_names: tuple[str, ...] = ()
    """As the data set has them; () leaves the networks' own."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """Where the networks are from, for the record."""
    _specs: dict[tuple[Scalar, ...], TrialSpec] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """Those made so far: a key costs a fraction of a millisecond, and every proposal needs all."""

    def tuned_at(self, network: Network) -> int:
        """At how many resolutions a network is fine-tuned."""
        if self.finetune_at == "all":
            return len(network.resolutions)
        if self.finetune_at is None:
            return min(SIDE_BY_SIDE, len(network.resolutions))
        return len(set(self.finetune_at) & set(network.resolutions))

    def training(self, network: Network, run: SourceRun) -> TrialSpec:
        """The trial that trains a network of this run's."""
        return self._once(self._training, network, run)

    def sweep(self, network: Network, run: SourceRun) -> TrialSpec:
        """The unadapted network at all test resolutions, on the selection split."""
        return self._once(self._whole_sweep, network, run)

    def adapting(
        self, network: Network, run: SourceRun, adaptation: Adaptation, resolution: int
    ) -> TrialSpec:
        """One adaptation to one resolution, judged on the selection split."""
        return self._once(self._adapting, network, run, adaptation, resolution)

    def reporting(
        self, network: Network, run: SourceRun, adaptation: Adaptation, resolution: int
    ) -> TrialSpec:
        """The network at one resolution, adapted or not, on the reporting split."""
        return self._once(self._reporting, network, run, adaptation, resolution)

    def _once(
        self, make: Callable[..., TrialSpec], network: Network, run: SourceRun, *rest: Scalar
    ) -> TrialSpec:
        name = (make.__name__, network.name, run.seed, *rest)
        if name not in self._specs:
            self._specs[name] = make(network, run, *rest)
        return self._specs[name]

    def _training(self, network: Network, run: SourceRun) -> TrialSpec:
        data = self.evidence
        macs = _macs(run.train.model, network.train_resolution)
        images = 3 * data.train_images + data.selection_images  # backward costs two forward passes
        return self._spec(
            "train-model",
            run.train,
            f"{network.name} trained",
            network=network,
            seed=run.seed,
            work=macs * images * run.train.epochs,
            macs=macs,
            train_resolution=network.train_resolution,
        )

    def origin(self, network: Network, run: SourceRun) -> Origin:
        """Where the weights of a run are from."""
        if run.weights is not None:
            return Origin(weights=run.weights)
        return Origin(trial=self.training(network, run).key)

    def _whole_sweep(self, network: Network, run: SourceRun) -> TrialSpec:
        return self._sweep(network, run, network.resolutions, split="selection")

    def _adapting(
        self, network: Network, run: SourceRun, adaptation: Adaptation, resolution: int
    ) -> TrialSpec:
        config = AdaptConfig(
            adaptation=self.adaptation(network, run, adaptation, resolution),
            origin=self.origin(network, run),
        )
        return self._spec(
            "fixres",
            config,
            f"{network.name} {adaptation} {resolution} px",
            network=network,
            seed=run.seed,
            work=self._adapting_work(network, adaptation, resolution),
            adaptation=adaptation,
            train_resolution=network.train_resolution,
            test_resolution=resolution,
        )

    def _reporting(
        self, network: Network, run: SourceRun, adaptation: Adaptation, resolution: int
    ) -> TrialSpec:
        if adaptation == "none":
            return self._sweep(network, run, (resolution,), split="reporting")
        return self._sweep(
            network,
            run,
            (resolution,),
            split="reporting",
            adaptation=adaptation,
            adapted=self.adaptation(network, run, adaptation, resolution),
            adapted_by=self.adapting(network, run, adaptation, resolution).key,
        )

    def adaptation(
        self, network: Network, run: SourceRun, adaptation: Adaptation, resolution: int
    ) -> FixResConfig:
        """What is done to a network; settings of the fine-tuning are in that alone."""
        plain = FixResConfig(
            source=run.train,
            test_resolution=resolution,
            crop_fraction=network.tuning.crop_fraction,
            adaptation=adaptation,
            seed=run.seed,
        )
        if adaptation != "finetune":
            return plain
        decided = ("source", "test_resolution", "adaptation", "seed")
        return network.tuning.with_(**{name: getattr(plain, name) for name in decided})

    def cost(self, seconds_per_mac: float | None) -> Cost:
        """What it takes, at so many seconds for a multiply-add of a forward pass."""
        specs = list(self._planned())
        work = sum(int(spec.labels["work"] or 0) for spec in specs)
        hours = None if seconds_per_mac is None else work * seconds_per_mac / 3600
        return Cost(
            trials=len(specs),
            epochs=sum(_reports(spec) for spec in specs),
            estimated_hours=None if hours is None else hours / max(self.workers, 1),
            estimated_gpu_hours=None if hours is None else hours * self.resources[0].gpus,
            disk_bytes=sum(self._kept(network, specs) for network in self.networks),
        )

    def _planned(self) -> Iterator[TrialSpec]:
        """As many trials as there will be; those that a choice decides stand at the largest."""
        for network in self.networks:
            largest = network.resolutions[-1]
            for run in network.runs:
                if run.weights is None:
                    yield self.training(network, run)
                yield self.sweep(network, run)
                for adaptation in self.adaptations:
                    for resolution in sides(self, network, adaptation):
                        yield self.adapting(network, run, adaptation, resolution)
                for resolution in {network.train_resolution, largest}:
                    yield self.reporting(network, run, "none", resolution)

    def _kept(self, network: Network, specs: list[TrialSpec]) -> int:
        """Bytes: float32 weights that are copied, trained (with an average), adapted and given."""
        weights = 4 * count(network.model).params
        own = [spec.objective for spec in specs if spec.labels["network"] == network.name]
        given = len({run.weights for run in network.runs if run.weights})
        return weights * (given + 3 * own.count("train-model") + own.count("fixres") + 1)

    def _sweep(
        self,
        network: Network,
        run: SourceRun,
        resolutions: tuple[int, ...],
        *,
        split: Split,
        adaptation: Adaptation = "none",
        adapted: FixResConfig | None = None,
        adapted_by: str | None = None,
    ) -> TrialSpec:
        config = SweepConfig(
            source=run.train,
            origin=self.origin(network, run),
            resolutions=resolutions,
            crop_fraction=network.tuning.crop_fraction,
            evaluate_on=split,
            adapted=adapted,
            adapted_by=adapted_by,
        )
        data = self.evidence
        images = data.selection_images if split == "selection" else data.reporting_images
        swept = len(resolutions) > 1
        what = "sweep" if swept else f"{adaptation} {resolutions[0]} px, {split}"
        return self._spec(
            "fixres-sweep",
            config,
            f"{network.name} {what}",
            network=network,
            seed=run.seed,
            work=images * sum(_macs(network.model, side) for side in resolutions),
            adaptation=adaptation,
            train_resolution=network.train_resolution,
            test_resolution=None if swept else resolutions[0],
        )

    def _spec(
        self,
        objective: str,
        config: Strict,
        name: str,
        *,
        network: Network,
        **labels: Scalar,
    ) -> TrialSpec:
        return TrialSpec(
            key=trial_key(objective, config, fingerprint=self.evidence.fingerprint),
            stage=STAGE,
            objective=objective,
            config=config,
            labels={"name": name, "network": network.name, **labels},
            resources=self.resources,
        )

    def _adapting_work(self, network: Network, adaptation: Adaptation, resolution: int) -> int:
        """Multiply-adds of the forward passes; training on kept features is next to none."""
        data, tuning = self.evidence, network.tuning
        here = _macs(network.model, resolution)
        some = min(data.train_images, ENOUGH_IMAGES)
        before_and_after = 2 * data.selection_images
        if adaptation == "parametric":
            there = _macs(network.model, network.train_resolution)
            return here * (some + before_and_after) + there * some
        if adaptation == "statistics":
            return here * (some + before_and_after)
        passes = 1 + tuning.flip if tuning.augmentation == "v1" else tuning.epochs
        held_out = 3 if tuning.augmentation == "v1" else tuning.epochs + 1
        return here * (data.train_images * passes + data.selection_images * held_out)


def sides(plan: FixResPlan, network: Network, adaptation: Adaptation) -> tuple[int, ...]:
    """The resolutions that an adaptation is tried at; for `finetune` as many, if they are chosen.

    At the train resolution nothing is to be made up for by a map behind the pool; without a batch
    norm there is nothing to re-estimate.
    """
    match adaptation:
        case "none":
            return ()  # the sweep
        case "parametric":
            return tuple(r for r in network.resolutions if r != network.train_resolution)
        case "statistics":
            return network.resolutions if network.has_norm else ()
        case "finetune":
            return network.resolutions[-plan.tuned_at(network) :]


def _reports(spec: TrialSpec) -> int:
    match spec.config:
        case TrainConfig(epochs=epochs):
            return epochs
        case SweepConfig(resolutions=resolutions):
            return len(resolutions)
        case AdaptConfig(adaptation=adaptation):
            return adaptation.num_reports
    raise AssertionError(f"{spec.objective} is no trial of this stage")


@lru_cache(maxsize=4096)
def _macs(model: ModelConfig, resolution: int) -> int:
    return count(model.with_(resolution=resolution)).macs
