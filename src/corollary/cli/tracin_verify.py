"""`corollary tracin verify`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corollary.cli import tracin_asking as asking
from corollary.cli.output import print_json, print_table, say
from corollary.cli.tracin_showing import bar
from corollary.errors import ConfigError

if TYPE_CHECKING:
    from corollary.runs.verifying.results import Datamodel, Deletion, Planted, Truth, Verification


def verify_command(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the retrainings and of verification.json.")
    ],
    study: Annotated[
        list[str] | None,
        typer.Option(
            help="deletion (not given: this): train without the strongest triples of all targets; one-at-a-time: of one "
            "target after the other; datamodel: train on halves; planted: find wrong triples. May come several times."
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Where do these true edges rank? A file of head<TAB>relation<TAB>tail, the target's three in front or not."
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            help="tracin, output, output-kfac, cosine or adam; not given: tracin and output-kfac. May come several times."
        ),
    ] = None,
    triples: Annotated[
        Path | None, typer.Option(help="The targets: a file of head<TAB>relation<TAB>tail.")
    ] = None,
    targets: Annotated[
        int | None,
        typer.Option(min=1, help="Targets that are drawn where none are given: triples ranked first; 50."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="They are drawn from this split; test.")] = None,
    side: Annotated[
        Literal["both", "tail", "head"], typer.Option(help="The answer of a target that is asked about.")
    ] = "both",
    top_k: Annotated[
        list[int] | None,
        typer.Option(
            "--top-k", "-k", min=1, help="Triples taken out for each target; 1 and 5. May come several times."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Retrainings of everything but halves; 3.")] = None,
    subsets: Annotated[int | None, typer.Option(min=4, help="Halves of --study datamodel; 40.")] = None,
    retrainings: Annotated[int | None, typer.Option(min=1, help="Of each half; 2.")] = None,
    planted: Annotated[float | None, typer.Option(help="Share of --study planted; 0.1.")] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="Sum influence over these; not given: as tracin run does.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="In place of the checkpoints' own.")] = None,
    ensemble: Annotated[
        list[Path] | None, typer.Option(help="Another run on the graph, to average influence with.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of targets, controls, halves, plantings.")] = 0,
    table: Annotated[Path | None, typer.Option(help="Write all tables as one: .csv or .parquet.")] = None,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Does influence foretell what retraining does? Deletion, halves, planted errors, known edges, with their controls."""
    from corollary.runs.run import Run
    from corollary.runs.tracing.files import check_table
    from corollary.runs.verifying.results import write_verification_table
    from corollary.runs.verifying.verify import VerifyConfig, verify

    if table is not None:
        check_table(table)
    studies: list[str] = list(study or ([] if truth else ["deletion"])) + (["truth"] if truth else [])
    values = {
        "studies": tuple(studies),
        "measures": tuple(measure) if measure else None,
        "side": side,
        "num_targets": targets,
        "split": split,
        "top_k": tuple(top_k) if top_k else None,
        "seeds": seeds,
        "subsets": subsets,
        "retrainings": retrainings,
        "planted": planted,
        "checkpoints": tuple(checkpoint or ()),
        "learning_rate": learning_rate,
        "seed": seed,
    }
    config = VerifyConfig.build({k: v for k, v in values.items() if v is not None}, where="tracin verify")
    _refuse_unused(context, studies, drawn=triples is None)
    opened = Run.open(run, graph=graph)
    given = None
    if triples is not None:
        given = asking.questions(opened, "test", (None, None, None), triples, "test", None, None).triples
    others = [Run.open(other, graph=opened.graph.path) for other in ensemble or ()]
    with bar("retrainings") as progress:
        found = verify(
            opened, output, config, targets=given, truth=truth, ensemble=others,
            memory_limit=memory_limit, progress=progress, say=say,
        )  # fmt: skip
    if table is not None:
        write_verification_table(found, table)
    _show(found, output, as_json)


