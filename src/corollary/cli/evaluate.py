"""`corollary evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from corollary.cli.output import print_json, print_table, say
from corollary.errors import ConfigError

if TYPE_CHECKING:
    from corollary.evaluation.metrics import Evaluation
    from corollary.runs.run import Run


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    split: Annotated[str, typer.Option(help="Which triples: test, valid or train.")] = "test",
    filter_by: Annotated[
        Literal["known", "train+valid", "train"] | None,
        typer.Option("--filter", help="Facts left out of the competition; not given: the run's own setting."),
    ] = None,
    candidates: Annotated[
        Literal["types"] | None, typer.Option(help="types: also rank among the relation's range types alone.")
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="best, final or epoch-0003.")] = None,
    ranks: Annotated[
        Path | None, typer.Option(help="Write the rank of every triple to this Parquet file.")
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option(help="Another graph folder with the same relations (runs of drum and of rules)."),
    ] = None,
    per_relation: Annotated[bool, typer.Option(help="Print the table of relations.")] = False,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Exact filtered ranks of every triple of a split, or of those of the run's targets, both sides."""
    from corollary.runs.device import choose_device
    from corollary.runs.evaluating import evaluate as evaluate_run
    from corollary.runs.run import Run

    used = str(choose_device(device, say))
    opened = Run.open(run, graph=graph, checkpoint=checkpoint, device=used, memory_limit=memory_limit)
    if opened.kind.name == "poincare":
        from corollary.cli.taxonomy import measure

        if split != "test" or filter_by or candidates or ranks or per_relation or on:
            raise ConfigError(
                "a run of poincare ranks no facts: --split, --filter, --candidates, --ranks, --per-relation and --on go "
                f"with other learners; see corollary analyze-taxonomy {run}"
            )
        measure(opened, None, (), None, as_json)
        return
    if on is not None or _asks_test_graph(opened, split):
        if filter_by or candidates or ranks or per_relation:
            raise ConfigError(
                "--filter, --candidates, --ranks and --per-relation are for the run's own graph: leave them out where "
                "another is ranked"
            )
        _elsewhere(opened, on, split, as_json)
        return
    result = evaluate_run(opened, split, filter=filter_by, candidates=candidates, ranks_path=ranks)
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    _show(result, opened, per_relation)


def _show(result: "Evaluation", run: "Run", per_relation: bool) -> None:
    """Figures among all entities and, where they were asked for, among the answer's types."""
    columns, typed = {result.split: result.metrics}, result.in_range
    if typed is not None:
        columns["among the answer's types"] = typed.figures.sides["both"][result.ties]
    values = [metrics.values() for metrics in columns.values()]
    print_table(["figure", *columns], [[name, *(column[name] for column in values)] for name in values[0]])
    if per_relation:
        hidden = ["relation_id"] if typed is not None else ["relation_id", "candidates"]
        frame = result.to_pandas("relation").drop(columns=hidden)
        print_table([str(column) for column in frame.columns], frame.astype(object).to_numpy().tolist())
    sides = "" if "head" in result.figures.sides else ", tails alone"
    ranked, ranking = f"{result.num_triples:,} triples", run.ranking
    if ranking.targets:
        every = run.graph.info.num_triples[result.split]
        ranked = f"{result.num_triples:,} of {every:,} triples: {ranking.asked}"
    say(f"{ranked}{sides}, filter {result.filter}, ties {result.ties}")
    if typed is not None and typed.num_outside:
        say(
            f"{typed.num_outside:,} answers ({typed.share_outside:.1%}) are of no type that answers their relation in "
            "train: they are ranked among all entities"
        )


def _asks_test_graph(run: "Run", split: str) -> bool:
    """Whether a run was trained on an inductive folder, and the split is one of its second graph alone."""
    if run.kind.name != "drum" or run.graph.info.num_triples.get(split, 0):
        return False
    from corollary.runs.drum.elsewhere import TEST_GRAPH

    return (run.path / TEST_GRAPH).is_dir()


def _elsewhere(run: "Run", graph: Path | None, split: str, as_json: bool) -> None:
    """Figures on another graph; where none is named, on the second one of the inductive folder that was trained on."""
    from corollary.runs.drum.elsewhere import TEST_GRAPH, evaluate_elsewhere
    from corollary.runs.drum.inductive import rank_test_graph

    if graph is None:
        say(f"ranking on {run.path / TEST_GRAPH}: the graph that was trained on has no {split} triples")
        found = rank_test_graph(run, split)
    else:
        found = evaluate_elsewhere(run, graph, split)
    if as_json:
        print_json({name: result.model_dump(mode="json") for name, result in found.items()})
        return
    names = list(next(iter(found.values())).metrics.values())
    rows = [[name, *(result.metrics.values()[name] for result in found.values())] for name in names]
    print_table(["figure", *found], rows)
