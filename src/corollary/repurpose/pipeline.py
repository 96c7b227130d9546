"""The whole pipeline: pairs, folds with their figures, a final model, lists with evidence, one folder.

OUTPUT/config.json          every option, graph and its fingerprint, plan
OUTPUT/learned/             trainings (see `learned`)
OUTPUT/folds/               classifiers and scores by fold (see `answering`); `all` is the final model
OUTPUT/figures/SCHEME.json  how good the lists are (see `evaluating`)
OUTPUT/lists/               predictions.parquet, .csv, .json (see `listing`), manifest.json with checksums
OUTPUT/faithfulness.json    answers scored again without the path that is shown for them (see `faithfulness`)
OUTPUT/report.html          all of it on one page

What is finished is kept: a command that was killed goes on with the next fold, and ends with the same bytes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from corollary.errors import RunDamaged, RunError
from corollary.graph.folder import Graph
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.repurpose.config import RepurposeConfig
from corollary.repurpose.evaluating import SchemeFigures
from corollary.repurpose.stages import open_stages
from corollary.storage import sha256
from corollary.training.loop import Observer

if TYPE_CHECKING:
    import pandas

Progress = Callable[[int, int], None]
"""Called with folds that are finished and all of them, the final model among them."""


@dataclass(frozen=True)
class Repurposing:
    """A finished folder."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Raises `RunError` where there are no lists, `RunDamaged` where a list has changed."""
        path = Path(path)
        if not (path / "lists" / "manifest.json").is_file():
            raise RunError(f"{path} holds no lists: make them with 'corollary repurpose'")
        for name, checksum in json.loads(
            (path / "lists" / "manifest.json").read_text(encoding="utf-8")
        ).items():
            if not (path / "lists" / name).is_file() or sha256(path / "lists" / name) != checksum:
                raise RunDamaged(
                    f"{path / 'lists' / name} has changed: remove {path / 'lists'}, it is made again"
                )
        return cls(path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What was recorded."""
        return RunFolder(self.path).read_json("config.json")

    @cached_property
    def figures(self) -> dict[str, SchemeFigures]:
        """By scheme."""
        names = self.config["options"]["splitting"]["schemes"]
        folder = RunFolder(self.path)
        return {
            name: SchemeFigures.model_validate(folder.read_json(f"figures/{name}.json")) for name in names
        }

    def to_pandas(self) -> "pandas.DataFrame":
        """One line an answer: see `listing`."""
        import duckdb

        with duckdb.connect() as database:
            return database.from_parquet(str(self.path / "lists" / "predictions.parquet")).df()


def repurpose_graph(
    graph: Graph | str | Path,
    output: str | Path,
    config: RepurposeConfig,
    *,
    observer: Observer | None = None,
    progress: Progress | None = None,
    say: Say = silent,
) -> Repurposing:
    """List the best answers of a relation for every node at its other end, with probabilities and evidence.

    Folds hold out what the configuration says, and everything that answers a fold is made without what it hides: counts,
    embeddings, classifiers and curves. The lists come from a final model that sees all known pairs.

    Args:
        output: a new folder, or one that a killed call with the same graph and options left.
        observer: of the trainings, for a display.
        progress: told of every fold.

    Raises `ConfigError` for options that do not fit the graph, `MissingExtra`, `PlanDoesNotFit` before any work, and
    `RunError` for a folder of another call.
    Time: one training where learners may see no answer (`embeddings.withhold = all`), else two for every fold; then
    seconds a fold. Memory: see `planning`.
    """
    stages = open_stages(graph, output, config, observer=observer, say=say)
    tell = progress or _unseen
    with stages.folder.lock():
        schemes = config.splitting.schemes
        total = 1 + sum(len(stages.folds(scheme)) for scheme in schemes)
        done = 0
        tell(done, total)
        for scheme in schemes:
            for fold in stages.folds(scheme):
                stages.answer(fold)
                done += 1
                tell(done, total)
            stages.judge(scheme)
        stages.list_answers()
        from corollary.repurpose.reporting import conclude  # matplotlib is 30 MiB that training does without

        conclude(stages)
        tell(total, total)
    return Repurposing.open(output)


def _unseen(done: int, total: int) -> None:
    """Nobody looks."""
