"""EfficientNets from torchvision's blocks (Tan & Le, arXiv:1905.11946 and arXiv:2104.00298)."""

from functools import partial

from torch import nn
from torchvision.models import EfficientNet
from torchvision.models.efficientnet import FusedMBConv, FusedMBConvConfig, MBConv

from trainer.config import BlockStage, EfficientNetConfig
from trainer.models.init import init_as_tensorflow

_BLOCKS = {"mbconv": MBConv, "fused-mbconv": FusedMBConv}


class _Setting(FusedMBConvConfig):  # type: ignore[misc]  # torchvision carries no types
    """A stage in torchvision's terms whose channels are final.

    torchvision would round them, and the expanded ones, to multiples of 8 once more, and build a
    network that our configuration does not describe.
    """

    @staticmethod
    def adjust_channels(channels: int, width_mult: float, min_value: int | None = None) -> int:
        """Channels times the factor; called with the expansion ratio."""
        return int(channels * width_mult)


def efficientnet(config: EfficientNetConfig) -> nn.Module:
    """The network that maps images (B, 3, R, R) to logits (B, num_classes), freshly initialised.

    Its state has torchvision's names and shapes. Block i of N loses its residual branch with
    probability `stochastic_depth`·i/N, drawn per sample; blocks are counted after scaling.
    """
    network = EfficientNet(
        _settings(config),
        dropout=config.dropout,
        stochastic_depth_prob=config.stochastic_depth,
        num_classes=config.num_classes,
        norm_layer=partial(nn.BatchNorm2d, eps=config.norm_eps, momentum=config.norm_momentum),
        last_channel=config.head_channels,  # torchvision's own guess, 4·C, differs after rounding
    )
    network.features[0][0].stride = (config.stem_stride, config.stem_stride)  # fixed at 2 there
    if config.init == "tf":
        init_as_tensorflow(network)
    if config.zero_gamma:
        _zero_gammas(network)
    return network  # type: ignore[no-any-return]


def _zero_gammas(network: nn.Module) -> None:
    """Set γ = 0 in the last batch norm of each residual branch and nowhere else, in place."""
    for block in network.modules():
        if isinstance(block, MBConv | FusedMBConv) and block.use_res_connect:
            *_, norm = (part for part in block.block.modules() if isinstance(part, nn.BatchNorm2d))
            nn.init.zeros_(norm.weight)


def _settings(config: EfficientNetConfig) -> list[_Setting]:
    inputs = (config.stem_channels, *(stage.channels for stage in config.stages))
    return [
        _setting(stage, channels) for stage, channels in zip(config.stages, inputs, strict=False)
    ]


def _setting(stage: BlockStage, input_channels: int) -> _Setting:
    return _Setting(
        stage.expand,
        stage.kernel,
        stage.stride,
        input_channels,
        stage.channels,
        stage.repeats,
        block=_BLOCKS[stage.operator],
    )
