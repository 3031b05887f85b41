"""Big-Little: two branches on different resolutions (Chen 2019, arXiv:1807.03848)."""

from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from trainer.models.resnet_layout import StemBranches
from trainer.models.resnet_parts.layers import Norm, chain


class TwoBranches(nn.Module):
    """A stage: the deep branch on half the resolution and the thin one, added and merged."""

    def __init__(self, *, big: nn.Module, little: nn.Module, merge: nn.Module) -> None:
        super().__init__()
        self.big = big
        self.little = little
        self.merge = merge

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, inputs, H, W), H and W even, to maps (B, outputs, H/stride, W/stride)."""
        big = interpolate(self.big(maps), scale_factor=2.0, mode="nearest")  # (B, C, H, W) again
        return self.merge(relu(self.little(maps) + big, inplace=True))  # type: ignore[no-any-return]


class StemPool(nn.Module):
    """What Big-Little strides the stem by instead of a max pool."""

    def __init__(self, branches: StemBranches, norm: Norm) -> None:
        super().__init__()
        self.big = chain([branches.big], norm, ends_active=False)
        self.little = chain(branches.little, norm, ends_active=False)
        self.merge = chain([branches.merge], norm)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H, W) to maps (B, C, H/2, W/2)."""
        return self.merge(relu(self.big(maps) + self.little(maps), inplace=True))  # type: ignore[no-any-return]
