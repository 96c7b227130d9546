"""Explanations take seconds: one is made at a time, by a thread; others wait; who asks the same gets the same.

An explanation that nobody listens to or asks after for ten seconds is given up. Made ones are kept, the latest in
memory and, in a folder, up to 256 MiB of them.
"""

import hashlib
import json
import queue
import re
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from corollary.budget import MIB
from corollary.errors import CorollaryError
from corollary.records.explanation import Explanation
from corollary.storage import write_text
from corollary.web.site import Asked, Cancelled, Explain

State = Literal["waiting", "running", "done", "failed", "cancelled"]

WAITING = 4
"""Explanations that may wait; one more is refused."""
ALONE = 10.0
"""Seconds without anyone listening or asking after which an explanation is given up."""
LONGEST = 600.0
"""Seconds that one may take."""
_KEPT, _ON_DISK, _REMEMBERED = 32, 256 * MIB, 64
_KEY = re.compile(r"[0-9a-f]{64}")


class Busy(CorollaryError):
    """Too many explanations wait already."""


@dataclass(frozen=True)
class Step:
    """A part that was begun, and when, in seconds after the start."""

    number: int
    part: str
    seconds: float


@dataclass
class Job:
    """One explanation on its way."""

    key: str
    asked: Asked
    state: State = "waiting"
    steps: list[Step] = field(default_factory=list)
    message: str = ""
    """Why it failed."""
    listeners: int = 0
    started: float = field(default_factory=time.monotonic)
    touched: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        return self._over.is_set()

    def touch(self) -> None:
        """Somebody still wants it."""
        self.touched = time.monotonic()

    def stop(self) -> None:
        """Give it up at the next part."""
        self._stop.set()

    def unwanted(self) -> bool:
        """Whether it should be given up."""
        now = time.monotonic()
        alone = self.listeners == 0 and now - self.touched > ALONE
        return self._stop.is_set() or alone or now - self.started > LONGEST

    def begin(self) -> None:
        self.state, self.started = "running", time.monotonic()

    def said(self, part: str) -> None:
        """A part was begun."""
        self.steps.append(Step(len(self.steps) + 1, part, round(time.monotonic() - self.started, 3)))

    def end(self, state: State, message: str = "") -> None:
        self.state, self.message = state, message
        self._over.set()

    def wait(self, seconds: float) -> bool:
        """Whether it was over within this time."""
        return self._over.wait(seconds)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        steps = [asdict(step) for step in self.steps]
        return {"key": self.key, "state": self.state, "steps": steps, "message": self.message}


class Jobs:
    """The one worker, its queue, and what has been made."""

    def __init__(self, explain: Explain, identity: str, folder: Path | None = None) -> None:
        """
        Args:
            identity: of graph, runs and options; part of every key.
            folder: where made explanations are kept for the next start; not given: in memory alone.
        """
        self._explain, self._identity, self._folder = explain, identity, folder
        self._queue: queue.Queue[Job | None] = queue.Queue(WAITING)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._made: OrderedDict[str, Explanation] = OrderedDict()
        self._lock = threading.Lock()
        self._worker = threading.Thread(target=self._work, name="explanations", daemon=True)
        self._worker.start()

    def key(self, asked: Asked) -> str:
        """Of this question to these runs."""
        text = json.dumps([self._identity, asdict(asked)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def made(self, key: str) -> Explanation | None:
        """A finished explanation, from memory or disk."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        found = self._read(key)
        if found is not None:
            self._keep(key, found)
        return found

    def start(self, asked: Asked) -> Job:
        """The explanation of this question: one that is under way, or a new one. Raises `Busy`."""
        key = self.key(asked)
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and (not job.over or job.state == "done") and not job.unwanted():
                job.touch()
                if job.state != "done" or key in self._made:
                    return job
            job = Job(key, asked)
            try:
                self._queue.put_nowait(job)
            except queue.Full:
                raise Busy(
                    f"{WAITING} explanations wait already: try again in a few seconds, or cancel one"
                ) from None
            self._jobs[key] = job
            for old in [one for one in self._jobs.values() if one.over][:-_REMEMBERED]:
                del self._jobs[old.key]
        return job

    def find(self, key: str) -> Job | None:
        """A job by its key."""
        with self._lock:
            job = self._jobs.get(key)
        if job is not None:
            job.touch()
        return job

    def cancel(self, key: str) -> bool:
        """Give one up; False where there is none."""
        with self._lock:
            job = self._jobs.get(key)
        if job is not None:
            job.stop()
        return job is not None

    def close(self) -> None:
        """Give all up and end the worker."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop()
        while True:
            try:
                self._queue.put_nowait(None)
                return
            except queue.Full:
                try:
                    self._queue.get_nowait()
                except queue.Empty:
                    continue

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if job.unwanted():
                job.end("cancelled")
                continue
            job.begin()
            self._run(job, self._explain)

    def _run(self, job: Job, explain: Explain) -> None:
        try:
            found = explain(job.asked, job.said, job.unwanted)
        except Cancelled:
            job.end("cancelled")
        except CorollaryError as error:
            job.end("failed", str(error))
        except Exception as error:  # the worker has to live: what went wrong is told to whoever asked
            job.end("failed", f"a fault of the program: {type(error).__name__}: {error}")
        else:
            self._keep(job.key, found)
            self._write(job.key, found)
            job.end("done")

    def _keep(self, key: str, found: Explanation) -> None:
        with self._lock:
            self._made[key] = found
            self._made.move_to_end(key)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)

    def _read(self, key: str) -> Explanation | None:
        if self._folder is None or not _KEY.fullmatch(key):
            return None
        try:
            return Explanation.model_validate_json((self._folder / f"{key}.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def _write(self, key: str, found: Explanation) -> None:
        """Add it to the folder; the oldest ones make room."""
        if self._folder is None:
            return
        write_text(self._folder / f"{key}.json", found.model_dump_json() + "\n")
        files = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        room = _ON_DISK
        for file in files:
            room -= file.stat().st_size
            if room < 0:
                file.unlink(missing_ok=True)
