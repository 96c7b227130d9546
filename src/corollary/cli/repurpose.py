"""`corollary repurpose`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corollary.cli.output import TrainingDisplay, print_json, print_table, say
from corollary.cli.tracin_showing import bar

if TYPE_CHECKING:
    from corollary.repurpose.config import RepurposeConfig
    from corollary.repurpose.pipeline import Repurposing

_SHOWN_ROWS, _SHOWN_ANSWERS = 5, 5


def repurpose(
    graph: Annotated[Path, typer.Argument(help="A graph folder with node types.")],
    relation: Annotated[
        str | None,
        typer.Option("--relation", "-r", help="The relation whose answers are listed, such as treats."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "--output-dir", "-o", help="Folder to make, or to go on with.")
    ] = Path("repurposing"),
    config: Annotated[
        Path | None, typer.Option(help="A TOML file, or the config.json of such a folder.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as classifier.depth=6.")
    ] = None,
    side: Annotated[
        Literal["head", "tail"] | None,
        typer.Option(
            help="head (not given: this) lists heads for every tail; tail lists tails for every head."
        ),
    ] = None,
    head_type: Annotated[
        str | None, typer.Option(help="Node type of the heads, where there are several.")
    ] = None,
    tail_type: Annotated[
        str | None, typer.Option(help="Node type of the tails, where there are several.")
    ] = None,
    negatives: Annotated[
        list[str] | None,
        typer.Option(help="A relation of pairs that are known not to be answers; may come several times."),
    ] = None,
    mark: Annotated[
        list[str] | None,
        typer.Option(help="A relation shown beside an answer, such as in_trials; may come several times."),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Held out for figures: rows (not given: this), random, areas or external; may come several times."
        ),
    ] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Parts of rows and random; 5.")] = None,
    embeddings: Annotated[
        Literal["hgt", "conve", "none"] | None, typer.Option(help="The learner that makes vectors; hgt.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="A run whose learner and options make them instead.")
    ] = None,
    embeddings_file: Annotated[
        Path | None, typer.Option(help="A .csv, .tsv or .parquet file of vectors instead.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="A run of rules or DRUM whose scores become features.")
    ] = None,
    top: Annotated[int | None, typer.Option("--top-k", "-k", min=1, help="Places in a list; 50.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of folds, negatives, learners and trees.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 4GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Ranked answers of a relation with calibrated probabilities and evidence, and how good they are."""
    from corollary.repurpose.pipeline import repurpose_graph

    flags = {
        "relation": relation, "pairs.side": side, "pairs.head_type": head_type, "pairs.tail_type": tail_type,
        "pairs.negatives": negatives, "pairs.marks": mark, "splitting.schemes": split, "splitting.folds": folds,
        "embeddings.learner": embeddings, "embeddings.run": run and str(run),
        "embeddings.file": embeddings_file and str(embeddings_file), "rules": rules and str(rules), "top": top,
        "seed": seed, "memory_limit": memory_limit,
    }  # fmt: skip
    options = _options(config, flags, settings)
    display = TrainingDisplay()
    try:
        with bar("folds") as move:
            found = repurpose_graph(graph, output, options, observer=display, progress=move, say=say)
    finally:
        display.close()
    _show(found, as_json)


def _options(config: Path | None, flags: dict[str, Any], settings: list[str] | None) -> "RepurposeConfig":
    """A file's options, then the flags that were given, then --set."""
    from corollary.config import read_table, with_overrides
    from corollary.errors import ConfigError
    from corollary.repurpose.config import RepurposeConfig

    table = read_table(config) if config is not None else {}
    table = table.get("options", {name: value for name, value in table.items() if name != "recipe"})
    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    values = with_overrides(table, [*given, *(settings or [])])
    if "relation" not in values:
        raise ConfigError("--relation is missing: name the relation whose answers are listed")
    return RepurposeConfig.build(values, where=str(config or "options"))


def _show(found: "Repurposing", as_json: bool) -> None:
    """Figures beside each other, the first lists, where the rest lies."""
    if as_json:
        figures = {name: scheme.model_dump(mode="json") for name, scheme in found.figures.items()}
        print_json({"output": str(found.path), "figures": figures})
        return
    for name, scheme in found.figures.items():
        first = next(iter(scheme.scores.values())).figures
        names = [figure for figure in first if not figure.startswith("recall")]
        rows = [
            [score, *(judged.figures[figure].value for figure in names)]
            for score, judged in scheme.scores.items()
        ]
        print_table([name, *names], rows)
        say(scheme.comparison.sentence)
    table = found.to_pandas()
    row = table.columns[0]
    listed = table[table[row].isin(table[row].unique()[:_SHOWN_ROWS]) & (table["rank"] <= _SHOWN_ANSWERS)]
    shown = [table.columns[1], "rank", table.columns[4], "probability", "normalised_rank", "known"]
    print_table(shown, listed[shown].to_numpy().tolist())
    say(f"all lists: {found.path / 'lists'}")
