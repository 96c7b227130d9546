"""`corollary quickstart`."""

from pathlib import Path
from typing import Annotated

import typer

from corollary.cli.output import TrainingDisplay, console, print_json, print_table, say


def quickstart(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")] = Path("quickstart"),
    epochs: Annotated[int | None, typer.Option("--num-epochs", help="Fewer for a shorter look.")] = None,
    seed: Annotated[int, typer.Option(help="Of split, weights, order and dropout.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train on the world's countries, see the figures, ask for missing facts: about a minute."""
    from corollary.runs.quickstart import quickstart as start

    display = TrainingDisplay()
    try:
        result = start(output, epochs=epochs, seed=seed, device=device, observer=display, say=say)
    finally:
        display.close()
    run, predictions = result.run, result.predictions
    if as_json:
        evaluation = run.evaluation
        print_json(
            {
                "run": str(run.path),
                "evaluation": evaluation and evaluation.model_dump(mode="json"),
                "predictions": predictions.as_list(),
            }
        )
        return
    if run.evaluation is not None:
        figures = run.evaluation.metrics.values()
        print_table(["figure", "test"], [[name, value] for name, value in figures.items()])
    for prediction in predictions.predictions:
        best = [f"{a.label}{'' if a.known else ' (new)'}" for a in prediction.answers[:5]]
        console.print(f"{prediction.question}  {', '.join(best)}", markup=False, soft_wrap=True)
    console.print(
        f"\nReport: {run.path / 'report.html'}\n"
        "Try next:\n"
        f"  corollary predict {run.path} --head France --relation borders\n"
        f"  corollary evaluate {run.path} --per-relation\n"
        f"  corollary graph info {result.graph}\n"
        "  corollary graph import YOUR_FILES --output graph && corollary train conve graph --output-dir run",
        markup=False,
        soft_wrap=True,
    )
