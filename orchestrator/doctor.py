"""What is in the way of a run here, and how to mend it; works where torch does not import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.checks.finding import Finding, blocked, one_line
from orchestrator.run_dir import RunDir

Check = Callable[[], Iterable[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that was found."""

    findings: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing is in the way of a run."""
        return all(finding.state != "blocked" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The document of `doctor --json`."""
        return {"ready": self.ready, "checks": [asdict(finding) for finding in self.findings]}


def diagnose(
    *,
    dataset: str | None = None,
    run_dir: str | Path = "runs/run",
    ray_address: str | None = None,
    tracking_uri: str | None = None,
    cache_dir: str | None = None,
) -> Diagnosis:
    """Look at everything that a run needs; nothing is installed, started or left behind.

    With `dataset` the images are read, and kept decoded in the cache as a run would keep them.
    """
    checks = _checks(
        dataset=dataset,
        run_dir=RunDir(Path(run_dir).expanduser().absolute()),
        ray_address=ray_address,
        tracking_uri=tracking_uri,
        cache_dir=cache_dir,
    )
    found = [finding for about, check in checks for finding in _carried_out(about, check)]
    return Diagnosis(findings=tuple(found))


def diagnosis_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """A line a finding, its remedy behind it; then whether one can begin."""
    width = max(len(finding.about) for finding in diagnosis.findings)
    for finding in diagnosis.findings:
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        yield f"{finding.state:<8} {finding.about:<{width}}  {finding.says}{remedy}"
    in_the_way = sum(finding.state == "blocked" for finding in diagnosis.findings)
    yield "ready" if diagnosis.ready else f"not ready: {in_the_way} to mend"


def _checks(
    *,
    dataset: str | None,
    run_dir: RunDir,
    ray_address: str | None,
    tracking_uri: str | None,
    cache_dir: str | None,
) -> list[tuple[str, Check]]:
    from orchestrator.checks import images, room, services, software

    cache = _cache(cache_dir)
    checks: list[tuple[str, Check]] = [
        ("python", software.check_python),
        ("packages", software.check_packages),
        ("torch", software.check_torch),
        ("memory", room.check_memory),
        ("disk", partial(room.check_disk, run_dir.root, cache)),
        ("run directory", partial(room.check_holder, run_dir)),
        ("shared memory", room.check_shared_memory),
        ("ray", partial(services.check_ray, ray_address)),
        ("mlflow", partial(services.check_mlflow, run_dir, tracking_uri)),
    ]
    if dataset is not None:
        checks.append((images.ABOUT, partial(images.check_images, dataset, cache)))
    return checks


def _cache(cache_dir: str | None) -> Path:
    from orchestrator.config.common import CommonConfig
    from orchestrator.session import cache_root

    return cache_root(CommonConfig(cache_dir=cache_dir))


def _carried_out(about: str, check: Check) -> Iterator[Finding]:
    """The findings up to where the check itself breaks, as it may on half an installation."""
    try:
        yield from check()
    except Exception as error:
        says = f"could not be looked at: {type(error).__name__}: {one_line(error)}"
        yield blocked(about, says, "mend what is named above it first")
