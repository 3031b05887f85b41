"""Trials as Optuna studies, for optuna-dashboard and optuna.visualization. A door to Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import NotReady
from orchestrator.history import Status
from orchestrator.trial import Scalar
from orchestrator.trial_records import TrialRecord

STATES = {
    Status.WAITING: TrialState.WAITING,
    Status.RUNNING: TrialState.RUNNING,
    Status.PAUSED: TrialState.RUNNING,
    Status.COMPLETE: TrialState.COMPLETE,
    Status.PRUNED: TrialState.PRUNED,
    Status.FAILED: TrialState.FAIL,
}
ORDERS_OF_MAGNITUDE = 10.0
"""A positive parameter whose values lie further apart is shown on a logarithmic axis."""


def write_studies(records: Sequence[TrialRecord], path: Path) -> None:
    """Write a SQLite file with a study for every stage, and for every set of parameters in it.

    Optuna compares the trials of a study by the parameters that all of them have, so trials that
    tried different things are kept apart.

    Raises:
        NotReady: the file cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = RDBStorage(f"sqlite:///{path}")
        # A transaction a trial would wait for the disk a thousand times for a file that, until it
        # is whole, nobody sees.
        event.listen(storage.engine, "connect", _without_waiting)
        storage.engine.dispose()
        for name, group in _studies(records).items():
            _write_study(storage, name, group)
        storage.engine.dispose()
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        text = " ".join(str(error).split())
        raise NotReady(f"--output: Optuna cannot write it: {text}") from error


def _without_waiting(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()


def _studies(records: Sequence[TrialRecord]) -> Mapping[str, Sequence[TrialRecord]]:
    """Name -> trials; a stage in which all tried the same things gives its name to its study."""
    groups: dict[tuple[str, tuple[str, ...]], list[TrialRecord]] = {}
    for record in records:
        groups.setdefault((record.stage, tuple(sorted(record.params))), []).append(record)
    stages = [stage for stage, _ in groups]
    return {
        stage if stages.count(stage) == 1 else f"{stage}: {', '.join(params)}": group
        for (stage, params), group in groups.items()
    }


def _write_study(storage: BaseStorage, name: str, records: Sequence[TrialRecord]) -> None:
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    names = {param for record in records for param in record.params}
    distributions = {
        param: _distribution([record.params[param] for record in records])
        for param in sorted(names)
    }
    for record in records:
        study.add_trial(_frozen(record, distributions))


def _frozen(record: TrialRecord, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    state = STATES[record.status]
    scored = state in (TrialState.COMPLETE, TrialState.PRUNED)
    return FrozenTrial(
        number=-1,  # the storage counts
        trial_id=-1,
        state=TrialState.FAIL if state is TrialState.COMPLETE and record.score is None else state,
        value=record.score if scored else None,
        datetime_start=_local(record.started),
        datetime_complete=_local(record.ended),
        params=dict(record.params),
        distributions=dict(distributions),
        user_attrs=_attributes(record),
        system_attrs={},
        intermediate_values={
            epoch: math.nan if score is None else score for epoch, score in record.scores.items()
        },
    )


def _attributes(record: TrialRecord) -> dict[str, Scalar]:
    said = {
        "trial": record.number,
        "key": record.key,
        "stage": record.stage,
        "status": str(record.status),
        **record.description,
        **{name: value for name, value in record.last.items() if name != "top1"},
    }
    return {**said, "error": record.error} if record.error else said


def _distribution(values: Sequence[Scalar]) -> BaseDistribution:
    """The range that the values span; whole numbers stay whole, anything else is a choice."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < len(values) or any(isinstance(value, bool) for value in values):
        return CategoricalDistribution(sorted(set(values), key=lambda value: str(value)))
    low, high = min(numbers), max(numbers)
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high))
    spread_out = low > 0 and high / low > ORDERS_OF_MAGNITUDE
    return FloatDistribution(float(low), float(high), log=spread_out)


def _local(time: float | None) -> datetime | None:
    """Optuna's times are local ones without a zone."""
    return None if time is None else datetime.fromtimestamp(time)
