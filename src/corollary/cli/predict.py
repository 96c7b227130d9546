"""`corollary predict`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corollary.cli.output import console, print_json, print_table, say
from corollary.errors import ConfigError

if TYPE_CHECKING:
    from corollary.runs.predicting import Question
    from corollary.runs.run import Run


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    head: Annotated[str | None, typer.Option(help="The head; leave it out to ask for it.")] = None,
    relation: Annotated[str | None, typer.Option(help="The relation.")] = None,
    tail: Annotated[str | None, typer.Option(help="The tail; leave it out to ask for it.")] = None,
    new_relation: Annotated[
        str | None, typer.Option(help="A relation that the run never saw (train drum --generated-queries).")
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option(help="With --new-relation: what is known of it, head<TAB>relation<TAB>tail."),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="A file of head<TAB>relation<TAB>tail with one side empty or '?'.")
    ] = None,
    k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Answers per question.")] = 10,
    new_only: Annotated[bool, typer.Option(help="Leave out what the graph holds already.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write to a .csv, .parquet or .json file instead.")
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="best, final or epoch-0003.")] = None,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """The most plausible answers to one question or a file of them; of a taxonomy, a node's ancestors and neighbours."""
    from corollary.runs.device import choose_device
    from corollary.runs.predicting import Question, check_format, read_questions, write_predictions
    from corollary.runs.predicting import predict as predict_run
    from corollary.runs.run import Run

    if queries is not None and (head or relation or tail or new_relation):
        raise ConfigError("give either --queries or one question, not both")
    if facts is not None and new_relation is None:
        raise ConfigError(
            "--facts are those of a --new-relation: facts of known relations belong in the graph"
        )
    if new_relation is not None and (relation or output or new_only):
        raise ConfigError("--new-relation goes with --head or --tail, --facts, --top-k and --json alone")
    if output is not None:
        check_format(output)
    used = str(choose_device(device, say))
    opened = Run.open(run, graph=graph, checkpoint=checkpoint, device=used, memory_limit=memory_limit)
    if opened.kind.name == "poincare":
        if head is None or relation or tail or queries or output or new_only:
            raise ConfigError(
                f"{run} is a taxonomy: ask for one node, as in --head NAME, and its ancestors and neighbours come"
            )
        _relatives(opened, head, k, as_json)
        return
    if new_relation is not None:
        if (head is None) == (tail is None):
            raise ConfigError("give one of --head and --tail: the other is what is asked for")
        _unseen(opened, Question(head, new_relation, tail), facts, k, as_json)
        return
    if queries is None and (relation is None or (head is None) == (tail is None)):
        raise ConfigError("give --relation and one of --head and --tail: the other is what is asked for")
    asked = read_questions(queries) if queries is not None else [Question(head, relation or "", tail)]
    found = predict_run(opened, asked, k=k, new_only=new_only)
    for prediction in found.predictions:
        if prediction.unanswered:
            say(
                f"nothing in {run} answers {prediction.question}: all scores are 0, and the order says nothing"
            )
    if output is not None:
        write_predictions(found, output)
        say(f"{len(found.predictions)} questions answered in {output}")
    elif as_json:
        print_json(found.as_list())
    else:
        for prediction in found.predictions:
            console.print(str(prediction.question), style="bold", markup=False)
            rows = [[*_named(asdict(answer)), _new(answer.known)] for answer in prediction.answers]
            print_table(["place", "label", "name", "score", ""], rows)


def _unseen(run: "Run", question: "Question", file: Path | None, count: int, as_json: bool) -> None:
    """What the model answers, and what rules counted on the facts answer, side by side."""
    from corollary.runs.drum.unseen import predict_unseen, read_facts

    facts = read_facts(file, question.relation) if file is not None else []
    found = predict_unseen(run, question, facts, k=count)
    if as_json:
        print_json(found.as_dict())
        return
    console.print(str(question), style="bold", markup=False)
    for title, lines, columns in (
        ("the model", found.model, ("body", "share")),
        (f"rules counted on {found.num_facts} facts", found.rules, ("rule", "support", "pairs")),
    ):
        if lines:
            console.print(title, markup=False)
            rows = [[*_named(line), *(line[name] for name in columns), _new(line["known"])] for line in lines]
            print_table(["place", "label", "name", "score", *columns, ""], rows)


def _named(answer: Mapping[str, Any]) -> list[Any]:
    """Place, label, name where it is another, score."""
    name = "" if answer["name"] == answer["label"] else answer["name"]
    return [answer["place"], answer["label"], name, answer["score"]]


def _new(known: bool) -> str:
    return "" if known else "new"


def _relatives(run: "Run", node: str, count: int, as_json: bool) -> None:
    """What the embedding of a taxonomy takes for the ancestors of a node, and the nodes nearest to it."""
    from corollary.cli.taxonomy import print_lines
    from corollary.runs.poincare import asking
    from corollary.runs.poincare.kind import Embedded

    embedded = Embedded.of(run)
    found = {
        "ancestors": asking.ancestors(embedded, node, count),
        "neighbours": asking.neighbours(embedded, node, count),
    }
    if as_json:
        print_json(found)
        return
    for name, lines in found.items():
        console.print(f"{name} of {node}", style="bold", markup=False)
        print_lines(lines)
