"""`corollary validate-embeddings`."""

from pathlib import Path
from typing import Annotated

import typer

from corollary.cli.output import print_json, print_table, say


def validate_embeddings(
    file: Annotated[Path, typer.Argument(help="A .csv, .tsv or .parquet file with a row for each node.")],
    graph: Annotated[
        Path | None, typer.Option(help="The graph folder, for degrees and types; rows are matched by id.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="An HTML file with plots to write.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample that pairs are compared in.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Judge embeddings: exit code 1 where they failed, with the reasons."""
    from corollary.graph.folder import Graph
    from corollary.runs.validating import validate_embeddings as validate

    opened = None if graph is None else Graph.open(graph)
    found = validate(file, graph=opened, page=page, seed=seed)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        measures = found.model_dump(exclude={"types", "reasons", "verdict", "old_verdict"})
        print_table(["measure", "value"], [[name, value] for name, value in measures.items()])
        columns = ["type", "rows", "effective rank", "components", "spread", "mean cosine, centred"]
        rows = [
            [k.name, k.rows, k.effective_rank, k.components, k.spread, k.mean_cosine_centred]
            for k in found.types
        ]
        print_table(columns, rows)
        say(f"older scripts: {found.old_verdict}")
        for reason in found.reasons:
            say(reason)
        say(f"verdict: {found.verdict}" + (f"    page: {page}" if page is not None else ""))
    if found.verdict == "failed":
        raise typer.Exit(1)
