"""`corollary train hgt` and `corollary plan hgt`."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corollary.cli.output import TrainingDisplay, print_json, print_table, say
from corollary.errors import ConfigError

Config = Annotated[Path | None, typer.Option(help="A TOML file, or the config.json of a run.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, such as links.folds=20.")]
Embedding = Annotated[int | None, typer.Option(help="Length of the embeddings that come out.")]
Hidden = Annotated[int | None, typer.Option(help="Width of input embeddings and layers.")]
Layers = Annotated[int | None, typer.Option("--layers", "--num-layers", help="Steps that a message can go.")]
Heads = Annotated[int | None, typer.Option("--num-heads", "--attn", help="Attention heads.")]
Kind = Annotated[
    Literal["hgt", "gat", "rgcn"] | None, typer.Option(help="hgt, or gat or rgcn with the same machinery.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Memory = Annotated[str | None, typer.Option(help="Most resident memory, such as 4GiB.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def hgt(
    graph: Annotated[Path | None, typer.Argument(help="A graph folder.")] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "--output", "-o", help="The run folder to make.")
    ] = None,
    config: Config = None,
    settings: Settings = None,
    embedding_dim: Embedding = None,
    hidden_dim: Hidden = None,
    layers: Layers = None,
    num_heads: Heads = None,
    convolution: Kind = None,
    num_epochs: Annotated[int | None, typer.Option(help="Passes over the training edges.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="First learning rate.")] = None,
    accumulation_steps: Annotated[int | None, typer.Option(help="Batches to one optimiser step.")] = None,
    early_stopping: Annotated[
        int | None, typer.Option(help="Validations without improvement after which to stop.")
    ] = None,
    edge_sample_size: Annotated[
        int | None, typer.Option(help="Train on parts: so many edges of each relation. Chooses sampling.")
    ] = None,
    num_neighbors: Annotated[
        str | None,
        typer.Option(help="Train on neighbourhoods: edges of a node and edge type, a hop each, as 10,10."),
    ] = None,
    node_batch_size: Annotated[
        int | None, typer.Option(help="Nodes asked in a batch of neighbourhoods.")
    ] = None,
    relation: Annotated[
        list[str] | None, typer.Option(help="Ask for this relation alone while training; may be repeated.")
    ] = None,
    num_workers: Annotated[int | None, typer.Option(help="Threads that make batches ahead.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, folds, negatives and dropout.")] = None,
    device: Device = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> None:
    """Train a heterogeneous graph transformer; test figures stand beside the degree baseline's."""
    from corollary.runs.hgt.kind import train_hgt

    if graph is None:
        raise ConfigError("GRAPH is missing: name a graph folder ('corollary graph import' makes one)")
    if output_dir is None:
        raise ConfigError("--output-dir is missing: name the run folder to make")
    sampling = sampling_flags(edge_sample_size, num_neighbors, node_batch_size)
    flags = _shape(embedding_dim, hidden_dim, layers, num_heads, convolution) | sampling
    flags |= {
        "links.relations": relation or None,
        "training.epochs": num_epochs,
        "training.lr": learning_rate,
        "training.accumulation": accumulation_steps,
        "training.early_stopping": early_stopping,
        "training.num_workers": num_workers,
        "seed": seed,
        "device": device,
        "memory_limit": memory_limit,
    }
    display = TrainingDisplay()
    try:
        run = train_hgt(graph, output_dir, hgt_options(config, flags, settings), observer=display, say=say)
    finally:
        display.close()
    show_hgt(run, as_json)


