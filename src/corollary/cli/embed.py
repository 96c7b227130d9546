"""`corollary embed`."""

from pathlib import Path
from typing import Annotated

import typer

from corollary.cli.output import print_json, say


def embed(
    run: Annotated[Path, typer.Argument(help="A run folder of hgt.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .csv or .parquet file.")],
    checkpoint: Annotated[str | None, typer.Option(help="best, final or epoch-0003.")] = None,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the embedding of every node, with its id, type and name."""
    from corollary.runs.device import choose_device
    from corollary.runs.hgt.embedding import embed as embed_run
    from corollary.runs.run import Run

    used = str(choose_device(device, say))
    opened = Run.open(run, graph=graph, checkpoint=checkpoint, device=used, memory_limit=memory_limit)
    written = embed_run(opened, output)
    if as_json:
        print_json({"output": str(written.path), "rows": written.rows, "dim": written.dim})
        return
    say(f"{written.rows:,} embeddings, {written.dim} numbers each, in {written.path}")
    say(f"next: corollary validate-embeddings {written.path}")
