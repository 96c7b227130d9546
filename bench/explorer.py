"""Is the explorer quick enough on a graph of Hetionet's size, and does it stay up under load?

`python bench/explorer.py GRAPH` serves a graph folder without models in a process of its own: search index, entity
pages, the first page. Measured through a socket: seconds to make the index, the first page after the start, then pages
and completion one after the other; then searches at a fixed rate for a minute, with errors, times from when each was
due, and the memory of the server every second. What is typed is the beginnings of names, drawn with a seed, a third of
them of one or two letters.
Prints a table, appends one line to results/explorer.jsonl.
"""

import argparse
import asyncio
import multiprocessing
import random
import socket
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil

from corollary.budget import MIB
from corollary.cli.output import print_table, say
from corollary.graph.folder import Graph
from corollary.web.search import SearchIndex
from corollary.web.serving import listen

SEED = 0
WARM_SECONDS = 10
CONNECTIONS = 16


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, help="a graph folder, for the published figure one of Hetionet")
    parser.add_argument("--rate", type=int, default=200, help="searches a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args()
    graph = Graph.open(options.graph)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        SearchIndex.of(graph, Path(folder)).close()
        index_seconds = time.perf_counter() - begun
        index_bytes = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        listening = listen("127.0.0.1", 0)
        context = multiprocessing.get_context("spawn")
        server = context.Process(target=serve, args=(options.graph, folder, listening), daemon=True)
        begun = time.perf_counter()
        server.start()
        try:
            found = asyncio.run(
                measured(graph, listening.getsockname()[1], int(server.pid or 0), options, begun)
            )
        finally:
            server.terminate()
            server.join()
    from record import machine_line, write_line  # with torch, which the server is to do without

    line = {
        "bench": "explorer", "graph": graph.name, "num_entities": graph.num_entities,
        "num_train": graph.info.num_triples["train"], "index_seconds": round(index_seconds, 3),
        "index_bytes": index_bytes, **found, "seed": SEED, **machine_line(),
    }  # fmt: skip
    print_table(["what", "value"], [[key, value] for key, value in line.items()])
    write_line("explorer", line)


def serve(path: Path, folder: str, listening: socket.socket) -> None:
    """The page without models."""
    import uvicorn

    from corollary.web.app import create_app
    from corollary.web.site import Site

    graph = Graph.open(path)
    site = Site(graph, (), "bench", nobody, nobody, SearchIndex.of(graph, Path(folder)))
    uvicorn.Server(uvicorn.Config(create_app(site), log_level="error")).run(sockets=[listening])


def nobody(*_: Any) -> Any:
    """No model is asked here."""
    raise RuntimeError("no models")


async def measured(graph: Graph, port: int, pid: int, options: Any, begun: float) -> dict[str, Any]:
    """Times in milliseconds, memory in bytes."""
    client = Client(port)
    await client.get("/static/icon.svg")
    start_seconds = time.perf_counter() - begun
    first = await client.get("/")
    draw = random.Random(SEED)
    labels = [graph.entities.name(draw.randrange(graph.num_entities)) for _ in range(2000)]
    ids = [graph.entities.label(draw.randrange(graph.num_entities)) for _ in range(options.repeats)]
    typed = [f"/search.json?q={quote(beginning(draw, label))}" for label in labels]
    times = {
        "home": [await client.get("/") for _ in range(options.repeats)],
        "entity": [await client.get(f"/entity?id={quote(label)}") for label in ids],
        "completion": [await client.get(typed[at % len(typed)]) for at in range(3 * options.repeats)],
    }
    say(f"one after the other is done; now {options.rate} searches a second for {options.seconds} s")
    load = await loaded(port, typed, pid, options.rate, options.seconds)
    await client.close()
    found: dict[str, Any] = {"start_seconds": round(start_seconds, 3), "first_page_ms": first}
    for name, values in times.items():
        for quantile in (50, 99, 100):
            found[f"{name}_p{quantile}_ms"] = round(float(np.percentile(values, quantile)), 2)
    return found | load


def beginning(draw: random.Random, name: str) -> str:
    """What someone has typed of a name."""
    letters = draw.choice((1, 2, 3, 4, 6, 9))
    return name[:letters] or "a"


async def loaded(port: int, typed: list[str], pid: int, rate: int, seconds: int) -> dict[str, Any]:
    """Searches at a fixed rate: a slow answer does not slow down those after it."""
    clients: asyncio.Queue[Client] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        clients.put_nowait(Client(port))
    late: list[float] = []
    errors = 0

    async def one(number: int, due: float) -> None:
        nonlocal errors
        client = await clients.get()
        try:
            await client.get(typed[number % len(typed)])
            late.append(1000 * (time.perf_counter() - due))
        except (OSError, ValueError, asyncio.IncompleteReadError):
            errors += 1
        finally:
            clients.put_nowait(client)

    server, memory, tasks = psutil.Process(pid), [], []
    begun = time.perf_counter()
    for number in range(rate * seconds):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number, due)))
        if number % rate == 0:
            memory.append(server.memory_info().rss)
    await asyncio.gather(*tasks)
    elapsed = time.perf_counter() - begun
    while not clients.empty():
        await clients.get_nowait().close()
    steady = np.array(memory[WARM_SECONDS:]) if len(memory) > 2 * WARM_SECONDS else np.array(memory)
    slope = float(np.polyfit(np.arange(len(steady)) / 60, steady / MIB, 1)[0])
    return {
        "load_rate": rate, "load_seconds": round(elapsed, 1), "load_answered": len(late), "load_errors": errors,
        "load_p50_ms": round(float(np.percentile(late, 50)), 2), "load_p99_ms": round(float(np.percentile(late, 99)), 2),
        "server_bytes": int(memory[-1]), "server_mib_per_minute": round(slope, 3),
    }  # fmt: skip


class Client:
    """One connection that is kept open; a browser's cost is not ours to measure."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> float:
        """Milliseconds until the whole answer is there. Raises `ValueError` for any status but 200."""
        begun = time.perf_counter()
        while self._streams is None:
            try:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.01)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(
            int(line.split(":")[1])
            for line in head.lower().split("\r\n")
            if line.startswith("content-length:")
        )
        await reader.readexactly(length)
        if " 200 " not in head.split("\r\n", 1)[0]:
            raise ValueError(f"{path}: {head.splitlines()[0]}")
        return round(1000 * (time.perf_counter() - begun), 2)

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()
            self._streams = None


if __name__ == "__main__":
    main()