def plan_hgt(
    graph: Annotated[Path, typer.Argument(help="A graph folder.")],
    config: Config = None,
    settings: Settings = None,
    embedding_dim: Embedding = None,
    hidden_dim: Hidden = None,
    layers: Layers = None,
    num_heads: Heads = None,
    convolution: Kind = None,
    edge_sample_size: Annotated[int | None, typer.Option(help="Edges of each relation in a part.")] = None,
    num_neighbors: Annotated[str | None, typer.Option(help="Fan-outs, such as 10,10.")] = None,
    node_batch_size: Annotated[int | None, typer.Option(help="Nodes asked in a batch.")] = None,
    device: Device = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> None:
    """Bytes of an HGT training by part; exits with the missing bytes where it cannot fit."""
    from corollary.budget import show_bytes
    from corollary.graph.folder import Graph
    from corollary.messages import silent
    from corollary.runs.device import choose_device
    from corollary.runs.hgt.planning import plan_hgt as plan

    flags = _shape(embedding_dim, hidden_dim, layers, num_heads, convolution)
    flags |= sampling_flags(edge_sample_size, num_neighbors, node_batch_size)
    options = hgt_options(config, flags | {"device": device, "memory_limit": memory_limit}, settings)
    found = plan(Graph.open(graph), options, device=choose_device(options.device, silent))
    if as_json:
        print_json(found.model_dump(mode="json") | {"total": found.total})
        return
    rows = [[name, show_bytes(size)] for name, size in found.parts.items()]
    print_table(["part", "bytes"], [*rows, ["total", show_bytes(found.total)]])
    say(f"limit: {show_bytes(found.budget.bytes)}")


def _shape(
    embedding_dim: int | None,
    hidden_dim: int | None,
    layers: int | None,
    num_heads: int | None,
    convolution: str | None,
) -> dict[str, Any]:
    return {
        "model.embedding_dim": embedding_dim,
        "model.hidden_dim": hidden_dim,
        "model.layers": layers,
        "model.attn": num_heads,
        "model.convolution": convolution,
    }


def sampling_flags(
    edge_sample_size: int | None, num_neighbors: str | None, node_batch_size: int | None
) -> dict[str, Any]:
    """Which sampling the flags choose. Raises `ConfigError` where they choose two."""
    around = num_neighbors is not None or node_batch_size is not None
    if edge_sample_size is not None and around:
        raise ConfigError(
            "--edge-sample-size draws edges, --num-neighbors and --node-batch-size draw neighbourhoods: choose one"
        )
    name = "edges" if edge_sample_size is not None else "neighbors" if around else None
    return {
        "sampling.name": name,
        "sampling.edge_sample_size": edge_sample_size,
        "sampling.num_neighbors": None if num_neighbors is None else _numbers(num_neighbors),
        "sampling.node_batch_size": node_batch_size,
    }


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise ConfigError(f"--num-neighbors {text}: expected whole numbers such as 10,10") from None


def joined_numbers(arguments: list[str]) -> list[str]:
    """`--num-neighbors 10 10`, as older scripts have it, becomes `--num-neighbors 10,10`."""
    if "--num-neighbors" not in arguments:
        return arguments
    first = arguments.index("--num-neighbors") + 1
    last = first
    while last < len(arguments) and arguments[last].isdigit():
        last += 1
    return [
        *arguments[:first],
        *([",".join(arguments[first:last])] if last > first else []),
        *arguments[last:],
    ]


def hgt_options(config: Path | None, flags: dict[str, Any], settings: list[str] | None) -> Any:
    """A file's options, then the flags that were given, then --set."""
    from corollary.config import read_table, with_overrides
    from corollary.runs.config import from_record
    from corollary.runs.hgt.options import HgtOptions

    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    table = from_record(read_table(config), HgtOptions) if config is not None else {}
    return HgtOptions.build(
        with_overrides(table, [*given, *(settings or [])]), where=str(config or "options")
    )


def show_hgt(run: Any, as_json: bool) -> None:
    """Test figures beside those of the degree baseline."""
    from corollary.runs.hgt.reporting import figures_of

    found = figures_of(run)
    figures = found.values()
    if as_json:
        print_json({"run": str(run.path), "candidates": found.candidates, "figures": figures})
        return
    if figures:
        names = list(next(iter(figures.values())))
        first = "figure, among the answer's types" if found.candidates == "types" else "figure"
        print_table([first, *figures], [[name, *(f[name] for f in figures.values())] for name in names])
    say(f"run folder: {run.path}    report: {run.path / 'report.html'}")
    say(f"next: corollary embed {run.path} -o embeddings.parquet")
