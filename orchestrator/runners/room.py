"""How many trials a machine or a cluster has room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.trial import Bundle


def places(nodes: Iterable[Mapping[str, float]], bundle: Bundle) -> int:
    """How many bundles fit the nodes when nothing else runs there; part of a GPU is of one GPU."""
    return sum(_places(node.get("CPU", 0.0), node.get("GPU", 0.0), bundle) for node in nodes)


def _places(cpus: float, gpus: float, bundle: Bundle) -> int:
    by_cpu = int(cpus // max(bundle.cpus, 1))
    if not bundle.gpus:
        return by_cpu
    slack = 1e-6  # three thirds are a whole
    if bundle.gpus >= 1:
        return min(by_cpu, int((gpus + slack) // bundle.gpus))
    return min(by_cpu, int(gpus) * int((1 + slack) // bundle.gpus))
