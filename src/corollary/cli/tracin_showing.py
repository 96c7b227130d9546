"""What `corollary tracin` prints and writes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corollary.cli.output import console, errors, print_json, print_table, say

if TYPE_CHECKING:
    from corollary.runs.tracing.index import IndexInfo
    from corollary.runs.tracing.results import Suspects, Traced, TracInResult
    from corollary.runs.tracing.tracin import Bar

SAID_EVERY = 60.0
"""Seconds between two lines about how far the work has come, where there is no terminal for a bar."""


def write(
    result: "TracInResult",
    output: Path | None,
    table: Path | None,
    plot: Path | None,
    places: Sequence[Path | None],
) -> None:
    """Files of a result."""
    from dataclasses import replace

    from corollary.runs.tracing.files import write_json, write_table

    if output is not None:
        write_json(result, output)
    if table is not None:
        write_table(result, table)
    if plot is not None and result.distribution is not None:
        from corollary.reports.influence import influence_file
        from corollary.storage import write_text

        found = result.distribution
        write_text(plot, influence_file(found.edges, found.support, found.opposition))
    for place, traced in zip(places, result.triples, strict=True):
        if place is not None:
            write_json(replace(result, triples=[traced]), place)


def show(result: "TracInResult", as_json: bool, *, quiet: bool) -> None:
    """JSON, or tables of the first triples; figures of the run on standard error."""
    from corollary.budget import show_bytes

    if as_json:
        print_json(result.as_dict())
    elif not quiet:
        for traced in result.triples[:20]:
            against = f" rather than {traced.instead_of}" if traced.instead_of else ""
            console.print(f"{traced.triple}{against}", style="bold", markup=False)
            listed: list[list[Any]] = [
                [one.score, one.triple.head_name, one.triple.relation_name, one.triple.tail_name]
                for one in chain(traced.proponents[:20], reversed(traced.opponents[:20]))
            ]
            print_table(
                ["influence", "head", "relation", "tail"], [[f"{row[0]:.4g}", *row[1:]] for row in listed]
            )
            _show_paths(traced)
        if len(result.triples) > 20:
            say(f"... and {len(result.triples) - 20} more: write all of them with --output or --csv-output")
    rates = ", ".join(f"{name} (learning rate {rate:g})" for name, rate in result.checkpoints.items())
    say(f"{result.measure} of {result.target}, {result.deletion} deletion, over {rates}")
    if result.ensemble:
        say(f"mean with {', '.join(result.ensemble)}")
    if result.from_index is not None:
        recall = ", ".join(f"{share:.3f} of the {k} largest" for k, share in result.from_index.recall.items())
        say(
            f"{result.from_index.rescored} candidates of each sign from the index made exactly; recall {recall}"
        )
    say(f"memory: planned {show_bytes(result.planned_bytes)}, peak {show_bytes(result.peak_bytes)}")


def suspects(found: "Suspects", output: Path | None, table: Path | None, as_json: bool) -> None:
    """Files, JSON or a table of suspicious triples."""
    from corollary.runs.tracing.files import write_json, write_table

    if output is not None:
        write_json(found, output)
    if table is not None:
        write_table(found, table)
    if as_json:
        print_json(found.as_dict())
    elif output is None and table is None:
        rows = [
            [f"{s.loss:.4g}", f"{s.self_influence:.4g}", s.triple.head_name, s.triple.relation_name, s.triple.tail_name]
            for s in found.triples
        ]  # fmt: skip
        print_table(["loss", "self-influence", "head", "relation", "tail"], rows)


def _show_paths(traced: "Traced") -> None:
    """A line a length, and the strongest paths."""
    for share in traced.paths or ():
        console.print(
            f"paths of {share.length}: {share.num_paths:,} over {share.num_triples:,} triples, which make "
            f"{share.share:.1%} of all influence; strongest:"
        )
        print_table(
            ["influence", "path"],
            [
                [f"{path.influence:.4g}", " ".join(str(one.triple) for one in path.triples)]
                for path in share.proponents[:3]
            ],
        )


def index(made: "IndexInfo", as_json: bool) -> None:
    """What an index is, and how far it can be trusted."""
    from corollary.budget import show_bytes

    if as_json:
        print_json(made.as_dict())
        return
    say(
        f"index {made.folder}: {show_bytes(made.bytes)}, {made.examples:,} examples of {', '.join(made.checkpoints)}"
    )
    for k, share in made.recall.items():
        say(f"recall of the exact {k} largest among {made.rescored} candidates of each sign: {share:.3f}")


@contextmanager
def bar(what: str) -> Iterator["Bar"]:
    """A bar with time left; where there is no terminal, a line a minute."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not errors.is_terminal:
        yield _Lines(what)
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(what, total=None)

        def move(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield move


class _Lines:
    """Says now and then how far the work has come, and how long the rest takes at the pace so far."""

    def __init__(self, what: str) -> None:
        self._what, self._start = what, -1
        self._since = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if self._start < 0:
            self._start = done
        now = time.monotonic()
        if now - self._last > SAID_EVERY and done > self._start:
            left = (now - self._since) / (done - self._start) * (total - done) / 60
            say(f"{done:,} of {total:,} {self._what}, about {left:.0f} minutes left")
            self._last = now
