"""Selective kernels; squeeze-and-excitation is torchvision's."""

from torch import Tensor, nn
from torch.nn.functional import relu

from trainer.models.resnet_layout import Unit
from trainer.models.resnet_parts.layers import Norm

PATHS = 2


class SelectiveKernels(nn.Module):
    """Two 3×3 convolutions side by side, of which each image weighs the channels.

    The form of Assemble-ResNet (Lee 2020, arXiv:2001.06268, configuration C3): both kernels are 3×3
    and computed as one convolution of twice the channels, unlike Li 2019, arXiv:1903.06586. In
    training its batch norm over pooled channels needs two images.
    """

    def __init__(self, unit: Unit, *, squeezed: int, norm: Norm) -> None:
        super().__init__()
        both = PATHS * unit.outputs
        self.conv = nn.Conv2d(unit.inputs, both, 3, unit.stride, padding=1, bias=False)
        self.norm = norm(both)
        self.squeeze = nn.Conv2d(unit.outputs, squeezed, 1, bias=False)
        self.squeeze_norm = norm(squeezed)
        self.excite = nn.Conv2d(squeezed, both, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, inputs, H, W) to maps (B, C, ⌈H/stride⌉, ⌈W/stride⌉), none negative."""
        paths = _by_path(relu(self.norm(self.conv(maps)), inplace=True))  # (B, 2, C, H, W)
        pooled = paths.sum(dim=1).mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        return (self.shares(pooled) * paths).sum(dim=1)

    def shares(self, pooled: Tensor) -> Tensor:
        """What each path contributes to each channel: (B, 2, C, 1, 1), 1 in sum over the paths."""
        squeezed = relu(self.squeeze_norm(self.squeeze(pooled)), inplace=True)
        return _by_path(self.excite(squeezed)).softmax(dim=1)


def _by_path(maps: Tensor) -> Tensor:
    """Maps (B, 2·C, H, W) as (B, 2, C, H, W)."""
    images, _, height, width = maps.shape
    return maps.view(images, PATHS, -1, height, width)
