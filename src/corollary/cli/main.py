"""The `corollary` command."""

import os
import sys
from importlib import metadata
from typing import Annotated, NoReturn

import typer

from corollary.cli import (
    embed,
    evaluate,
    explain,
    export,
    graph,
    plan,
    predict,
    quickstart,
    report,
    repurpose,
    rules,
    runs,
    serve,
    tracin,
    train,
)
from corollary.cli.output import show_error
from corollary.cli.taxonomy import analyze_taxonomy
from corollary.cli.train_hgt import joined_numbers
from corollary.cli.validate_embeddings import validate_embeddings
from corollary.errors import CorollaryError

app = typer.Typer(
    name="corollary",
    help="Learn from a knowledge graph, predict what is missing, and say why, inside a memory limit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(graph.app, name="graph")
app.add_typer(plan.app, name="plan")
app.add_typer(train.app, name="train")
app.add_typer(runs.app, name="runs")
app.add_typer(tracin.app, name="tracin")
app.add_typer(rules.app, name="rules")
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("embed")(embed.embed)
app.command("validate-embeddings")(validate_embeddings)
app.command("repurpose")(repurpose.repurpose)
app.command("report")(report.report)
app.command("serve")(serve.serve)
app.command("analyze-taxonomy")(analyze_taxonomy)
app.command("quickstart")(quickstart.quickstart)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"corollary {metadata.version('corollary')}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of all commands."""


def main() -> None:
    """Run the command line: errors are one message, without a traceback, and exit code 1."""
    # Threads that wait should sleep: spinning, a step took 450 ms in place of 67 on a machine busy with other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(args=joined_numbers([_hyphens(argument) for argument in sys.argv[1:]]), standalone_mode=True)
    except CorollaryError as error:
        leave(show_error(str(error)))
    except PermissionError as error:
        leave(show_error(f"{error.filename}: no permission to read or write it"))
    except KeyboardInterrupt:
        leave(show_error("stopped"))
    except SystemExit as ending:
        leave(ending.code if isinstance(ending.code, int) else int(ending.code is not None))


def leave(code: int) -> NoReturn:
    """End the process without tearing modules down: after a training, DuckDB 2.0 and torch cannot be unloaded
    together and print a page of "leaked instance" lines that look like an error."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _hyphens(argument: str) -> str:
    """`--batch_size` means `--batch-size`; values after `=` stay as they are."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value
