"""One command line in a process of its own, which dies by SIGKILL at a chosen moment.

Processes are forked from one server that has imported everything, so that a life costs what its work costs.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

Kind = Literal["time", "call", "file"]
KINDS: tuple[Kind, ...] = ("time", "call", "file")
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree")
"""Audit events that change a disk. C code of DuckDB and safetensors raises none: kills by time reach it."""


@dataclass(frozen=True)
class Death:
    """When a process dies: after seconds, before a Python call (C functions count too), or before a change of the disk."""

    kind: Kind
    at: float


@dataclass(frozen=True)
class End:
    """How a life ended."""

    killed: bool
    code: int | None
    said: str
    """Standard error, of a life that was not killed."""
    spans: dict[Kind, float]
    """What an unbroken life took: seconds, calls, changes."""


def forks() -> Any:
    """The server of processes. It imports what every life needs, and runs none of it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.preload"])
    return context


def live(processes: Any, words: Sequence[object], log: Path, death: Death | None = None) -> End:
    """One life of `corollary WORDS`, to its end or its death."""
    listening, sending = processes.Pipe(duplex=False)
    process = processes.Process(
        target=_live, args=([str(word) for word in words], str(log), death, sending), daemon=True
    )
    process.start()
    sending.close()
    _hear(listening)  # it is ready: from here on time counts
    if death is not None and death.kind == "time":
        process.join(death.at)
        process.kill()
    spans = _hear(listening) or {}
    process.join()
    listening.close()
    killed = process.exitcode == -signal.SIGKILL
    return End(killed, process.exitcode, "" if killed else log.read_text(), spans)


def _hear(connection: Connection) -> Any:
    try:
        return connection.recv()
    except EOFError:
        return None


def _live(words: list[str], log: str, death: Death | None, messages: Connection) -> None:
    """In the new process."""
    import torch

    from corollary.cli import main

    torch.set_num_threads(1)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    counts: dict[Kind, float] = {"time": time.monotonic(), "call": 0, "file": 0}

    def count(kind: Kind) -> None:
        counts[kind] += 1
        if death is not None and death.kind == kind and counts[kind] >= death.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def leave(code: int) -> None:
        sys.setprofile(None)
        messages.send({**counts, "time": time.monotonic() - counts["time"]})
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and _writes(arguments)):
            count("file")

    def call(*event: object) -> None:
        if event[1] in ("call", "c_call"):
            count("call")

    main.leave = leave  # type: ignore[assignment]
    sys.argv = ["corollary", *words]
    messages.send("ready")
    sys.addaudithook(audit)
    if death is None or death.kind == "call":
        threading.setprofile(call)
        sys.setprofile(call)
    main.main()


def _writes(arguments: tuple[Any, ...]) -> bool:
    """Whether `open` was asked to change a file: by its mode, or by its flags."""
    _, mode, flags = arguments
    return bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR))
