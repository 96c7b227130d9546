"""`corollary train poincare`, and reading taxonomy files for it and for `graph import --taxonomy`."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corollary.cli.output import TrainingDisplay, print_json, print_table, say
from corollary.errors import ConfigError

Paths = list[Path] | None


def poincare(
    graph: Annotated[Path | None, typer.Argument(help="A graph folder with a taxonomy.")] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "--output", "--checkpoint", "-o", help="The run folder to make."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file, or the config.json of a run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as model.placement.spread=0.01.")
    ] = None,
    data: Annotated[
        Paths, typer.Option(help="Taxonomy files in place of GRAPH: tables, OBO, NCBI's dump, pickled pairs.")
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="With --data: keep this node and what is below it.")
    ] = None,
    ranks: Annotated[
        str | None, typer.Option(help="With --data: keep nodes of these ranks, such as phylum,class,order.")
    ] = None,
    drop_unclassified: Annotated[
        bool, typer.Option("--drop-unclassified", help="With --data: leave out unclassified nodes.")
    ] = False,
    complete: Annotated[
        Path | None, typer.Option(help="With --data: a taxonomy that has the ancestors which the files lack.")
    ] = None,
    relation: Annotated[
        list[str] | None, typer.Option(help="A relation of GRAPH that means 'is a'; may be repeated.")
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Length of an embedding.")] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", "--num-epochs", help="Passes over the pairs.")
    ] = None,
    early_stopping: Annotated[
        int | None,
        typer.Option(help="Validations without improvement after which to stop; withholds pairs to see."),
    ] = None,
    held_out: Annotated[
        float | None, typer.Option(help="Share of pairs withheld; 0.02 with --early-stopping if not given.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs between two looks of the loop.")] = None,
    n_negatives: Annotated[int | None, typer.Option(help="Negatives a pair.")] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", "--learning-rate", help="Hyperbolic length of a first step.")
    ] = None,
    margin: Annotated[float | None, typer.Option(help="Margin of the hinge loss, which it chooses.")] = None,
    lambda_reg: Annotated[
        float | None, typer.Option(help="Weight of the radial term of the hinge loss, which it chooses.")
    ] = None,
    loss: Annotated[
        Literal["softmax", "hinge"] | None, typer.Option(help="softmax unless margin or lambda-reg is given.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads without locks; with 1 a run repeats to the byte.")
    ] = None,
    gpu: Annotated[int | None, typer.Option(help="-1: CPU, where this learner always runs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of places, order and negatives.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto or cpu; the updates are compiled for the CPU.")
    ] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 2GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Embed a taxonomy in hyperbolic space; the run folder holds places, figures and a report."""
    if output_dir is None:
        raise ConfigError("--output-dir is missing: name the run folder to make")
    if (graph is None) == (not data):
        raise ConfigError(
            "give either a graph folder or taxonomy files with --data, not both and not neither"
        )
    if graph is not None and graph.is_file():
        raise ConfigError(
            f"{graph} is a file, and a graph is a folder: give taxonomy files with --data {graph}"
        )
    if gpu is not None and device is not None:
        raise ConfigError("--gpu and --device say the same: leave one of them out")
    cut = {"root": root, "ranks": ranks, "drop_unclassified": drop_unclassified or None, "complete": complete}
    if graph is not None and (given := [name for name, value in cut.items() if value is not None]):
        raise ConfigError(
            f"--{given[0].replace('_', '-')} goes with --data: cut a graph folder with 'corollary graph subset'"
        )
    hinge = loss == "hinge" or (loss is None and (margin is not None or lambda_reg is not None))
    if loss == "softmax" and (margin is not None or lambda_reg is not None):
        raise ConfigError("--margin and --lambda-reg are of the hinge loss: leave --loss softmax out")
    if early_stopping is not None and held_out is None:
        held_out = 0.02
        say("early stopping: 2 % of the ancestor pairs are withheld to stop by (--held-out)")
    flags: dict[str, Any] = {
        "model.dim": dim,
        "model.held_out": held_out,
        "model.batch_size": batch_size,
        "model.negatives.count": n_negatives,
        "model.loss": "hinge" if hinge else loss,
        "model.margin": margin,
        "model.lambda_reg": lambda_reg,
        "model.placement.name": "depth" if hinge else None,
        "model.threads": threads,
        "model.relations": relation or None,
        "training.epochs": epochs,
        "training.early_stopping": early_stopping,
        "training.lr": lr,
        "seed": seed,
        "device": device if gpu is None else ("cpu" if gpu < 0 else f"cuda:{gpu}"),
        "memory_limit": memory_limit,
    }
    _run(graph, data, cut, output_dir, poincare_options(config, flags, settings), as_json)


def poincare_options(config: Path | None, flags: dict[str, Any], settings: list[str] | None) -> Any:
    """What a file, flags and --set say together."""
    from corollary.config import read_table, with_overrides
    from corollary.runs.config import from_record
    from corollary.runs.poincare.kind import PoincareRunConfig

    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    table = from_record(read_table(config), PoincareRunConfig) if config is not None else {}
    return PoincareRunConfig.build(
        with_overrides(table, [*given, *(settings or [])]), where=str(config or "options")
    )


def _run(
    graph: Path | None, data: Paths, cut: dict[str, Any], output: Path, options: Any, as_json: bool
) -> None:
    from corollary.runs.poincare.files import TaxonomyImportConfig, train_on_files
    from corollary.runs.poincare.kind import train_poincare

    display = TrainingDisplay()
    try:
        if graph is not None:
            run = train_poincare(graph, output, options, observer=display, say=say)
        else:
            files = taxonomy_files(data or [], cut)
            run = train_on_files(
                TaxonomyImportConfig.build(files), output, options, observer=display, say=say
            )
    finally:
        display.close()
    figures = run.folder.read_json("taxonomy.json")["sample"]
    if as_json:
        print_json({"run": str(run.path), "figures": figures})
    else:
        print_table(["figure", "sample"], [[name, value] for name, value in figures.items()])
        say(f"run folder: {run.path}    next: corollary analyze-taxonomy {run.path}")


def taxonomy_files(files: list[Path], cut: dict[str, Any]) -> dict[str, Any]:
    """Options of a taxonomy import from those of the command line."""
    values = {name: value for name, value in cut.items() if value is not None}
    if "ranks" in values:
        values["ranks"] = tuple(rank.strip() for rank in values["ranks"].split(","))
    return {"files": tuple(files), **values}
