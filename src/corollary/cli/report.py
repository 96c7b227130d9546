"""`corollary report`."""

from pathlib import Path
from typing import Annotated

import typer

from corollary.cli.output import console, print_json


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the run's report.html again from its files."""
    from corollary.records.run_folder import RunFolder
    from corollary.reports.html import write_report

    page = write_report(RunFolder.open(run))
    if as_json:
        print_json({"report": str(page)})
    else:
        console.print(f"report: {page}", soft_wrap=True)
