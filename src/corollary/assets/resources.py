"""What all assets share: the graph, the options, the folder of the stages; and tables as Parquet files."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas

from corollary.assets.options import given, mirrored
from corollary.errors import ConfigError
from corollary.graph.datasets.importing import import_dataset
from corollary.graph.folder import Graph
from corollary.messages import Say, silent
from corollary.repurpose.config import RepurposeConfig
from corollary.repurpose.stages import Stages, open_stages
from corollary.storage import new_file, sha256

FOLDS = 5
"""Parts of the rows that are held out: partitions are known before a run, so this is no option."""
EMBEDDED: dict[str, Any] = {
    "relation": "spoken_language",
    "pairs": {"side": "tail", "marks": ["official_language"]},
    "embeddings": {
        "options": {
            "model": {"embedding_dim": 32, "hidden_dim": 32},
            "training": {"epochs": 8, "lr": 0.02},
            "links": {"folds": 3},
        },
        "elementwise": False,
    },
    "classifier": {"draws": 3, "rounds": 100, "negatives": 20},
    "longest_path": 2,
    "top": 20,
    "faithfulness": 20,
    "resamples": 200,
}
"""An example for the embedded graph, where no relation is named: languages for every country, small enough to try at once."""

Options = mirrored(
    RepurposeConfig,
    without={"splitting": {"folds": None}, "embeddings": {"learner": None, "run": None, "file": None}},
)


class Repurposing(dg.ConfigurableResource):
    """A graph, and everything that decides the lists made from it."""

    graph: str = ""
    """A graph folder with node types; empty for the embedded graph of the world's countries."""
    data: str = "data"
    """The folder below which all files of the pipeline lie."""
    options: Options = Options()  # type: ignore[valid-type]
    """As of `corollary repurpose`; the learner is HGT and there are five folds of rows."""

    @property
    def config(self) -> RepurposeConfig:
        """The program's own configuration: what is set, over its defaults, or over EMBEDDED where no relation is named.

        Raises `ConfigError` for a value that it refuses, and for a graph of one's own without a relation.
        """
        values = given(self.options)
        if "relation" not in values:
            if self.graph:
                raise ConfigError(
                    "repurposing.options.relation is not set: name the relation whose answers are listed"
                )
            values = _over(EMBEDDED, values)
        values["splitting"] = {**values.get("splitting", {}), "folds": FOLDS}
        return RepurposeConfig.build(values, where="repurposing.options")

    @property
    def folder(self) -> Path:
        """Of the stages: another graph or other options have another one."""
        options = self.config.model_dump(mode="json", exclude={"memory_limit"})
        text = json.dumps([self.opened().fingerprint, options], sort_keys=True)
        return Path(self.data) / "06_models" / f"repurposing-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def opened(self) -> Graph:
        """The graph; the embedded one is imported when it is first asked for."""
        if self.graph:
            return Graph.open(self.graph)
        place = Path(self.data) / "03_primary" / "countries"
        return Graph.open(place) if place.exists() else import_dataset("countries", place)

    def stages(self, say: Say = silent) -> Stages:
        """The stages, what is finished taken from their folder."""
        return open_stages(self.opened(), self.folder, self.config, say=say)


class ParquetFiles(dg.ConfigurableIOManager):
    """Tables as Parquet: DATA/FOLDER/ASSET.parquet, with `folder` from the asset's own metadata; written whole or not."""

    data: str = "data"

    def handle_output(self, context: dg.OutputContext, obj: pandas.DataFrame) -> None:
        """Write one table. Says where it is, its rows and its checksum."""
        path = self._path(context)
        with new_file(path) as partial, duckdb.connect() as database:
            database.register("made", obj)
            place = str(partial).replace("'", "''")
            database.execute(f"COPY (SELECT * FROM made) TO '{place}' (FORMAT parquet)")
        context.add_output_metadata(
            {"path": dg.MetadataValue.path(path), "dagster/row_count": len(obj), "sha256": sha256(path)}
        )

    def load_input(self, context: dg.InputContext) -> pandas.DataFrame:
        """Read the table of an upstream asset."""
        assert context.upstream_output is not None, "assets alone are read"
        with duckdb.connect() as database:
            return database.from_parquet(str(self._path(context.upstream_output))).df()

    def _path(self, context: dg.OutputContext) -> Path:
        folder = str((context.definition_metadata or {}).get("folder", ""))
        return Path(self.data) / folder / f"{'_'.join(context.asset_key.path)}.parquet"


def _over(table: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A table with some of its values replaced, group by group; the learner's own options count as one value."""
    found = dict(table)
    for name, value in values.items():
        grouped = isinstance(value, Mapping) and isinstance(found.get(name), Mapping) and name != "options"
        found[name] = _over(found[name], value) if grouped else value
    return found
