"""`corollary rules`: mine, show, import, apply."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corollary.cli.output import print_json, print_table, say
from corollary.cli.tracin_showing import bar
from corollary.errors import ConfigError, InputError

app = typer.Typer(help="Rules that hold when they are counted: find, print, exchange and apply them.")

Output = Annotated[
    Path | None, typer.Option("--output-dir", "--output", "-o", help="The run folder to make.")
]
Config = Annotated[Path | None, typer.Option(help="A TOML file, or the config.json of a run.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, such as mining.min_support=10.")
]
Targets = Annotated[
    Path | None, typer.Option("--targets", help="A file with the relations to find rules for, one a line.")
]
Memory = Annotated[str | None, typer.Option(help="Most resident memory, such as 4GiB.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
FormatName = Literal["text", "json", "tsv", "anyburl", "amie", "prolog"]


@app.command("mine")
def mine(
    graph: Annotated[Path, typer.Argument(help="A graph folder.")],
    output_dir: Output = None,
    config: Config = None,
    settings: Settings = None,
    targets: Targets = None,
    longest: Annotated[int | None, typer.Option(help="Steps of a chain, 1 to 3.")] = None,
    constants: Annotated[
        bool | None, typer.Option("--constants/--no-constants", help="Look for rules with constants too.")
    ] = None,
    min_support: Annotated[int | None, typer.Option(help="Least facts that a rule gives.")] = None,
    min_confidence: Annotated[float | None, typer.Option(help="Least standard confidence.")] = None,
    aggregation: Annotated[
        Literal["max", "maxplus", "noisy-or", "non-redundant"] | None,
        typer.Option(help="How rules become a score."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the facts and starts that are drawn.")] = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> None:
    """Find rules on the training triples, without any training, count them, and rank the test triples by them."""
    from corollary.runs.rules.kind import mine_rules

    flags = {
        "mining.longest": longest,
        "mining.constants": constants,
        "mining.min_support": min_support,
        "mining.min_confidence": min_confidence,
        "applying.aggregation": aggregation,
        "targets": listed_names(targets),
        "seed": seed,
        "memory_limit": memory_limit,
    }
    options = _options(config, flags, settings)
    place = _place(output_dir)
    with bar("entities to count from") as progress:
        run = mine_rules(graph, place, options, progress=progress, say=say)
    _shown(run, as_json)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="A file of rules: text, JSON lines, TSV, AnyBURL, AMIE or Prolog.")
    ],
    graph: Annotated[Path | None, typer.Option(help="The graph folder to count them on.")] = None,
    output_dir: Output = None,
    form: Annotated[
        FormatName | None, typer.Option("--format", help="Of the file; found out unless given.")
    ] = None,
    config: Config = None,
    settings: Settings = None,
    targets: Targets = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> None:
    """Read rules of this or another program and count them on a graph."""
    from corollary.runs.rules.kind import import_rules

    if graph is None:
        raise ConfigError("--graph is missing: name the graph folder to count the rules on")
    options = _options(config, {"targets": listed_names(targets), "memory_limit": memory_limit}, settings)
    place = _place(output_dir)
    with bar("entities to count from") as progress:
        run = import_rules(file, graph, place, options, form=form, progress=progress, say=say)
    _shown(run, as_json)


@app.command("show")
def show(
    run: Annotated[Path, typer.Argument(help="A run folder with rules.")],
    targets: Targets = None,
    relation: Annotated[list[str] | None, typer.Option(help="Rules for this relation alone.")] = None,
    min_support: Annotated[int, typer.Option(help="Least support.")] = 0,
    min_confidence: Annotated[float, typer.Option(help="Least Laplace confidence.")] = 0.0,
    sort: Annotated[
        Literal["laplace", "standard", "pca", "heldout", "weight", "support", "head_coverage"],
        typer.Option(help="What the best rules have most of."),
    ] = "laplace",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most rules; not given: 50 on the screen, all in a file.")
    ] = None,
    by_target: Annotated[
        bool, typer.Option("--by-target", help="Precision, recall and F1 of each target's best rule.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write them to this file.")] = None,
    form: Annotated[FormatName, typer.Option("--format", help="Of that file.")] = "text",
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    as_json: Json = False,
) -> None:
    """Print the rules of a run, filtered and sorted, or write them for another program."""
    from corollary.rules.files.writing import write_rules
    from corollary.runs.rules.kind import names_of
    from corollary.runs.rules.showing import quality_by_target, show_rules
    from corollary.runs.run import Run

    opened = Run.open(run, graph=graph)
    if by_target:
        frame = quality_by_target(opened)
        if as_json:
            print_json(frame.to_dict("records"))
        else:
            print_table([str(c) for c in frame.columns], frame.astype(object).to_numpy().tolist())
        return
    wanted = [*(listed_names(targets) or []), *(relation or [])]
    most = limit if limit is not None or output is not None or as_json else 50
    found = show_rules(
        opened,
        targets=wanted,
        least_support=min_support,
        least_confidence=min_confidence,
        sort=sort,
        limit=most,
    )
    if output is not None:
        write_rules(output, found.rules, names_of(opened.graph), form)
        say(f"{len(found.rules):,} rules written to {output} as {form}")
    elif as_json:
        print_json(json.loads(found.to_pandas().to_json(orient="records")))
    else:
        figures = ("laplace", "support", "pairs", "pca", "head_coverage", "heldout")
        frame = found.to_pandas()[[*dict.fromkeys((*figures, sort)), "rule"]]
        print_table([str(c) for c in frame.columns], frame.astype(object).to_numpy().tolist())


@app.command("apply")
def apply(
    run: Annotated[Path, typer.Argument(help="A run folder with rules.")],
    head: Annotated[str | None, typer.Option(help="Ask for tails of this head.")] = None,
    relation: Annotated[str | None, typer.Option(help="The relation to ask for.")] = None,
    tail: Annotated[str | None, typer.Option(help="Ask for heads of this tail.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Questions: head, relation, tail between tabs, one side ? or empty.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Answers a question.")] = 10,
    groundings: Annotated[int, typer.Option(min=0, help="Groundings shown of each rule.")] = 3,
    new_only: Annotated[bool, typer.Option("--new-only", help="Leave out what the graph holds.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write JSON lines to this file.")
    ] = None,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    as_json: Json = False,
) -> None:
    """Answer questions by rules, with the rules that fire and the facts by which they hold."""
    from corollary.runs.predicting import Question, read_questions
    from corollary.runs.rules.showing import apply_rules, write_applied
    from corollary.runs.run import Run

    if file is not None:
        questions = read_questions(file)
    elif relation is None or (head is None) == (tail is None):
        raise InputError("ask with --relation and one of --head and --tail, or with --file")
    else:
        questions = [Question(head, relation, tail)]
    opened = Run.open(run, graph=graph)
    records = apply_rules(opened, questions, k=top_k, groundings=groundings, new_only=new_only)
    if output is not None:
        say(f"{write_applied(output, records):,} answers written to {output}")
    elif as_json:
        print_json(list(records))
    else:
        answers = list(records)
        for record in answers:
            _print_answer(record)
        if not answers:
            say(f"no rule of {run} answers")


@app.command("combine")
def combine(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of drum on one graph.")],
    output_dir: Output = None,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> None:
    """Put runs of DRUM that cover different targets together; counted rules answer for what none covers."""
    from corollary.runs.drum.ensemble import EnsembleOptions, combine_drum

    options = EnsembleOptions(memory_limit=memory_limit)
    _shown(combine_drum(runs, _place(output_dir), options, graph=graph, say=say), as_json)


def plan(
    graph: Annotated[Path, typer.Argument(help="A graph folder.")],
    config: Config = None,
    settings: Settings = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> None:
    """Bytes of mining and counting rules by part; exits with the missing bytes where it cannot fit."""
    from corollary.cli.output import show_plan
    from corollary.graph.folder import Graph
    from corollary.runs.rules.kind import KIND

    options = _options(config, {"memory_limit": memory_limit}, settings)
    show_plan(KIND.plan(Graph.open(graph), options), as_json)


def _print_answer(record: dict[str, Any]) -> None:
    known = "  known" if record["known"] else ""
    typer.echo(
        f"{record['place']:>3}. {record['score']:.4f}  ({record['head']}, {record['relation']}, {record['tail']}){known}"
    )
    for reason in record["rules"]:
        typer.echo(
            f"       {reason['confidence']:.4f}  {reason['support']}/{reason['pairs']}  {reason['rule']}"
        )
        for facts in reason["groundings"]:
            typer.echo("           " + ", ".join(f"({', '.join(fact)})" for fact in facts))


def _options(config: Path | None, flags: dict[str, Any], settings: list[str] | None) -> Any:
    """A file's options, then the flags that were given, then --set."""
    from corollary.config import read_table, with_overrides
    from corollary.runs.config import from_record
    from corollary.runs.rules.options import RulesOptions

    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    table = from_record(read_table(config), RulesOptions) if config is not None else {}
    return RulesOptions.build(
        with_overrides(table, [*given, *(settings or [])]), where=str(config or "options")
    )


def listed_names(path: Path | None) -> list[str] | None:
    """The names in a file, one a line."""
    if path is None:
        return None
    try:
        names = [line.split("\t")[0].strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    names = [name for name in names if name]
    if not names:
        raise InputError(f"{path} is empty: expected the names of relations, one a line")
    return names


def _place(output: Path | None) -> Path:
    if output is None:
        raise ConfigError("--output-dir is missing: name the run folder to make")
    return output


def _shown(run: Any, as_json: bool) -> None:
    result, record = run.evaluation, run.folder.read_json("rules.json")
    if as_json:
        evaluation = result.model_dump(mode="json") if result is not None else None
        print_json({"run": str(run.path), "rules": record["rules"], "evaluation": evaluation})
        return
    if result is not None:
        print_table(["figure", "test"], [[name, value] for name, value in result.metrics.values().items()])
    say(f"{record['rules']:,} rules in {run.path}")
    say(f"next: corollary rules show {run.path}")
