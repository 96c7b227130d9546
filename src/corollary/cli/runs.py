"""`corollary runs`: import."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from corollary.cli.output import print_json, print_table, say

app = typer.Typer(help="Runs that another program made.", no_args_is_help=True)


@app.callback()
def runs() -> None:
    """Runs that another program made."""


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="Weights (.pt, .pth, .ckpt, .safetensors), or their folder.")
    ],
    graph: Annotated[Path, typer.Option(help="The graph folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder to make.")],
    entity_to_id: Annotated[
        Path | None, typer.Option(help="Labels and ids of entities that the model was trained with.")
    ] = None,
    relation_to_id: Annotated[
        Path | None, typer.Option(help="Labels and ids of relations that the model was trained with.")
    ] = None,
    inverse: Annotated[
        Literal["interleaved", "after", "none"] | None,
        typer.Option(
            help="Rows of inverse relations: 2r + 1, r + R, or none; not given: as the layout has it."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE that tensors cannot tell, such as model.label_smoothing=0.1."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a run folder of a ConvE trained elsewhere: with PyKEEN, a plain PyTorch script, or the authors' code."""
    from corollary.config import with_overrides
    from corollary.runs.importing import ImportRunConfig, import_run

    config = ImportRunConfig(entity_to_id=entity_to_id, relation_to_id=relation_to_id, inverse=inverse)
    options = with_overrides({}, settings or [])
    run = import_run(source, graph, output, config, options=options, say=say)
    imported = run.folder.config["imported"]
    if as_json:
        print_json({"run": str(run.path), "imported": imported})
        return
    model = run.config.model_dump(mode="json")
    rows = []
    for name, origin in imported["from"].items():
        value = model
        for part in name.split("."):
            value = value[part]
        rows.append([name, str(value), origin])
    print_table(["option", "value", "from"], rows)
    say(f"run folder: {run.path}")
    say(f"next: corollary evaluate {run.path}")
