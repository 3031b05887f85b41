"""What a stage was asked, as the journal records it: the same question has the same answer."""

from __future__ import annotations

from typing import Any

from orchestrator.config.common import CommonConfig

NOT_ASKED = frozenset(
    {
        "run_dir",
        "workers",
        "gpus_per_trial",
        "runner",
        "ray_address",
        "tracking_uri",
        "download",
        "keep_checkpoints",
        "cache_dir",
        "cache_limit",
        "register",
        "memory_per_trial",
    }
)
"""Options that change how a search is carried out, not what it finds."""


def question(config: CommonConfig, fingerprint: str) -> dict[str, Any]:
    """What is asked of which images, as plain JSON."""
    options = {key: value for key, value in config.to_json().items() if key not in NOT_ASKED}
    return {**options, "fingerprint": fingerprint}
