"""How long does `corollary graph import` take on large files, and does it stay under `--memory-limit`?

`python bench/import_scale.py` makes files of 20 million edges and 2 million nodes, as TSV and as KGX JSON lines (nodes
with name and category), always the same ones, in a temporary folder; imports them with the command; samples the
resident memory of its whole process tree; and removes everything. Heads and tails follow skewed distributions, so the
graph has hubs. `--growth` does the same for 2, 5 and 20 million edges with a tenth as many nodes.
Prints a table, appends one line an import to results/import_scale.jsonl.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from corollary.budget import parse_bytes, show_bytes
from corollary.cli.output import print_table, say
from record import machine_line, write_line

SEED, RELATIONS, SOURCES, CATEGORIES = 0, 24, 5, 9
_LINES = 1 << 19  # made at a time
_NAMES = 7  # digits of a node's label


def main() -> None:
    """Make, import, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=20_000_000)
    parser.add_argument("--nodes", type=int, default=2_000_000)
    parser.add_argument("--format", choices=("tsv", "kgx", "both"), default="both")
    parser.add_argument("--memory-limit", default="1GiB")
    parser.add_argument("--growth", action="store_true", help="2, 5 and 20 million edges")
    parser.add_argument(
        "--folder", type=Path, help="where there is room for about 10 GB; the temporary folder"
    )
    options = parser.parse_args()
    formats = ("tsv", "kgx") if options.format == "both" else (options.format,)
    edges = (2_000_000, 5_000_000, 20_000_000) if options.growth else (options.edges,)
    sizes = [(size, size // 10 if options.growth else options.nodes) for size in edges]
    lines = []
    for kind in formats:
        for num_edges, num_nodes in sizes:
            with tempfile.TemporaryDirectory(prefix="import-scale-", dir=options.folder) as folder:
                lines.append(measure(kind, num_edges, num_nodes, options.memory_limit, Path(folder)))
            write_line("import_scale", lines[-1])
    print_table(
        ["format", "edges", "nodes", "seconds", "edges/s", "processor s", "limit", "peak", "input", "folder", "most disk"],
        [
            [
                line["format"], f"{line['edges']:,}", f"{line['nodes']:,}", round(line["seconds"], 1),
                f"{line['edges_per_second']:,.0f}", round(line["processor_seconds"], 1),
                *(show_bytes(line[name]) for name in
                  ("limit_bytes", "peak_bytes", "input_bytes", "folder_bytes", "most_disk_bytes")),
            ]
            for line in lines
        ],
    )  # fmt: skip
    say("disk is what lies beside the input at the same time: the hidden database, then the folder")


def measure(kind: str, num_edges: int, num_nodes: int, limit: str, folder: Path) -> dict[str, Any]:
    """One import, in a process of its own."""
    inputs, work = folder / "in", folder / "out"
    inputs.mkdir()
    work.mkdir()
    files = (
        make_tsv(inputs, num_edges, num_nodes) if kind == "tsv" else make_kgx(inputs, num_edges, num_nodes)
    )
    os.sync()  # the disk does not write the input while the import is timed
    command = [shutil.which("corollary", path=Path(sys.executable).parent) or "corollary"]
    command += ["graph", "import", *files, "--output", str(work / "graph"), "--memory-limit", limit]
    load, before = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE)
    peak, disk = watch(process.pid, work)
    output, _ = process.communicate()
    seconds = time.perf_counter() - begun
    assert process.returncode == 0, f"{command} failed"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    made = json.loads(output)
    return {
        **machine_line(), "format": kind, "edges": num_edges, "nodes": num_nodes, "seed": SEED,
        "triples": made["num_triples"]["train"], "entities": made["num_entities"], "fingerprint": made["fingerprint"],
        "seconds": seconds, "edges_per_second": num_edges / seconds,
        "processor_seconds": used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime,
        "limit_bytes": parse_bytes(limit), "peak_bytes": peak,
        "input_bytes": bytes_in(inputs), "folder_bytes": bytes_in(work), "most_disk_bytes": disk,
        "load_before": load, "load_after": os.getloadavg()[0], "cores": os.cpu_count(),
    }  # fmt: skip


def watch(pid: int, folder: Path) -> tuple[int, int]:
    """Most resident memory of a process with its children, and most bytes in a folder, until it ends."""
    process, peak, disk, tick = psutil.Process(pid), 0, 0, 0
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        try:
            tree = [process, *process.children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in tree))
        except psutil.Error:  # one of them has ended
            continue
        if tick % 25 == 0:
            disk = max(disk, bytes_in(folder))
        tick += 1
        time.sleep(0.02)
    return peak, disk


