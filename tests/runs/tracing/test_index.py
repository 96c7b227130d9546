"""An index answers what the exact run answers; it is whole or absent, and a stale or damaged one is refused."""

import json
import shutil

import numpy as np
import pytest

from corollary.errors import ConfigError, RunDamaged, RunError, StorageError
from corollary.runs.run import Run
from corollary.runs.tracing import index as indexing
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.index import IndexConfig, build_index, open_index
from corollary.runs.tracing.indexed import tracin_by_index
from corollary.runs.tracing.tracin import tracin
from tests.runs.tracing.test_tracin import change_weights, some_test


@pytest.fixture(scope="module")
def run(trained):
    """Of the shared trained run, to look at."""
    return Run.open(trained / "run")


@pytest.fixture(scope="module")
def index(run, tmp_path_factory):
    """Its index."""
    folder = tmp_path_factory.mktemp("index") / "index"
    build_index(run, folder, IndexConfig(samples=3))
    return folder


@pytest.mark.parametrize("target", ["loss", "contrast"])
def test_listed_influences_are_the_exact_ones(run, index, target):
    """The same triples in the same order, scores but for the rounding of other blocks."""
    asked = some_test(run, 3)
    rivals = [(int(t) + 1) % run.graph.num_entities for t in asked[:, 2]] if target == "contrast" else None
    config = TracInConfig(target=target, top_k=8)
    exact = tracin(run, asked, config, rivals=rivals)
    found = tracin_by_index(run, asked, index, config, rivals=rivals)
    for one, other in zip(exact.triples, found.triples, strict=True):
        assert [p.row for p in one.proponents] == [p.row for p in other.proponents]
        assert [p.row for p in one.opponents] == [p.row for p in other.opponents]
        assert [p.score for p in other.proponents] == pytest.approx(
            [p.score for p in one.proponents], rel=1e-4
        )
        assert other.support == pytest.approx(one.support, rel=0.05)
        assert (one.self_influence, one.loss) == pytest.approx((other.self_influence, other.loss), rel=1e-5)
    assert found.from_index.recall["10"] == 1.0


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_nearly_exact_scores_are_near(run, tmp_path, loss, monkeypatch, countries):
    """Over all training triples, also where the other answers of a row count: correlation, and size of the error."""
    from corollary.runs.config import RunConfig
    from corollary.runs.conve import train_conve

    model = {"embedding_dim": 32, "channels": 4, "batch_size": 64, "loss": loss, "weight": "query"}
    config = RunConfig.build({"model": model, "training": {"epochs": 1, "lr": 0.01}})
    train_conve(countries.path, tmp_path / "run", config)
    own, seen = Run.open(tmp_path / "run"), {}
    recall = indexing._recall

    def look(exact, nearly):
        seen["both"] = exact.copy(), nearly.copy()
        return recall(exact, nearly)

    monkeypatch.setattr(indexing, "_recall", look)
    build_index(own, tmp_path / "index", IndexConfig(samples=4))
    for exact, nearly in zip(*seen["both"], strict=True):
        assert np.corrcoef(exact, nearly)[0, 1] > 0.999
        assert np.abs(exact - nearly).max() < 0.03 * np.abs(exact).max()


def test_candidates_of_an_index_can_be_restricted(run, index):
    """To a relation, to what is near."""
    asked = some_test(run, 1)
    for options in ({"relations": ("borders",)}, {"within_hops": 1}):
        config = TracInConfig(top_k=5, **options)
        exact, found = tracin(run, asked, config), tracin_by_index(run, asked, index, config)
        assert [p.row for p in exact.triples[0].proponents] == [p.row for p in found.triples[0].proponents]
        assert exact.triples[0].num_candidates == found.triples[0].num_candidates
    with pytest.raises(ConfigError, match="makes 1000 influences of each sign exactly"):
        tracin_by_index(run, asked, index, TracInConfig(top_k=None))


def test_a_build_that_was_stopped_goes_on(run, index, tmp_path):
    """At the next part, to the same bytes; nothing bears the name before it is whole."""
    config = IndexConfig(samples=3)

    def stop(done, total):
        if done > 3000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(run, tmp_path / "index", config, progress=stop)
    assert not (tmp_path / "index").exists()
    said = []
    build_index(run, tmp_path / "index", config, say=said.append)
    assert said == [f"going on after 3 parts in {tmp_path / '.building-index'}"]
    assert contents(tmp_path / "index") == contents(index)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    with pytest.raises(StorageError, match="index exists already"):
        build_index(run, tmp_path / "index", config)


def test_a_stopped_build_of_another_question_is_not_used(run, index, tmp_path):
    """It starts over."""

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(run, tmp_path / "index", IndexConfig(samples=2, components=7), progress=stop)
    build_index(run, tmp_path / "index", IndexConfig(samples=3))
    assert contents(tmp_path / "index") == contents(index)


def contents(folder):
    """Every file with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_stale_or_damaged_index_is_refused(trained, index, tmp_path):
    """Of another model; with a changed part; without a manifest; no index at all."""
    shutil.copytree(trained, tmp_path / "mine")
    shutil.copytree(index, tmp_path / "index")
    run, asked = Run.open(tmp_path / "mine" / "run"), some_test(Run.open(trained / "run"), 1)
    assert open_index(run, tmp_path / "index")[0].examples > 0
    part = tmp_path / "index" / "best" / "part-00002.safetensors"
    content = bytearray(part.read_bytes())
    content[-9] ^= 4
    part.write_bytes(content)
    with pytest.raises(RunDamaged, match=r"part-00002\.safetensors has changed since it was written"):
        tracin_by_index(run, asked, tmp_path / "index")
    change_weights(run.path / "checkpoints" / "best", lambda values: values["relations"].mul_(2))
    with pytest.raises(RunError, match="is of another model or graph than .* build the index again"):
        tracin_by_index(run, asked, tmp_path / "index")
    manifest = tmp_path / "index" / "manifest.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(values | {"rescored": 5}))
    with pytest.raises(RunDamaged, match="has changed since it was written"):
        tracin_by_index(run, asked, tmp_path / "index")
    manifest.unlink()
    with pytest.raises(RunError, match="is not an index: make one with 'corollary tracin index"):
        tracin_by_index(run, asked, tmp_path / "index")
