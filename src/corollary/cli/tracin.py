"""`corollary tracin run`."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corollary.cli.output import console, errors, print_json, print_table, say
from corollary.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np

    from corollary.runs.run import Run
    from corollary.runs.tracing import Bar
    from corollary.runs.tracing_results import Suspects, TracInResult

app = typer.Typer(help="Which training triples made the model say this.", no_args_is_help=True)


@app.callback()
def tracin() -> None:
    """Which training triples made the model say this."""


@app.command("run")
def run_command(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    mode: Annotated[
        Literal["test", "self", "single"],
        typer.Option(
            help="test: ask about test triples; single: about one; self: list suspicious training triples."
        ),
    ] = "test",
    head: Annotated[str | None, typer.Option(help="Head of the one triple of --mode single.")] = None,
    relation: Annotated[str | None, typer.Option(help="Its relation.")] = None,
    tail: Annotated[str | None, typer.Option(help="Its tail.")] = None,
    triples: Annotated[
        Path | None, typer.Option(help="Ask about these: a file of head<TAB>relation<TAB>tail.")
    ] = None,
    split: Annotated[str, typer.Option(help="Ask about triples of this split.")] = "test",
    test_indices: Annotated[
        str | None, typer.Option(help="Only these of them, counted from 0: 0,5,10-19.")
    ] = None,
    start_index: Annotated[int, typer.Option(min=0, help="Leave out those before this one.")] = 0,
    max_test_triples: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    measure: Annotated[
        Literal["tracin", "output", "output-kfac", "cosine"],
        typer.Option(help="tracin, or a score that is not TracIn but ranks triples too (see the docs)."),
    ] = "tracin",
    target: Annotated[
        Literal["loss", "score"], typer.Option(help="Influence on the triple's loss, or on its score.")
    ] = "loss",
    instead_of: Annotated[
        str | None, typer.Option(help="Why the answer rather than this entity? For --mode single.")
    ] = None,
    side: Annotated[
        Literal["both", "tail", "head"] | None,
        typer.Option(help="The answer that is asked about; not given: both for a loss, else the tail."),
    ] = None,
    deletion: Annotated[
        Literal["example", "label"] | None,
        typer.Option(help="What a training triple stands for; not given: as the run was trained."),
    ] = None,
    top_k: Annotated[
        str, typer.Option("--top-k", "-k", help="Proponents and opponents of each triple, or 'all'.")
    ] = "10",
    candidates: Annotated[Path | None, typer.Option(help="Only these training triples: a file.")] = None,
    within_hops: Annotated[
        int | None, typer.Option(min=1, help="Only triples this near; 1: they share an entity.")
    ] = None,
    relations: Annotated[
        list[str] | None, typer.Option(help="Only triples of this relation; may come several times.")
    ] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="Sum over these; not given: those kept for good, else best.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="In place of the checkpoints' own.")] = None,
    by_checkpoint: Annotated[bool, typer.Option(help="Say what each checkpoint adds.")] = False,
    by_entity: Annotated[bool, typer.Option(help="Sum influence around every entity too.")] = False,
    suspicious_by: Annotated[
        Literal["loss", "self_influence"], typer.Option(help="Order of --mode self.")
    ] = "loss",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write all of it as JSON.")] = None,
    csv_output: Annotated[
        Path | None, typer.Option(help="Write a row an influence: .csv or .parquet.")
    ] = None,
    output_per_triple: Annotated[
        Path | None, typer.Option(help="A folder for one JSON file a triple.")
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option(help="With --output-per-triple: leave out triples whose file is there.")
    ] = False,
    node_name_dict: Annotated[
        Path | None, typer.Option(help="Names of entities: JSON object, or label<TAB>name.")
    ] = None,
    edge_map: Annotated[
        Path | None, typer.Option(help="Names of relations, likewise; JSON from name to label is taken too.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Training triples that go by together; not given: what fits.")
    ] = None,
    use_mixed_precision: Annotated[bool, typer.Option(help="Products with bf16 factors.")] = False,
    use_last_layers_only: Annotated[
        bool, typer.Option(help="The output layer alone: the same as --measure output; not TracIn.")
    ] = False,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Exact influence of the training triples on test triples, or on any other triple."""
    from corollary.runs.run import Run
    from corollary.runs.tracing import TracInConfig, suspects
    from corollary.runs.tracing import tracin as trace
    from corollary.runs.tracing_results import check_table, renamed

    if csv_output is not None:
        check_table(csv_output)
    if skip_existing and output_per_triple is None:
        raise ConfigError("--skip-existing goes with --output-per-triple")
    _refuse_unused(context, mode, asked_for_file=triples is not None)
    if instead_of is not None and (mode != "single" or target == "score"):
        raise ConfigError("--instead-of goes with --mode single, and is a target of its own")
    if use_last_layers_only and measure != "tracin":
        raise ConfigError("give either --use-last-layers-only or --measure")
    config = TracInConfig.build(
        {
            "measure": "output" if use_last_layers_only else measure,
            "target": "contrast" if instead_of is not None else target,
            "side": side,
            "deletion": deletion,
            "top_k": _top_k(top_k),
            "checkpoints": tuple(checkpoint or ()),
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "within_hops": within_hops,
            "relations": tuple(relations or ()),
            "by_checkpoint": by_checkpoint,
            "by_entity": by_entity,
            "use_mixed_precision": use_mixed_precision,
        },
        where="tracin run",
    )
    if config.measure != "tracin":
        say(f"measure {config.measure}: this is not TracIn")
    opened = Run.open(run, graph=graph)
    rows = _candidates(opened, candidates)
    if mode == "self":
        with _bar("training triples") as bar:
            found = suspects(
                opened, config, by=suspicious_by, candidates=rows, memory_limit=memory_limit, progress=bar
            )
        _show_suspects(found, output, csv_output, as_json)
        return
    asked = _asked(opened, mode, (head, relation, tail), triples, split)
    asked = asked[_chosen(len(asked), test_indices, start_index, max_test_triples)]
    places = [None if output_per_triple is None else _place(output_per_triple, triple) for triple in asked]
    if skip_existing:
        kept = [i for i, place in enumerate(places) if place is not None and not place.exists()]
        say(f"{len(places) - len(kept)} of {len(places)} triples have their file already")
        if not kept:
            return
        asked, places = asked[kept], [places[i] for i in kept]
    rivals = None if instead_of is None else [opened.graph.entities.find(instead_of)]
    target_file = output or csv_output or output_per_triple
    with _bar("training triples") as bar:
        result = trace(
            opened, asked, config, rivals=rivals, candidates=rows, memory_limit=memory_limit, progress=bar, say=say,
            state=None if target_file is None else target_file.with_name(f"{target_file.name}.progress"),
        )  # fmt: skip
    result = renamed(result, *_names(opened, node_name_dict, edge_map))
    _write(result, output, csv_output, places)
    _show(result, as_json, quiet=target_file is not None)


