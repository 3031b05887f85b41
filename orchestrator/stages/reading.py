"""The data set that a command was given."""

from __future__ import annotations

from orchestrator.config.common import CommonConfig
from orchestrator.reporting.live import Watcher
from orchestrator.session import cache_limit, cache_root
from trainer.data.cache import prepare
from trainer.data.decoded import DecodedSet
from trainer.data.sources import find


def read_set(config: CommonConfig, *, watcher: Watcher) -> tuple[str, DecodedSet]:
    """Its name, or absolute path, and its images, decoded once. Raises: DatasetError."""
    cache = cache_root(config)
    # Workers have other working directories: a path is made absolute, a name stays one.
    dataset = find(config.dataset, data_root=cache / "downloads").dataset
    decoded = prepare(
        dataset,
        cache_root=cache,
        download=config.download,
        skip_unreadable=config.skip_unreadable,
        limit_bytes=cache_limit(config),
    )
    if decoded.skipped:
        watcher.say(
            f"left out {len(decoded.skipped)} files that are no images, {decoded.skipped[0]} first"
        )
    return dataset, decoded
