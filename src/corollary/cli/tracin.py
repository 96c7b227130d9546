"""`corollary tracin run` and `corollary tracin index`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corollary.cli import tracin_asking as asking
from corollary.cli import tracin_showing as showing
from corollary.cli import tracin_verify
from corollary.cli.output import say
from corollary.errors import ConfigError

app = typer.Typer(help="Which training triples made the model say this.", no_args_is_help=True)


app.command("verify")(tracin_verify.verify_command)


@app.callback()
def tracin() -> None:
    """Which training triples made the model say this."""


@app.command("run")
def run_command(
    context: typer.Context,
    run: Annotated[Path | None, typer.Argument(help="A run folder.")] = None,
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
        Path | None,
        typer.Option(
            "--triples",
            "--test",
            help="Ask about these: a file of head<TAB>relation<TAB>tail; a fourth column is what the answer is compared "
            "with.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Ask about triples of this split.")] = "test",
    test_indices: Annotated[
        str | None, typer.Option(help="Only these of them, counted from 0: 0,5,10-19.")
    ] = None,
    start_index: Annotated[int, typer.Option(min=0, help="Leave out those before this one.")] = 0,
    max_test_triples: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    measure: Annotated[
        Literal["tracin", "output", "output-kfac", "cosine", "adam"],
        typer.Option(help="tracin, or a score that is not TracIn but ranks triples too (see the docs)."),
    ] = "tracin",
    target: Annotated[
        Literal["loss", "score"], typer.Option(help="Influence on the triple's loss, or on its score.")
    ] = "loss",
    instead_of: Annotated[str | None, typer.Option(help="Why the answer rather than this entity?")] = None,
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
    candidates: Annotated[
        Path | None, typer.Option("--candidates", "--train", help="Only these training triples: a file.")
    ] = None,
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
    ensemble: Annotated[
        list[Path] | None,
        typer.Option(help="The mean with this run on the same graph; may come several times."),
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Choose candidates by an index that 'tracin index' made.")
    ] = None,
    by_entity: Annotated[bool, typer.Option(help="Sum influence around every entity too.")] = False,
    by_path: Annotated[
        bool, typer.Option(help="Sum influence over paths of two and three triples from head to tail too.")
    ] = False,
    suspicious_by: Annotated[
        Literal["loss", "self_influence"], typer.Option(help="Order of --mode self.")
    ] = "loss",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write all of it as JSON.")] = None,
    csv_output: Annotated[
        Path | None, typer.Option(help="Write a row an influence: .csv or .parquet.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw how influences are distributed: an .svg file.")
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
        int | None, typer.Option(min=1, help="Training triples that go by together; not given: 512.")
    ] = None,
    use_mixed_precision: Annotated[bool, typer.Option(help="Products with bf16 factors.")] = False,
    use_gradient_checkpointing: Annotated[
        bool, typer.Option(help="Make feature maps again in place of holding those of a block.")
    ] = False,
    use_last_layers_only: Annotated[
        bool, typer.Option(help="The output layer alone: the same as --measure output; not TracIn.")
    ] = False,
    model_path: Annotated[
        Path | None, typer.Option(help="A run folder, or a checkpoint in one, in place of RUN.")
    ] = None,
    entity_to_id: Annotated[
        Path | None, typer.Option(help="Labels and ids of entities: compared with those of the run's graph.")
    ] = None,
    relation_to_id: Annotated[Path | None, typer.Option(help="The same of relations.")] = None,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    device: Annotated[str, typer.Option(help="cpu, auto, cuda, cuda:1.")] = "cpu",
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Exact influence of the training triples on test triples, or on any other triple."""
    from corollary.runs.device import choose_device
    from corollary.runs.run import Run
    from corollary.runs.tracing.config import TracInConfig
    from corollary.runs.tracing.files import check_table
    from corollary.runs.tracing.results import renamed
    from corollary.runs.tracing.tracin import suspects
    from corollary.runs.tracing.tracin import tracin as trace

    if csv_output is not None:
        check_table(csv_output)
    if skip_existing and output_per_triple is None:
        raise ConfigError("--skip-existing goes with --output-per-triple")
    asking.refuse_unused(context, mode, asked_for_file=triples is not None, indexed=index is not None)
    if plot is not None and plot.suffix != ".svg":
        raise ConfigError(f"--plot {plot}: the name should end in .svg")
    if use_last_layers_only and measure != "tracin":
        raise ConfigError("give either --use-last-layers-only or --measure")
    place, named = asking.run_folder(run, model_path)
    checkpoints = tuple(checkpoint or ([named] if named else []))
    options: dict[str, Any] = {
        "measure": "output" if use_last_layers_only else measure,
        "target": target,
        "side": side,
        "deletion": deletion,
        "top_k": asking.top_k(top_k),
        "checkpoints": checkpoints,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "within_hops": within_hops,
        "relations": tuple(relations or ()),
        "by_checkpoint": by_checkpoint,
        "by_entity": by_entity,
        "by_path": by_path,
        "distribution": plot is not None,
        "recompute": use_gradient_checkpointing,
        "use_mixed_precision": use_mixed_precision,
    }
    used = str(choose_device(device, say)) if device != "cpu" else "cpu"
    opened = Run.open(place, graph=graph, device=used)
    others = [Run.open(other, graph=graph, device=used) for other in ensemble or ()]
    asking.check_ids(opened, entity_to_id, relation_to_id)
    rows = asking.candidates(opened, candidates)
    if mode == "self":
        with showing.bar("training triples") as bar:
            found = suspects(
                opened, TracInConfig.build(options, where="tracin run"), by=suspicious_by, candidates=rows,
                ensemble=others, memory_limit=memory_limit, progress=bar,
            )  # fmt: skip
        showing.suspects(found, output, csv_output, as_json)
        return
    questions = asking.questions(opened, mode, (head, relation, tail), triples, split, instead_of, side)
    questions = questions.chosen(test_indices, start_index, max_test_triples)
    places = questions.places(output_per_triple)
    if skip_existing:
        kept = [i for i, place in enumerate(places) if place is not None and not place.exists()]
        say(f"{len(places) - len(kept)} of {len(places)} triples have their file already")
        if not kept:
            return
        questions, places = questions.some(kept), [places[i] for i in kept]
    if questions.rivals is not None:
        if target == "score":
            raise ConfigError("to compare answers is a target of its own: leave out --target score")
        options["target"] = "contrast"
    config = TracInConfig.build(options, where="tracin run")
    if config.measure != "tracin":
        say(f"measure {config.measure}: this is not TracIn")
    target_file = output or csv_output or output_per_triple
    with showing.bar("training triples") as bar:
        if index is not None:
            from corollary.runs.tracing.indexed import tracin_by_index

            result = tracin_by_index(
                opened, questions.triples, index, config, rivals=questions.rivals, candidates=rows,
                memory_limit=memory_limit, progress=bar,
            )  # fmt: skip
        else:
            result = trace(
                opened, questions.triples, config, rivals=questions.rivals, candidates=rows, ensemble=others,
                memory_limit=memory_limit, progress=bar, say=say,
                state=None if target_file is None else target_file.with_name(f"{target_file.name}.progress"),
            )  # fmt: skip
    result = renamed(result, *asking.names(opened, node_name_dict, edge_map))
    showing.write(result, output, csv_output, plot, places)
    showing.show(result, as_json, quiet=target_file is not None)


@app.command("index")
def index_command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The index; not given: RUN/index.")
    ] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="Of these; not given: those kept for good, else best.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="In place of the checkpoints' own.")] = None,
    deletion: Annotated[
        Literal["example", "label"] | None,
        typer.Option(help="What a training triple stands for; not given: as the run was trained."),
    ] = None,
    components: Annotated[
        int, typer.Option(min=1, help="Numbers that feature maps and small gradients are projected to.")
    ] = 256,
    samples: Annotated[int, typer.Option(min=1, help="Triples that recall is measured on.")] = 8,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Store what the training triples' gradients are made of, so that single questions are answered in seconds."""
    from corollary.runs.run import Run
    from corollary.runs.tracing.index import IndexConfig, build_index

    opened = Run.open(run, graph=graph)
    config = IndexConfig.build(
        {
            "checkpoints": tuple(checkpoint or ()),
            "learning_rate": learning_rate,
            "deletion": deletion,
            "components": components,
            "samples": samples,
        },
        where="tracin index",
    )
    with showing.bar("training examples") as bar:
        made = build_index(
            opened, output or run / "index", config, memory_limit=memory_limit, progress=bar, say=say
        )
    showing.index(made, as_json)