def _top_k(text: str) -> int | None:
    """`all`, or a number."""
    if text.lower() in ("all", "none"):
        return None
    if not text.isdigit() or not int(text):
        raise ConfigError(f"--top-k {text!r}: expected a number from 1 on, or 'all'")
    return int(text)


def _candidates(run: "Run", path: Path | None) -> "np.ndarray | None":
    from corollary.runs.tracing import asked_triples, training_rows

    if path is None:
        return None
    found = asked_triples(run, _read_triples(path), where=str(path), say=say)
    return training_rows(run, found, where=str(path))


def _asked(
    run: "Run", mode: str, one: tuple[str | None, str | None, str | None], file: Path | None, split: str
) -> "np.ndarray":
    """Ids of the triples that are asked about."""
    import numpy as np

    from corollary.runs.tracing import asked_triples

    given = [part for part in one if part is not None]
    if mode == "single":
        if len(given) != 3 or file is not None:
            raise ConfigError("--mode single asks about one triple: give --head, --relation and --tail")
        return asked_triples(run, [(given[0], given[1], given[2])], say=say)
    if given:
        raise ConfigError("--head, --relation and --tail go with --mode single")
    if file is not None:
        return asked_triples(run, _read_triples(file), where=str(file), say=say)
    return np.asarray(run.graph.triples(split)).astype(np.int64)


