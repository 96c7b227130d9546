"""What a training leaves behind: the run folder as DESIGN has it."""

import json
import os
import subprocess
import sys

from corollary.runs.config import RunConfig, from_record
from corollary.runs.run import Run, place_to_record
from corollary.training.checkpoints import read_manifest


def test_the_folder_holds_what_was_promised(trained):
    """And nothing else that is not hidden."""
    run = trained / "run"
    visible = sorted(path.name for path in run.iterdir() if not path.name.startswith("."))
    assert visible == [
        "checkpoints",
        "config.json",
        "evaluation.json",
        "memory.json",
        "metrics.jsonl",
        "report.html",
    ]
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == ["best", "epoch-0001", "epoch-0002", "epoch-0003", "final"]
    assert not list(run.rglob(".partial-*"))


def test_config_holds_every_option_versions_seed_graph_and_plan(trained, countries):
    """Enough to repeat the run; no place of this machine."""
    text = (trained / "run" / "config.json").read_text(encoding="utf-8")
    recorded = json.loads(text)
    assert str(trained) not in text
    options = RunConfig.build(from_record(recorded))
    assert json.loads(options.model_dump_json()) == {
        key: value for key, value in recorded.items() if key in RunConfig.model_fields
    }
    assert recorded["graph"]["path"] == "../graph"
    assert recorded["graph"]["fingerprint"] == countries.fingerprint
    assert recorded["graph"]["vocabulary_fingerprint"] == countries.info.vocabulary_fingerprint
    assert {"corollary", "torch", "numpy", "numba", "duckdb"} <= set(recorded["versions"])
    assert {"learner", "seed", "device_used", "processor", "threads", "python", "plan"} <= set(recorded)
    assert sum(recorded["plan"]["parts"].values()) > 0


def test_metrics_have_a_line_an_epoch_with_planned_and_measured_bytes(trained):
    """Loss, rate, seconds, validation."""
    lines = Run.open(trained / "run").folder.metrics()
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["loss"] < lines[0]["loss"]
    for line in lines:
        assert {
            "updates",
            "learning_rate",
            "seconds",
            "resident_bytes",
            "peak_bytes",
            "planned_bytes",
        } <= set(line)
        assert 0 < line["valid"]["mrr"] < 1  # fmt: skip


def test_best_is_the_best_validated_epoch(trained):
    """Its manifest says which."""
    run = Run.open(trained / "run")
    mrr = [line["valid"]["mrr"] for line in run.folder.metrics()]
    assert read_manifest(run.folder.checkpoint("best")).epoch == 1 + mrr.index(max(mrr))


def test_evaluation_names_its_conditions(trained):
    """Ties, filter, counts, the graph's fingerprint."""
    found = Run.open(trained / "run").evaluation
    assert (found.split, found.filter, found.ties, found.candidates) == ("test", "known", "realistic", "all")
    assert (found.num_triples, found.num_rankings) == (300, 600)
    assert found.graph_fingerprint == Run.open(trained / "run").graph.fingerprint


def test_a_graph_elsewhere_is_recorded_by_its_whole_path(tmp_path):
    """Beside the run or in it: relative, so that both can be moved."""
    run = tmp_path / "runs" / "one"
    assert place_to_record(run, tmp_path / "runs" / "graph") == "../graph"
    assert place_to_record(run, run / "graph") == "graph"
    assert place_to_record(run, tmp_path / "graph") == str(tmp_path / "graph")


def test_compiled_kernels_leave_the_number_of_threads_alone():
    """Two numba threads allowed, one OpenMP thread asked for: one is used by both, as `config.json` says."""
    program = (
        "import numba, numpy, torch\nfrom corollary.kernels.exponentials import exponential_sums\n"
        "from corollary.runs.device import settle_threads\nsettle_threads()\n"
        "one = numpy.ones(4, numpy.float32)\nexponential_sums(numpy.ones((4, 3), numpy.float32), one, one)\n"
        "print(torch.get_num_threads(), numba.get_num_threads())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert found.stdout.split() == ["1", "1"]
