"""`corollary analyze-taxonomy`: figures with their controls, a picture, neighbours and ancestors, exports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from corollary.cli.output import print_json, print_table, say
from corollary.errors import ConfigError


def analyze_taxonomy(
    run: Annotated[Path, typer.Argument(help="A run folder of poincare.")],
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Nodes whose ancestors are ranked; all if not given.")
    ] = None,
    ranks: Annotated[str | None, typer.Option(help="Ranks to compare, such as phylum,class.")] = None,
    controls: Annotated[
        str | None, typer.Option(help="Of untrained,random,euclidean,tree; all if not given, or none.")
    ] = None,
    neighbours: Annotated[
        str | None,
        typer.Option("--neighbours", "--neighbors", help="The nearest nodes to this one, and nothing else."),
    ] = None,
    ancestors: Annotated[
        str | None, typer.Option(help="What the embedding takes for this node's ancestors, and nothing else.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many of them.")] = 10,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the embedding to FILE.txt (word2vec), .csv or .parquet, and nothing else."),
    ] = None,
    disk: Annotated[
        Path | None, typer.Option(help="Draw the Poincaré disk to FILE.png or .svg, and nothing else.")
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="best, final or epoch-0003.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure how well a taxonomy was embedded, beside four controls; or look at it."""
    from corollary.runs.run import Run

    wanted = [name for name, value in
              (("--neighbours", neighbours), ("--ancestors", ancestors), ("--export", export), ("--disk", disk))
              if value is not None]  # fmt: skip
    if len(wanted) > 1:
        raise ConfigError(f"{' and '.join(wanted)} are asked one at a time")
    opened = Run.open(run, graph=graph, checkpoint=checkpoint, memory_limit=memory_limit)
    chosen = tuple(part.strip() for part in ranks.split(",")) if ranks else ()
    if wanted:
        if sample is not None or controls is not None:
            raise ConfigError(
                f"--sample and --controls are of the whole analysis: leave them out beside {wanted[0]}"
            )
        _look(opened, neighbours, ancestors, export, disk, chosen, top_k, as_json)
        return
    measure(opened, sample, chosen, controls, as_json)


def measure(
    run: Any, sample: int | None, ranks: tuple[str, ...], controls: str | None, as_json: bool
) -> None:
    """Print figures and controls; what `evaluate` does with a run of poincare too."""
    from corollary.runs.poincare.analysis import analyze_taxonomy
    from corollary.runs.poincare.controls import CONTROLS

    given = CONTROLS if controls is None else () if controls == "none" else tuple(controls.split(","))
    found = analyze_taxonomy(run, sample=sample, ranks=ranks, controls=given, say=say)
    if as_json:
        print_json({"figures": found.figures, "conditions": found.conditions})
        return
    frame = found.to_pandas()
    rows = [[name, *(None if value != value else value for value in line)] for name, line in
            zip(frame.index, frame.astype(object).to_numpy().tolist(), strict=True)]  # fmt: skip
    print_table(["figure", *frame.columns], rows)
    say(f"written to {run.path / 'taxonomy.json'}")


def _look(
    run: Any,
    neighbours: str | None,
    ancestors: str | None,
    export: Path | None,
    disk: Path | None,
    ranks: tuple[str, ...],
    count: int,
    as_json: bool,
) -> None:
    from corollary.runs.poincare import asking
    from corollary.runs.poincare.kind import Embedded

    embedded = Embedded.of(run)
    if export is not None:
        from corollary.runs.poincare.export import export_embedding

        export_embedding(embedded, export)
        say(f"{len(embedded.taxonomy):,} nodes written to {export}")
    elif disk is not None:
        asking.draw(embedded, disk, ranks[0] if ranks else None)
        say(f"drawn to {disk}")
    else:
        ask = asking.neighbours if neighbours is not None else asking.ancestors
        lines = ask(embedded, neighbours or ancestors or "", count)
        if as_json:
            print_json(lines)
        else:
            print_lines(lines)


def print_lines(lines: Sequence[Mapping[str, Any]]) -> None:
    """Nodes as a table."""
    print_table(list(lines[0]) if lines else ["label"], [list(line.values()) for line in lines])
