"""DropBlock (Ghiasi 2018, arXiv:1810.12890)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad

from trainer.config import require
from trainer.resnet_config import DropBlock as DropBlockConfig


class DropBlock(nn.Module):
    """Sets squares of the maps to zero in training, and scales what is kept up in turn."""

    progress: float = 1.0
    """Where the schedule stands: 0 drops nothing, 1 as much as is configured."""

    def __init__(self, config: DropBlockConfig, *, scale: float) -> None:
        super().__init__()
        self.config = config
        self.scale = scale

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H, W) to maps of the same shape."""
        rate = (1 - self.config.keep_prob) * self.progress
        if not self.training or rate == 0:
            return maps
        kept = self._kept(maps, rate)
        scale = kept.numel() / kept.sum().clamp(min=1)  # all may be dropped of a map that is shared
        return maps * (kept * scale).to(maps.dtype)

    def _kept(self, maps: Tensor, rate: float) -> Tensor:
        """Ones and zeros that spread over the shape of the maps."""
        images, channels, height, width = maps.shape
        block = fitting_block(self.config.block_size, min(height, width))
        shape = (
            images if self.config.per_image else 1,
            channels if self.config.per_channel else 1,
            height - block + 1,  # only where the whole square fits
            width - block + 1,
        )
        probability = self.scale * seed_probability(rate, block=block, height=height, width=width)
        seeds = (torch.rand(shape, device=maps.device) < probability).float()
        centres = pad(seeds, [block // 2] * 4)
        return 1 - max_pool2d(centres, block, stride=1, padding=block // 2)


def seed_probability(rate: float, *, block: int, height: int, width: int) -> float:
    """γ: how often a place that a square fits around is the centre of one (eq. 1).

    Squares that overlap are not allowed for: on average a little less than `rate` is dropped.
    """
    return rate * height * width / (block**2 * (height - block + 1) * (width - block + 1))


def fitting_block(block_size: int, side: int) -> int:
    """The block size, or the largest odd one that fits a map of this side."""
    return min(block_size, side if side % 2 else side - 1)


def set_drop_progress(network: nn.Module, progress: float) -> None:
    """Say how far the network's DropBlock schedule has come, from 0 (the start of training) to 1.

    The share that is dropped rises linearly with it. A network that is never told is at 1. No part
    of the state: a run that goes on where it was saved has to say it again.

    Raises: ConfigError for a progress outside of [0, 1].
    """
    require(0 <= progress <= 1, f"drop progress must be in [0, 1], got {progress}")
    for module in network.modules():
        if isinstance(module, DropBlock):
            module.progress = progress