def _read_triples(path: Path) -> list[tuple[str, str, str]]:
    """Lines of head, relation, tail between tabs. Raises `InputError` naming the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        parts = line.split("\t")
        if len(parts) != 3:
            raise InputError(
                f"{path}:{number}: expected head, relation, tail between tabs, found {len(parts)} fields"
            )
        found.append((parts[0], parts[1], parts[2]))
    if not found:
        raise InputError(f"{path} holds no triples")
    return found


def _chosen(count: int, text: str | None, start: int, most: int | None) -> list[int]:
    """Places of the triples that are asked about."""
    places = list(range(count)) if text is None else []
    for part in text.split(",") if text is not None else []:
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise ConfigError(f"--test-indices {text!r}: expected numbers and ranges, such as 0,5,10-19")
        places += range(int(match[1]), int(match[2] or match[1]) + 1)
    if places and max(places) >= count:
        raise ConfigError(f"--test-indices: there is no triple {max(places)}; they are 0 to {count - 1}")
    chosen = [place for place in places if place >= start][:most]
    if not chosen:
        raise ConfigError(f"no triple is left to ask about of {count}, from --start-index {start} on")
    return chosen


def _place(folder: Path, triple: "np.ndarray") -> Path:
    """The file of one triple, by its ids, which are the same in every run on the graph."""
    return folder / ("tracin_" + "_".join(str(int(part)) for part in triple) + ".json")


def _names(run: "Run", nodes: Path | None, edges: Path | None) -> tuple[dict[str, str], dict[str, str]]:
    """Names by label; an edge map may be written either way round."""
    from corollary.runs.tracing_results import read_names

    relations = {} if edges is None else read_names(edges)
    labels = set(run.graph.relations.labels)
    if relations and not labels & set(relations):
        relations = {label: name for name, label in relations.items()}
    if relations and not labels & set(relations):
        raise InputError(f"{edges}: none of its labels is a relation of {run.graph.name}")
    return ({} if nodes is None else read_names(nodes)), relations


def _write(
    result: "TracInResult", output: Path | None, table: Path | None, places: Sequence[Path | None]
) -> None:
    from dataclasses import replace

    from corollary.runs.tracing_results import write_json, write_table

    if output is not None:
        write_json(result, output)
    if table is not None:
        write_table(result, table)
    for place, traced in zip(places, result.triples, strict=True):
        if place is not None:
            write_json(replace(result, triples=[traced]), place)


def _show(result: "TracInResult", as_json: bool, *, quiet: bool) -> None:
    """JSON, or tables of the first triples; figures of the run on standard error."""
    from corollary.budget import show_bytes

    if as_json:
        print_json(result.as_dict())
    elif not quiet:
        for traced in result.triples[:20]:
            against = f" rather than {traced.instead_of}" if traced.instead_of else ""
            console.print(f"{traced.triple}{against}", style="bold", markup=False)
            listed: list[list[Any]] = [
                [one.score, one.triple.head_name, one.triple.relation_name, one.triple.tail_name]
                for one in (*traced.proponents, *reversed(traced.opponents))
            ]
            print_table(
                ["influence", "head", "relation", "tail"], [[f"{row[0]:.4g}", *row[1:]] for row in listed]
            )
        if len(result.triples) > 20:
            say(f"... and {len(result.triples) - 20} more: write all of them with --output or --csv-output")
    rates = ", ".join(f"{name} (learning rate {rate:g})" for name, rate in result.checkpoints.items())
    say(f"{result.measure} of {result.target}, {result.deletion} deletion, over {rates}")
    say(f"memory: planned {show_bytes(result.planned_bytes)}, peak {show_bytes(result.peak_bytes)}")


def _show_suspects(found: "Suspects", output: Path | None, table: Path | None, as_json: bool) -> None:
    from corollary.runs.tracing_results import write_json, write_table

    if output is not None:
        write_json(found, output)
    if table is not None:
        write_table(found, table)
    if as_json:
        print_json(found.as_dict())
    elif output is None and table is None:
        rows = [
            [f"{s.loss:.4g}", f"{s.self_influence:.4g}", s.triple.head_name, s.triple.relation_name, s.triple.tail_name]
            for s in found.triples
        ]  # fmt: skip
        print_table(["loss", "self-influence", "head", "relation", "tail"], rows)


@contextmanager
def _bar(what: str) -> Iterator["Bar"]:
    """A bar with time left, on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def move(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield move


NOT_OF_SELF = (
    "triples", "split", "test_indices", "start_index", "max_test_triples", "measure", "target", "side", "within_hops",
    "by_checkpoint", "by_entity", "batch_size", "use_mixed_precision", "use_last_layers_only", "output_per_triple",
    "skip_existing", "edge_map", "node_name_dict", "instead_of",
)  # fmt: skip


def _refuse_unused(context: typer.Context, mode: str, *, asked_for_file: bool) -> None:
    """Raises `ConfigError` for an option that was given and that this mode would not look at."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    unused: set[str] = {"split"} if mode == "single" or asked_for_file else set()
    if mode == "self":
        unused = set(NOT_OF_SELF)
    if odd := sorted(given & unused):
        options = ", ".join("--" + name.replace("_", "-") for name in odd)
        raise ConfigError(
            f"{options} has no meaning with " + ("--triples" if mode == "test" else f"--mode {mode}")
        )
