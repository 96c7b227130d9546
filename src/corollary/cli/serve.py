"""`corollary serve`."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from corollary.cli.output import say
from corollary.errors import MissingExtra


def serve(
    runs: Annotated[list[Path], typer.Argument(help="Run folders on one graph, and taxonomies beside it.")],
    host: Annotated[
        str, typer.Option(help="Address to serve on; anyone who reaches it can ask.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: a free one.", min=0, max=65535)] = 8080,
    index: Annotated[
        Path | None, typer.Option(help="Folder of tracin index: influence over all training triples.")
    ] = None,
    graph: Annotated[Path | None, typer.Option(help="The graph folder, where it has moved.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep search index and explanations in for the next start.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", help="Most memory while scoring, such as 1GiB.")
    ] = None,
) -> None:
    """Search, ask and read explanations in a browser."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise MissingExtra("corollary serve needs the web extra: pip install 'corollary[web]'") from None
    from corollary.cli.serving import Models
    from corollary.runs.device import choose_device
    from corollary.web.app import create_app
    from corollary.web.serving import listen, run

    models = Models(
        runs, index=index, graph=graph, device=str(choose_device(device, say)), memory_limit=memory_limit
    )
    with ExitStack() as stack:
        folder = cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="corollary-")))
        site = models.site(folder)
        say("loading the models")
        models.warm()
        explanations = None
        if cache is not None:
            explanations = cache / "explanations"
            explanations.mkdir(parents=True, exist_ok=True)
        listening = listen(host, port)
        app = create_app(site, hosts=_names(host), cache=explanations)
        shown = f"[{host}]" if ":" in host else host
        say(f"serving {site.graph.name} on http://{shown}:{listening.getsockname()[1]} (Ctrl-C ends it)")
        run(app, listening)


def _names(host: str) -> list[str]:
    """Hosts that a browser may ask for: on all addresses of a machine, any."""
    return ["*"] if host in ("0.0.0.0", "::") else [f"[{host}]" if ":" in host else host.lower()]
