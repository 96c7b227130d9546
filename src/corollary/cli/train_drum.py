"""`corollary train drum` and `corollary plan drum`."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corollary.cli.output import TrainingDisplay, print_json, print_table, say
from corollary.cli.rules import listed_names
from corollary.errors import ConfigError


def drum(
    graph: Annotated[Path | None, typer.Argument(help="A graph folder.")] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "--output", "-o", help="The run folder to make.")
    ] = None,
    datadir: Annotated[
        Path | None, typer.Option(help="A DRUM folder (facts.txt, train.txt, ...) or facts.pl and train.pl.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file, or the config.json of a run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as training.clip_norm=1.")
    ] = None,
    targets: Annotated[
        Path | None, typer.Option(help="A file with the relations to ask for, one a line.")
    ] = None,
    body_relations: Annotated[
        Path | None, typer.Option(help="A file with the relations that bodies may use, one a line.")
    ] = None,
    facts_only: Annotated[
        bool, typer.Option("--facts-only", help="Bodies use the relations of facts.txt alone.")
    ] = False,
    type_check: Annotated[
        bool, typer.Option("--type-check", help="A shortlist of 128 operators for each query.")
    ] = False,
    generated_queries: Annotated[
        bool,
        typer.Option(
            "--generated-queries", help="Queries from what relations are like: unseen ones can be asked."
        ),
    ] = False,
    rule_length: Annotated[int | None, typer.Option(help="Most atoms of a body.")] = None,
    num_step: Annotated[int | None, typer.Option(help="The same and one more, as DRUM counts.")] = None,
    rank: Annotated[int | None, typer.Option(help="Components that are added up.")] = None,
    query_embed_size: Annotated[int | None, typer.Option(help="Length of a query's vector.")] = None,
    lstm_size: Annotated[int | None, typer.Option(help="Length of an LSTM's state.")] = None,
    no_norm: Annotated[bool, typer.Option("--no-norm", help="Do not divide by what arrives in all.")] = False,
    dropout: Annotated[float | None, typer.Option(help="On the entities reached after every step.")] = None,
    num_epochs: Annotated[int | None, typer.Option(help="Passes over the queries.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Triples a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="First learning rate.")] = None,
    target_batch_size: Annotated[int | None, typer.Option(help="Targets in a group.")] = None,
    epochs_per_group: Annotated[int | None, typer.Option(help="Epochs before the next group's turn.")] = None,
    rotations: Annotated[int | None, typer.Option(help="Times that every group has its turn.")] = None,
    grouping: Annotated[
        Literal["random", "related"] | None, typer.Option(help="How targets are put into groups.")
    ] = None,
    independent: Annotated[
        bool, typer.Option("--independent", help="One model a target, by a pool of processes.")
    ] = False,
    processes: Annotated[int | None, typer.Option(help="With --independent: most at once.")] = None,
    max_relations: Annotated[int | None, typer.Option(help="Ask for so many targets alone, drawn.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, groups and draws.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 4GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train DRUM; its rules are counted and ranked beside it."""
    from corollary.graph.importing import ImportConfig
    from corollary.runs.drum.elsewhere import is_inductive
    from corollary.runs.drum.inductive import train_inductive
    from corollary.runs.drum.kind import train_drum

    if output_dir is None:
        raise ConfigError("--output-dir is missing: name the run folder to make")
    if (graph is None) == (datadir is None):
        raise ConfigError("give either a graph folder or --datadir, not both and not neither")
    flags: dict[str, Any] = {
        "model.rule_length": _length(rule_length, num_step),
        "model.components": rank,
        "model.query_embed_size": query_embed_size,
        "model.lstm_size": lstm_size,
        "model.normalise": False if no_norm else None,
        "model.dropout": dropout,
        "model.facts_only": facts_only or None,
        "model.generated": generated_queries or None,
        "model.shortlist": 128 if type_check else None,
        "model.body_relations": listed_names(body_relations),
        "model.batch_size": batch_size,
        "training.epochs": num_epochs,
        "training.lr": learning_rate,
        "groups.target_batch_size": target_batch_size,
        "groups.epochs_per_group": epochs_per_group,
        "groups.rotations": rotations,
        "groups.grouping": grouping,
        "targets": listed_names(targets),
        "max_relations": max_relations,
        "seed": seed,
        "device": device,
        "memory_limit": memory_limit,
    }
    if target_batch_size is None and any(x is not None for x in (epochs_per_group, rotations, grouping)):
        raise ConfigError("--epochs-per-group, --rotations and --grouping need --target-batch-size")
    if processes is not None and not independent:
        raise ConfigError("--processes needs --independent")
    options = drum_options(config, flags, settings)
    if independent:
        _independent(graph, datadir, output_dir, options, processes, as_json)
        return
    display = TrainingDisplay()
    try:
        if datadir is not None and is_inductive(datadir):
            run = train_inductive(datadir, output_dir, options, observer=display, say=say)
        else:
            source = graph or ImportConfig.build({"files": [str(datadir)]}, where="train drum")
            run = train_drum(source, output_dir, options, observer=display, say=say)
    finally:
        display.close()
    show_drum(run, as_json)


