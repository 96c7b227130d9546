"""`corollary explain`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from corollary.cli.output import say
from corollary.errors import ConfigError
from corollary.storage import write_text


def explain(
    given: Annotated[
        list[str], typer.Argument(metavar="RUNS... HEAD RELATION TAIL", help="Run folders, then the triple.")
    ],
    side: Annotated[
        Literal["tail", "head"], typer.Option(help="The end that counts as the answer.")
    ] = "tail",
    influence: Annotated[
        Literal["near", "all", "index"],
        typer.Option(help="Training triples looked at: sharing an end, all, or all through --index."),
    ] = "near",
    index: Annotated[Path | None, typer.Option(help="A folder that `tracin index` made.")] = None,
    rules: Annotated[int, typer.Option(min=0, help="Rules shown.")] = 10,
    paths: Annotated[int, typer.Option(min=0, help="Paths shown.")] = 10,
    ensemble: Annotated[
        Literal["reciprocal-rank", "calibrated"], typer.Option(help="How several runs become one ranking.")
    ] = "reciprocal-rank",
    without: Annotated[
        str,
        typer.Option(
            metavar="NUMBERS", help="Score again without these facts of the explanation, such as 1,5."
        ),
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this .json, .html or .txt file instead.")
    ] = None,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has been moved.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 1GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
) -> None:
    """One prediction and all its reasons: ranks, rules, influence, paths, neighbours, and how far to trust them."""
    from corollary.reports.explanation import as_html
    from corollary.reports.explanation_text import as_text
    from corollary.runs.explaining.explain import ExplainConfig, Explainer
    from corollary.runs.run import Run

    if len(given) < 4:
        raise ConfigError("give one run folder or more, then head, relation and tail")
    writers = {
        ".json": lambda found: found.model_dump_json(indent=1) + "\n",
        ".html": as_html,
        ".txt": as_text,
    }
    if output is not None and output.suffix not in writers:
        raise ConfigError(f"{output}: the name should end in {', '.join(writers)}")
    if (influence == "index") != (index is not None):
        raise ConfigError("--influence index and --index FOLDER go together")
    *folders, head, relation, tail = given
    runs = [Run.open(folder, graph=graph, memory_limit=memory_limit) for folder in folders]
    config = ExplainConfig.build(
        {
            "side": side, "influence": influence, "rules": rules, "paths": paths, "ensemble": ensemble,
            "without": [number.strip() for number in without.split(",") if number.strip()],
        }
    )  # fmt: skip
    explainer = Explainer(runs, config, index=index, memory_limit=memory_limit)
    found = explainer.explain(head, relation, tail, say=say)
    if output is not None:
        write_text(output, writers[output.suffix](found))
        say(f"written to {output}")
    elif as_json:
        print(found.model_dump_json(indent=1))
    else:
        print(as_text(found), end="")