MEANT_FOR = {
    "top_k": {"deletion", "one-at-a-time"},
    "seeds": {"deletion", "one-at-a-time", "planted"},
    "subsets": {"datamodel"},
    "retrainings": {"datamodel"},
    "planted": {"planted"},
    "measure": {"deletion", "one-at-a-time", "datamodel", "truth"},
    "ensemble": {"deletion", "one-at-a-time", "datamodel", "truth"},
    "triples": {"deletion", "one-at-a-time", "datamodel", "truth"},
    "targets": {"deletion", "one-at-a-time", "datamodel", "truth"},
    "split": {"deletion", "one-at-a-time", "datamodel", "truth"},
}
"""Options that only some studies look at."""


def _refuse_unused(context: typer.Context, studies: Sequence[str], *, drawn: bool) -> None:
    """Raises `ConfigError` for an option that was given and would not be looked at."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    for name, meant in MEANT_FOR.items():
        if name in given and not meant & set(studies):
            raise ConfigError(f"--{name.replace('_', '-')} has no meaning for {', '.join(studies)}")
    if not drawn and (odd := given & {"targets", "split"}):
        raise ConfigError(f"--{min(odd)} has no meaning with --triples")


def _show(found: "Verification", output: Path, as_json: bool) -> None:
    if as_json:
        print_json(found.as_dict())
        return
    if found.targets:
        count = len(found.targets)
        say(
            f"{count} {'target' if count == 1 else 'targets'}, asked for {' and '.join(found.sides)}; intervals are of 95 %"
        )
    if found.deletion is not None:
        _show_deletion(found.deletion, "All targets' triples taken out at once")
    if found.one_at_a_time is not None:
        _show_deletion(found.one_at_a_time, "One target's triples taken out at a time")
    if found.datamodel is not None:
        _show_datamodel(found.datamodel)
    if found.planted is not None:
        _show_planted(found.planted)
    if found.truth is not None:
        _show_truth(found.truth)
    say(f"everything: {output / 'verification.json'}")


def _show_deletion(found: "Deletion", title: str) -> None:
    rows: list[list[Any]] = [
        [
            "(the run itself)",
            None,
            None,
            f"{found.before['mrr']:.3f}",
            f"{found.before['hits_at_1']:.3f}",
            "",
            "",
            "",
        ]
    ]
    rows += [
        [
            row.removed_by, row.k or None, f"{row.removed:g}", str(row.mrr), f"{row.hits_at_1.value:.3f}",
            str(row.change or ""), str(row.beyond.get("random neighbours", "")),
            "" if row.clear is None else "yes" if row.clear else "no",
        ]
        for row in found.rows
    ]  # fmt: skip
    columns = [
        "taken out by", "k", "triples", "MRR of targets", "H@1", "change from nothing", "from random neighbours",
        "below every control",
    ]  # fmt: skip
    print_table(columns, rows, title=title)


def _show_datamodel(found: "Datamodel") -> None:
    rows = [[row.score, str(row.lds), str(row.beyond_shared or "")] for row in found.rows]
    if found.ceiling is not None:
        rows.append(["(noise ceiling)", f"{found.ceiling.score:.3f}", ""])
    title = f"Linear-datamodelling score, {found.subsets} halves trained {found.retrainings} times"
    print_table(["score", "agreement with retraining", "above shared"], rows, title=title)


def _show_planted(found: "Planted") -> None:
    rows = [[row.score, str(row.area_under_curve), *row.recall.values()] for row in found.rows]
    columns = ["score", "area under curve", *(f"found in first {share}" for share in found.rows[0].recall)]
    print_table(columns, rows, title=f"{found.wrong:,} planted wrong triples")
    say(f"{found.best} found most")


def _show_truth(found: "Truth") -> None:
    rows = [[row.score, str(row.mrr), str(row.mean_average_precision)] for row in found.rows]
    title = f"{found.edges:g} true edges a target, {found.targets} targets"
    print_table(["score", "MRR", "mean average precision"], rows, title=title)