def bytes_in(folder: Path) -> int:
    """Of all files; what has two names counts once."""
    found = {}
    for path in folder.rglob("*"):
        try:
            entry = path.lstat()
        except FileNotFoundError:  # it went while we looked
            continue
        found[entry.st_ino] = entry.st_size
    return sum(found.values())


def make_tsv(folder: Path, num_edges: int, num_nodes: int) -> list[str]:
    """Head, relation, tail, as a table without a header."""
    with (folder / "edges.tsv").open("wb") as file:
        for head, relation, tail, _ in edges(num_edges, num_nodes):
            parts = (
                b"NODE:",
                (head, _NAMES),
                b"\tbiolink:relation_",
                (relation, 2),
                b"\tNODE:",
                (tail, _NAMES),
                b"\n",
            )
            file.write(lines_of(parts, len(head)))
    return [str(folder / "edges.tsv")]


def make_kgx(folder: Path, num_edges: int, num_nodes: int) -> list[str]:
    """Nodes with name and two categories; edges with an id, a source and a field that is not read."""
    with (folder / "edges.jsonl").open("wb") as file:
        for head, relation, tail, row in edges(num_edges, num_nodes):
            parts = (
                b'{"id": "uuid:', (row, 10), b'", "subject": "NODE:', (head, _NAMES),
                b'", "predicate": "biolink:relation_', (relation, 2), b'", "object": "NODE:', (tail, _NAMES),
                b'", "primary_knowledge_source": "infores:source_', (relation % SOURCES, 1),
                b'", "knowledge_level": "knowledge_assertion"}\n',
            )  # fmt: skip
            file.write(lines_of(parts, len(head)))
    with (folder / "nodes.jsonl").open("wb") as file:
        for first in range(0, num_nodes, _LINES):
            node = np.arange(first, min(first + _LINES, num_nodes))
            parts = (
                b'{"id": "NODE:', (node, _NAMES), b'", "name": "name of node ', (node, _NAMES),
                b'", "category": ["biolink:NamedThing", "biolink:Category_', (node % CATEGORIES, 1), b'"]}\n',
            )  # fmt: skip
            file.write(lines_of(parts, len(node)))
    return [str(folder / "edges.jsonl"), "--nodes", str(folder / "nodes.jsonl")]


def edges(num_edges: int, num_nodes: int) -> Any:
    """Heads, relations, tails and rows, some at a time; low ranks are drawn far more often, and scattered over the ids."""
    rng = np.random.default_rng(SEED)
    for first in range(0, num_edges, _LINES):
        size = min(_LINES, num_edges - first)
        head, relation, tail = (
            (count * rng.random(size) ** power).astype(np.int64)
            for count, power in ((num_nodes, 3), (RELATIONS, 2), (num_nodes, 2))
        )
        yield head * 7919 % num_nodes, relation, tail * 7919 % num_nodes, np.arange(first, first + size)


def lines_of(parts: Sequence[Any], count: int) -> bytes:
    """Lines of fixed texts and of numbers with so many digits, made at once."""
    columns = []
    for part in parts:
        if isinstance(part, bytes):
            columns.append(np.broadcast_to(np.frombuffer(part, np.uint8), (count, len(part))))
        else:
            numbers, digits = part
            columns.append(
                (numbers[:, None] // 10 ** np.arange(digits)[::-1] % 10 + ord("0")).astype(np.uint8)
            )
    return np.concatenate(columns, axis=1).tobytes()


if __name__ == "__main__":
    main()
