"""Command lines in this process, as for the tests of commands."""

from tests.cli.conftest import command, ok  # noqa: F401
