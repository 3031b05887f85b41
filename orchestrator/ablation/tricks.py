"""Each trick as a function from one training configuration to the next, by name. Loads no torch.

A trick knows how to be switched on and how a configuration looks without it, so that a ladder, the
stack less one trick, and one trick alone are all folds over the same table.
"""

from __future__ import annotations

import re
from fractions import Fraction

from orchestrator.ablation.changes import (
    attentive,
    averaged,
    big_little,
    distilled,
    drop_blocks,
    dropped,
    lasting,
    mixing,
    network_with,
    scheduled,
    strided,
    tested_at,
    warmed,
    with_policy,
    zero_gamma,
)
from orchestrator.ablation.trick import Trick
from trainer.config import require
from trainer.errors import unknown_value

LONGER = re.compile(r"epochs-(\d{1,3}(?:\.\d{1,2})?)x")
"""Training for so many times the epochs."""

_BAG = "He 2018, arXiv:1812.01187"
_ASSEMBLE = "Lee 2020, arXiv:2001.06268"

_TABLE = (
    Trick(
        name="linear-lr",
        says="The peak learning rate grows linearly with the batch: 0.1 for 256 images is 0.4 for "
        "1,024. Without it the rate is the same whatever the batch.",
        source=f"Goyal 2017, arXiv:1706.02677, §2.1; {_BAG}, §3.1",
        switch="optim.fixed_lr",
        on=lambda config, _: config.with_(optim=config.optim.with_(fixed_lr=False)),
        off=lambda config, _: config.with_(optim=config.optim.with_(fixed_lr=True)),
    ),
    Trick(
        name="warmup",
        says="The rate rises linearly from 0 over the first epochs, when the weights are random "
        "and large steps diverge.",
        source=f"Goyal 2017, arXiv:1706.02677, §2.2; {_BAG}, §3.1",
        switch="schedule.warmup_epochs",
        reads=("warmup_epochs",),
        on=warmed,
        off=lambda config, _: config.with_(schedule=config.schedule.with_(warmup_epochs=0.0)),
    ),
    Trick(
        name="zero-gamma",
        says="The last batch norm of each residual branch begins with γ = 0: a fresh block returns "
        "its shortcut, and the network begins as a shallow one.",
        source=f"{_BAG}, §3.1",
        switch="model.zero_gamma",
        on=lambda config, _: zero_gamma(config, True),
        off=lambda config, _: zero_gamma(config, False),
    ),
    Trick(
        name="no-bias-decay",
        says="Weight decay for the weights of convolutions and linear layers alone, not for biases "
        "nor for batch norm's γ and β.",
        source=f"{_BAG}, §3.1",
        switch="optim.decay_norm_and_bias",
        on=lambda config, _: config.with_(
            optim=config.optim.with_(decay_norm_and_bias=False, decay_bias=False)
        ),
        off=lambda config, _: config.with_(optim=config.optim.with_(decay_norm_and_bias=True)),
    ),
    Trick(
        name="mixed-precision",
        says="Forward and backward passes in 16 bits, weights and their updates in 32; with fp16 "
        "the loss is scaled. Meant to cost nothing and to be faster.",
        source=f"Micikevicius 2017, arXiv:1710.03740; {_BAG}, §3.2",
        switch="execution.precision",
        reads=("precision",),
        on=lambda config, means: config.with_(
            execution=config.execution.with_(precision=means.settings.precision or "bf16")
        ),
        off=lambda config, _: config.with_(execution=config.execution.with_(precision="fp32")),
    ),
    Trick(
        name="stride-3x3",
        says="A bottleneck that halves the map does so in its 3×3 convolution, not in the 1×1 "
        "before it, which would not look at three quarters of its input (ResNet-B).",
        source=f"{_BAG}, §4",
        switch="model.stride_at",
        on=lambda config, _: strided(config, "3x3"),
        off=lambda config, _: strided(config, "first-1x1"),
    ),
    Trick(
        name="deep-stem",
        says="Three 3×3 convolutions in place of the stem's one of 7×7, or of 3×3 in a network for "
        "small images (ResNet-C).",
        source=f"{_BAG}, §4",
        switch="model.deep_stem",
        on=network_with("deep-stem", "stem to deepen", deep_stem=True),
        off=network_with("deep-stem", "stem to deepen", deep_stem=False),
        slot="stem",
    ),
    Trick(
        name="pooled-shortcut",
        says="Where a block strides, its shortcut is averaged and then projected, so that all of "
        "its input counts (ResNet-D).",
        source=f"{_BAG}, §4",
        switch="model.shortcut",
        on=network_with("pooled-shortcut", "projected shortcuts", shortcut="pooled"),
        off=network_with("pooled-shortcut", "projected shortcuts", shortcut="conv"),
    ),
    Trick(
        name="cosine",
        says="The rate falls along half a cosine to 0; without it, it drops to a tenth after each "
        "quarter of the run.",
        source=f"Loshchilov 2016, arXiv:1608.03983; {_BAG}, §5.1",
        switch="schedule.kind",
        on=lambda config, _: scheduled(config, "cosine"),
        off=lambda config, _: scheduled(config, "step"),
    ),
    Trick(
        name="label-smoothing",
        says="The right class is asked for with 0.9 and a little, all others with the rest, so "
        "that logits need not grow without end.",
        source=f"Szegedy 2015, arXiv:1512.00567, §7; {_BAG}, §5.2",
        switch="label_smoothing",
        reads=("label_smoothing",),
        on=lambda config, means: config.with_(label_smoothing=means.settings.label_smoothing),
        off=lambda config, _: config.with_(label_smoothing=0.0),
    ),
    Trick(
        name="mixup",
        says="Every image is mixed with another of the batch, and so are their labels; one share "
        "is drawn for the whole batch (type 2).",
        source=f"Zhang 2017, arXiv:1710.09412; {_BAG}, §5.4",
        switch="mix",
        reads=("mixup_alpha",),
        slot="mix",
        **mixing("mixup", "batch"),
    ),
    Trick(
        name="mixup-type1",
        says="Mixup whose share is drawn for each image by itself, a twice as large reading of the "
        "data set mixed by halves.",
        source=f"{_ASSEMBLE}, table 4",
        switch="mix",
        reads=("mixup_alpha",),
        slot="mix",
        **mixing("mixup", "sample"),
    ),
    Trick(
        name="cutmix",
        says="A rectangle of every image is another's, and the label is shared by its area.",
        source="Yun 2019, arXiv:1905.04899",
        switch="mix",
        reads=("cutmix_alpha",),
        slot="mix",
        **mixing("cutmix", "batch"),
    ),
    Trick(
        name="distillation",
        says="The network learns from the labels and from a teacher's probabilities on the very "
        "images that it sees. The teacher is `--teacher`; it knows your classes.",
        source=f"Hinton 2015, arXiv:1503.02531; {_BAG}, §5.3; {_ASSEMBLE}",
        switch="distillation",
        reads=("temperature", "distillation_weight", "t_squared"),
        on=distilled,
        off=lambda config, _: config.with_(distillation=None),
    ),
    Trick(
        name="drop-block",
        says="Squares of the maps of the last two stages are set to zero in training, more and "
        "more of them towards its end.",
        source=f"Ghiasi 2018, arXiv:1810.12890; {_ASSEMBLE}",
        switch="model.drop_block",
        reads=("keep_prob", "block_size"),
        on=drop_blocks,
        off=network_with("drop-block", "residual stages", drop_block=None),
    ),
    Trick(
        name="policy",
        says="Images are augmented by `--policy`: a published one, or what `search-augment` has "
        "found.",
        source="Cubuk 2018, arXiv:1805.09501, and its heirs",
        switch="augment.policy",
        on=with_policy,
        off=lambda config, _: config.with_(augment=config.augment.with_(policy=None)),
    ),
    Trick(
        name="ema",
        says="What is evaluated are the weights' moving averages.",
        source="Polyak 1992; Tan & Le 2019, arXiv:1905.11946, §5.2",
        switch="ema_decay",
        reads=("ema_decay",),
        on=averaged,
        off=lambda config, _: config.with_(ema_decay=0.0),
    ),
    Trick(
        name="test-resolution",
        says="Test images are larger than training crops: 256 px for 224. Objects look larger in "
        "crops, and this makes up for it without any training.",
        source=f"Touvron 2019, arXiv:1906.06423; {_ASSEMBLE}",
        switch="test_resolution",
        reads=("test_resolution",),
        on=tested_at,
        off=lambda config, _: config.with_(test_resolution=None),
    ),
    Trick(
        name="se",
        says="Squeeze-and-excitation: the channels of each residual branch are weighted by what "
        "the whole map says.",
        source="Hu 2018, arXiv:1709.01507",
        switch="model.attention",
        reads=("se_ratio",),
        on=lambda config, means: attentive(config, means, "se"),
        off=lambda config, means: attentive(config, means, "se", wanted=False),
        slot="attention",
    ),
    Trick(
        name="sk",
        says="Selective kernels in Assemble-ResNet's form: the 3×3 convolution gives two maps, and "
        "each channel takes the better of the two.",
        source=f"Li 2019, arXiv:1903.06586; {_ASSEMBLE}",
        switch="model.attention",
        reads=("sk_ratio",),
        on=lambda config, means: attentive(config, means, "sk"),
        off=lambda config, means: attentive(config, means, "sk", wanted=False),
        slot="attention",
    ),
    Trick(
        name="anti-alias",
        says="What strides in a block strides by a small blur, so that a shifted image gives "
        "nearly the same maps.",
        source=f"Zhang 2019, arXiv:1904.11486; {_ASSEMBLE}, config A4",
        switch="model.blur",
        on=network_with("anti-alias", "residual block to blur", blur="conv"),
        off=network_with("anti-alias", "residual block to blur", blur="none"),
    ),
    Trick(
        name="big-little",
        says="Stages of two branches: a deep one on half the resolution, a thin one on the whole. "
        "With the plain stem, and at resolutions that are whole strides.",
        source=f"Chen 2019, arXiv:1807.03848; {_ASSEMBLE}",
        switch="model.big_little",
        reads=("alpha", "beta"),
        on=big_little,
        off=network_with("big-little", "residual stages", big_little=None),
        slot="stem",
    ),
    Trick(
        name="stochastic-depth",
        says="Whole residual branches are left out in training, the later the more often.",
        source="Huang 2016, arXiv:1603.09382",
        switch="model.stochastic_depth",
        reads=("stochastic_depth",),
        on=lambda config, means: dropped(
            config, "stochastic_depth", means.settings.stochastic_depth
        ),
        off=lambda config, _: dropped(config, "stochastic_depth", 0.0),
    ),
    Trick(
        name="dropout",
        says="Features before the classifier are set to zero at random in training.",
        source="Srivastava 2014, JMLR 15:1929",
        switch="model.dropout",
        reads=("dropout",),
        on=lambda config, means: dropped(config, "dropout", means.settings.dropout),
        off=lambda config, _: dropped(config, "dropout", 0.0),
    ),
)

TRICKS: dict[str, Trick] = {trick.name: trick for trick in _TABLE}
"""In the order in which one would try them. `epochs-2x` and its like are made by `longer`."""


def find_trick(name: str) -> Trick:
    """The trick of that name. Raises: ConfigError."""
    if match := LONGER.fullmatch(name):
        return longer(Fraction(match[1]), name=name)
    if name not in TRICKS:
        raise unknown_value("tricks", name[:40], [*TRICKS, "epochs-2x"])
    return TRICKS[name]


def longer(factor: Fraction, *, name: str) -> Trick:
    """Training for so many times the epochs. Raises: ConfigError for a factor that is none."""
    require(factor > 1, f"tricks: '{name}' does not train longer; use epochs-2x")
    return Trick(
        name=name,
        says="Train longer. Nothing else changes, so that what others gain beside more epochs "
        "can be told from what more epochs gain.",
        source="He 2018, arXiv:1812.01187, §5.4; Lee 2020, arXiv:2001.06268, E8",
        switch="epochs",
        on=lambda config, _: lasting(config, round(config.epochs * factor)),
        off=lambda config, _: config,
    )