def _independent(
    graph: Path | None, datadir: Path | None, output: Path, options: Any, processes: int | None, as_json: bool
) -> None:
    """One model a target."""
    from corollary.runs.drum.independent import train_independent

    if graph is None:
        raise ConfigError(f"--independent needs a graph folder: corollary graph import {datadir} -o GRAPH")
    show_drum(train_independent(graph, output, options, processes=processes, say=say), as_json)


def drum_options(config: Path | None, flags: dict[str, Any], settings: list[str] | None) -> Any:
    """A file's options, then the flags that were given, then --set."""
    from corollary.config import read_table, with_overrides
    from corollary.runs.config import from_record
    from corollary.runs.drum.options import DrumOptions

    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    table = from_record(read_table(config), DrumOptions) if config is not None else {}
    return DrumOptions.build(
        with_overrides(table, [*given, *(settings or [])]), where=str(config or "options")
    )


def _length(rule_length: int | None, num_step: int | None) -> int | None:
    """The steps of a walk; DRUM's num_step is one more."""
    if num_step is None:
        return rule_length
    if rule_length is not None and rule_length != num_step - 1:
        raise ConfigError(
            f"--num-step {num_step} means rules of {num_step - 1} atoms, and --rule-length says {rule_length}"
        )
    return num_step - 1


def plan(
    graph: Annotated[Path, typer.Argument(help="A graph folder.")],
    config: Annotated[Path | None, typer.Option(help="A TOML file, or the config.json of a run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as model.components=6.")
    ] = None,
    rule_length: Annotated[int | None, typer.Option(help="Most atoms of a body.")] = None,
    rank: Annotated[int | None, typer.Option(help="Components that are added up.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Triples a step.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 4GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Bytes of a DRUM training with its rules by part; exits with the missing bytes where it cannot fit."""
    from corollary.cli.output import show_plan
    from corollary.graph.folder import Graph
    from corollary.runs.drum.kind import KIND

    flags = {"model.rule_length": rule_length, "model.components": rank, "model.batch_size": batch_size}
    options = drum_options(config, {**flags, "memory_limit": memory_limit}, settings)
    show_plan(KIND.plan(Graph.open(graph), options), as_json)


def show_drum(run: Any, as_json: bool) -> None:
    """The figures of the model and of its counted rules, side by side."""
    from corollary.runs.drum.concluding import figures_of

    figures = figures_of(run)
    if as_json:
        print_json({"run": str(run.path), "figures": figures})
        return
    if figures:
        names = list(dict.fromkeys(name for column in figures.values() for name in column))
        rows = [[name, *(column.get(name) for column in figures.values())] for name in names]
        print_table(["figure", *figures], rows)
    say(f"run folder: {run.path}    report: {run.path / 'report.html'}")
    say(f"next: corollary rules show {run.path}")
