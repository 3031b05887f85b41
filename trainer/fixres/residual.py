"""A residual block in two parts, so that the batch norm that ends its branch can be tuned alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.resnet_parts.block import ResidualBlock


class BeforeNorm(nn.Module):
    """What a block does before the last batch norm of its branch; shares the block's modules."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.branch = block.branch[: _place(block)]
        self.shortcut = block.shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, inputs, H, W) to (B, 2·outputs, h, w): the norm's inputs, then the shortcut."""
        branch = self.branch(maps)
        shortcut = maps if self.shortcut is None else self.shortcut(maps)
        return torch.cat([branch, shortcut], dim=1)


class FromNorm(nn.Module):
    """What the block does from that batch norm on; shares the block's modules."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.branch = block.branch[_place(block) :]
        self.norm_name = block.last_norm_name
        assert isinstance(block.last_norm, nn.BatchNorm2d)
        self.norm: nn.BatchNorm2d = block.last_norm
        self._add = block.add

    def forward(self, both: Tensor) -> Tensor:
        """What `BeforeNorm` returned, to the block's maps (B, outputs, h, w)."""
        branch, shortcut = both.chunk(2, dim=1)
        return self._add(self.branch(branch), shortcut)


def _place(block: ResidualBlock) -> int:
    return list(block.branch).index(block.last_norm)
