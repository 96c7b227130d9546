"""`corollary export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from corollary.cli.output import print_json, say


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file or folder to write.")],
    file_format: Annotated[
        Literal["npy", "parquet", "word2vec"],
        typer.Option("--format", help="npy (a folder), parquet, or word2vec text as gensim reads it."),
    ] = "npy",
    what: Annotated[
        Literal["entities", "relations", "all"], typer.Option(help="all writes a folder.")
    ] = "entities",
    checkpoint: Annotated[str | None, typer.Option(help="best, final or epoch-0003.")] = None,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the embeddings of a run for other programs: NumPy, Parquet, word2vec text."""
    from corollary.runs.exporting import export as export_run
    from corollary.runs.run import Run

    opened = Run.open(run, graph=graph, checkpoint=checkpoint, memory_limit=memory_limit)
    written = export_run(opened, output, format=file_format, what=what, say=say)
    if as_json:
        print_json({"output": str(written.path), "rows": written.rows, "dim": written.dim})
        return
    counts = " and ".join(f"{count:,} {kind}" for kind, count in written.rows.items())
    say(f"{counts}, {written.dim} numbers each, in {written.path}")
