"""One controller's hold on a run directory: everything between the plan and the result."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.config.common import CommonConfig
from orchestrator.controller import Controller
from orchestrator.errors import NotReady, UsageError
from orchestrator.history import History, history_of
from orchestrator.interrupts import Interrupts, listening
from orchestrator.journal import Journal, open_journal, read_events
from orchestrator.logs import to_file
from orchestrator.provenance import git_sha, host, packages
from orchestrator.reporting.live import Watcher
from orchestrator.run_dir import RunDir, remove_leftovers, write_json
from orchestrator.runners.base import Runner, Workspace
from orchestrator.stages.base import Stage
from orchestrator.tracking.address import masked
from orchestrator.tracking.mirror import start_mirror
from search_spaces.budget import parse_count

VERSION = 1
"""Of the run directory's layout and journal; another one is not continued."""

RunnerFactory = Callable[[RunDir, Interrupts], Runner]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a stage is run with."""

    run_dir: RunDir
    journal: Journal
    history: History
    interrupts: Interrupts
    notes: tuple[str, ...]
    """What had to be mended on opening."""


def check_run_dir(run_dir: RunDir, command: str) -> None:
    """Refuse, before anything is written, a directory that this command cannot continue.

    Raises: UsageError.
    """
    root = run_dir.root
    if root.exists() and not root.is_dir():
        raise UsageError(f"--run-dir: {root} is a file; name a new directory")
    parent = next(folder for folder in (root, *root.parents) if folder.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"--run-dir: {parent} is read-only; name another directory")
    if not run_dir.description.exists():
        if root.exists() and any(not path.name.startswith(".") for path in root.iterdir()):
            raise UsageError(f"--run-dir: {root} holds other files; name a new or empty directory")
        return
    _check_description(run_dir, command)


def _check_description(run_dir: RunDir, command: str) -> None:
    where = f"--run-dir: {run_dir.root}"
    try:
        description = json.loads(run_dir.description.read_text(encoding="utf-8"))
        version, other = description["version"], description["command"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{where} has a damaged run.json; name another directory") from None
    if version != VERSION:
        raise UsageError(
            f"{where} was written in format {version}, this is format {VERSION}; "
            "name a new directory"
        )
    if other != command:
        raise UsageError(f"{where} belongs to '{other}', not '{command}'; name a new directory")


@contextmanager
def open_session(run_dir: RunDir, *, command: str, config: CommonConfig) -> Iterator[Session]:
    """Take the run directory, describe the run, and listen for interrupts.

    Raises: RunDirHeld, NotReady.
    """
    check_run_dir(run_dir, command)
    with ExitStack() as stack:
        try:
            journal, mended = stack.enter_context(open_journal(run_dir))
            remove_leftovers(run_dir)
            stack.enter_context(to_file(run_dir.logs / "orchestrator.log"))
            _describe(run_dir, command, config)
        except OSError as error:
            raise NotReady(f"--run-dir: {run_dir.root}: {error.strerror}") from error
        history = History()
        history_of(read_events(run_dir.journal)[0], into=history)
        session = {"event": "session", "pid": os.getpid(), "host": socket.gethostname()}
        history_of(journal.append([{**session, "versions": packages()}]), into=history)
        interrupts = stack.enter_context(listening())
        yield Session(
            run_dir=run_dir,
            journal=journal,
            history=history,
            interrupts=interrupts,
            notes=tuple(mended),
        )


def run_stage(
    session: Session,
    stage: Stage,
    *,
    config: CommonConfig,
    workspace: Workspace,
    runner: RunnerFactory,
    watcher: Watcher,
    keep: Callable[[dict[str, Any]], None] = lambda document: None,
) -> dict[str, Any]:
    """Bring a stage to its end and write its result. Nothing is started for a stage that is done.

    `keep` is given the result before it is concluded, to write beside it what belongs to it.

    Raises: StageFailed, NotReady, Interrupted.
    """
    if changed := ask(session, stage):
        watcher.say(changed)
    uri = config.tracking_uri
    mirror = start_mirror(session.run_dir, tracking_uri=uri, log_dir=session.run_dir.logs)
    with mirror:
        if not _is_done(stage, session.history, config.seed):
            place = runner(session.run_dir, session.interrupts)
            try:
                Controller(
                    stage=stage,
                    journal=session.journal,
                    history=session.history,
                    runner=place,
                    workspace=workspace,
                    observer=watcher,
                    interrupts=session.interrupts,
                    seed=config.seed,
                ).run()
            finally:
                place.close()
        document = stage.reduce(session.history)
        write_json(session.run_dir.result(stage.name), document)
        keep(document)
        session.journal.append([{"event": "concluded", "stage": stage.name}])
        _report(session.run_dir, watcher.say)
        late = mirror.finish()
        if late:
            watcher.say(late)
    return document


def _report(run_dir: RunDir, say: Callable[[str], None]) -> None:
    """The page for people; the result is whole without it, and `orchestrator report` makes it."""
    from orchestrator.reporting.report import write_report

    try:
        write_report(run_dir)
    except NotReady as error:
        say(str(error))


def _is_done(stage: Stage, history: History, seed: int) -> bool:
    return stage.decide(history) is None and not stage.propose(history, count=1, seed=seed)


def ask(session: Session, stage: Stage) -> str:
    """Journal the question where it is new; the answer to another one is no result any more.

    Returns what has changed since it was last asked, on one line; "" where nothing has.
    """
    before = session.history.questions.get(stage.name)
    if before is not None and before["question"] == stage.question:
        return ""
    session.run_dir.result(stage.name).unlink(missing_ok=True)
    event = {"event": "stage", "stage": stage.name, "question": stage.question, "plan": stage.cost}
    history_of(session.journal.append([event]), into=session.history)
    return _changed(before["question"], stage.question) if before is not None else ""


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is asked otherwise, and what that means for the trials that there are."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    told = (_difference(name, before.get(name), now.get(name)) for name in names)
    meaning = "trials that match are not run again"
    if "epochs" in names:
        meaning = "with other epochs all trials are others: their schedule has another horizon"
    return f"asked anew with {', '.join(told)}; {meaning}"


def _difference(name: str, before: Any, now: Any) -> str:
    if name == "fingerprint":
        return "other images"
    return f"{name.replace('_', ' ')} {_shown(now)} instead of {_shown(before)}"


def _shown(value: Any) -> str:
    return "the default" if value is None else str(value)


def _describe(run_dir: RunDir, command: str, config: CommonConfig) -> None:
    options = config.to_json()
    if config.tracking_uri:
        options["tracking_uri"] = masked(config.tracking_uri)
    document = {
        "version": VERSION,
        "command": command,
        "config": options,
        "git_sha": git_sha(),
        "packages": packages(),
        "host": host(),
    }
    write_json(run_dir.description, document)


def cache_limit(config: CommonConfig) -> int:
    """Bytes of pixels of one data set that are kept decoded."""
    return parse_count(config.cache_limit, path="cache_limit")


def cache_root(config: CommonConfig) -> Path:
    """Where decoded data sets lie: as asked, else in the user's cache folder."""
    if config.cache_dir:
        return Path(config.cache_dir).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "orchestrator"
