"""Anti-aliased downsampling (Zhang 2019, arXiv:1904.11486)."""

from math import comb

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class BlurPool(nn.Module):
    """A binomial filter of stride 2 on each channel, its input mirrored beyond the border."""

    kernel: Tensor

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        row = torch.tensor([float(comb(size - 1, place)) for place in range(size)])
        # Not part of the state: it never changes.
        self.register_buffer("kernel", torch.outer(row, row) / row.sum() ** 2, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H, W), larger than half the filter, to maps (B, C, ⌈H/2⌉, ⌈W/2⌉)."""
        channels, size = maps.shape[1], self.kernel.shape[-1]
        padded = _mirrored(_mirrored(maps, size // 2, dim=2), size // 2, dim=3)
        filters = self.kernel.expand(channels, 1, size, size)
        return conv2d(padded, filters, stride=2, groups=channels)


def _mirrored(maps: Tensor, border: int, *, dim: int) -> Tensor:
    """The maps with so many more pixels at both ends, mirrored at the outermost ones.

    torch's own padding adds up its gradients in any order on a GPU: runs would not repeat exactly.
    """
    size = maps.shape[dim]
    before = maps.narrow(dim, 1, border).flip(dim)
    after = maps.narrow(dim, size - 1 - border, border).flip(dim)
    return torch.cat([before, maps, after], dim)
