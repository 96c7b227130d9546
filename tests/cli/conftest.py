"""`command` runs a command line in this process, as the `corollary` program does: main(), its messages, its exit code."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from corollary.cli import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as strict JSON: all of it, without NaN."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    @property
    def message(self) -> str:
        """The one message of a command that failed, on one line."""
        assert self.code == 1, self
        assert self.out == ""
        assert "Traceback" not in self.err
        return self.err.strip().splitlines()[-1]


Command = Callable[..., Outcome]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Call it with the words of a command line."""

    def run(*words: Any) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["corollary", *map(str, words)])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main.main()
            except SystemExit as ending:
                code = ending.code
        return Outcome(int(code or 0), out.getvalue(), err.getvalue())

    monkeypatch.setattr(main, "leave", sys.exit)
    return run


@pytest.fixture
def ok(command: Command) -> Command:
    """The same for commands that must succeed."""

    def run(*words: Any) -> Outcome:
        outcome = command(*words)
        assert outcome.code == 0, outcome.err
        return outcome

    return run
