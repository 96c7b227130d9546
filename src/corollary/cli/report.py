"""`corollary report`."""

from pathlib import Path
from typing import Annotated

import typer

from corollary.cli.output import say


def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write the run's report.html again from its files."""
    from corollary.records.run_folder import RunFolder
    from corollary.reports.html import write_report

    say(f"report: {write_report(RunFolder.open(run))}")
