"""`corollary plan`: what a training will use, before any work."""

from pathlib import Path
from typing import Annotated

import typer

from corollary.cli.output import show_plan
from corollary.cli.rules import plan as rules_plan
from corollary.cli.train import conve_options
from corollary.cli.train_drum import plan as drum_plan
from corollary.cli.train_hgt import plan_hgt
from corollary.cli.train_poincare import poincare_options

app = typer.Typer(help="Say what a training will use, by part, and how it would fit a memory limit.")


@app.command("conve")
def conve(
    graph: Annotated[Path, typer.Argument(help="A graph folder.")],
    config: Annotated[Path | None, typer.Option(help="A TOML file, or the config.json of a run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as training.clip_norm=1.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Queries per optimiser step.")] = None,
    embedding_dim: Annotated[int | None, typer.Option(help="Length of an embedding.")] = None,
    output_channels: Annotated[int | None, typer.Option(help="Feature maps of the convolution.")] = None,
    use_mixed_precision: Annotated[bool, typer.Option("--use-mixed-precision")] = False,
    use_gradient_checkpointing: Annotated[bool, typer.Option("--use-gradient-checkpointing")] = False,
    disable_memory_cleanup: Annotated[bool, typer.Option("--disable-memory-cleanup")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 4GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Bytes of a ConvE training by part; exits with the missing bytes where it cannot fit."""
    from corollary.graph.folder import Graph
    from corollary.messages import silent
    from corollary.runs.conve import plan_conve
    from corollary.runs.device import choose_device

    flags = {
        "model.batch_size": batch_size,
        "model.embedding_dim": embedding_dim,
        "model.channels": output_channels,
        "optimizations.use_mixed_precision": use_mixed_precision or None,
        "optimizations.use_gradient_checkpointing": use_gradient_checkpointing or None,
        "optimizations.enable_memory_cleanup": False if disable_memory_cleanup else None,
        "device": device,
        "memory_limit": memory_limit,
    }
    options = conve_options(config, flags, settings)
    show_plan(plan_conve(Graph.open(graph), options, device=choose_device(options.device, silent)), as_json)


@app.command("poincare")
def poincare(
    graph: Annotated[Path, typer.Argument(help="A graph folder with a taxonomy.")],
    config: Annotated[Path | None, typer.Option(help="A TOML file, or the config.json of a run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as model.closed=false.")
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Length of an embedding.")] = None,
    held_out: Annotated[float | None, typer.Option(help="Share of pairs withheld.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most resident memory, such as 2GiB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Bytes of a taxonomy's training by part; exits with the missing bytes where it cannot fit."""
    from corollary.graph.folder import Graph
    from corollary.runs.poincare.kind import KIND

    flags = {"model.dim": dim, "model.held_out": held_out, "memory_limit": memory_limit}
    show_plan(KIND.plan(Graph.open(graph), poincare_options(config, flags, settings)), as_json)


app.command("drum")(drum_plan)
app.command("hgt")(plan_hgt)
app.command("rules")(rules_plan)
