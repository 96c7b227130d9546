"""`corollary tracin verify`: what it prints and writes, what it refuses."""

import json

import pandas as pd
import pytest

from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A small ConvE after one epoch."""
    config = RunConfig.build(
        {
            "model": {"embedding_dim": 8, "channels": 2, "batch_size": 32},
            "training": {"epochs": 1, "num_workers": 0},
            "evaluation": {"checkpoint": "final", "resamples": 0},
        }
    )
    return train_conve(tiny, tmp_path_factory.mktemp("verify") / "run", config).path


@pytest.fixture(scope="module")
def asked(tiny, tmp_path_factory):
    """A file of one target."""
    file = tmp_path_factory.mktemp("ask") / "ask.tsv"
    rows = tiny.triples("test")[:1].tolist()
    entity, relation = tiny.entities.label, tiny.relations.label
    file.write_text("".join(f"{entity(h)}\t{relation(r)}\t{entity(t)}\n" for h, r, t in rows))
    return file


def test_every_study_prints_a_table(ok, run, asked, tmp_path):
    """And one file holds them all; a second call trains nothing."""
    words = (
        "tracin",
        "verify",
        run,
        "-o",
        tmp_path / "work",
        "--triples",
        asked,
        "--measure",
        "output",
        "--seeds",
        2,
    )
    words += ("--study", "deletion", "--study", "one-at-a-time", "--study", "datamodel", "--study", "planted")
    words += ("--subsets", 4, "--retrainings", 1, "--top-k", 2)
    said = ok(*words, "--table", tmp_path / "all.csv")
    for part in (
        "All targets' triples taken out at once", "One target's triples", "Linear-datamodelling score, 4 halves",
        "planted wrong triples", "random neighbours", "below every control",
    ):  # fmt: skip
        assert part in said.out
    assert "found most" in said.err
    assert "1 target, asked for tail and head" in said.err
    table = pd.read_csv(tmp_path / "all.csv")
    assert set(table["study"]) == {"deletion", "one_at_a_time", "datamodel", "planted"}
    again = ok(*words, "--json")
    assert again.json() == json.loads((tmp_path / "work" / "verification.json").read_text())
    total = int(again.err.split(" retrainings")[0].split()[-1])
    assert f"{total} retrainings, {total} of them finished before" in again.err


def test_true_edges_alone_need_no_retraining(ok, run, tiny, asked, tmp_path):
    """--truth by itself is a study."""
    head, relation, tail = tiny.triples("train")[3].tolist()
    edge = (tiny.entities.label(head), tiny.relations.label(relation), tiny.entities.label(tail))
    (tmp_path / "truth.tsv").write_text("\t".join(edge) + "\n")
    words = (
        "tracin",
        "verify",
        run,
        "-o",
        tmp_path / "work",
        "--triples",
        asked,
        "--truth",
        tmp_path / "truth.tsv",
    )
    said = ok(*words)
    assert "mean average precision" in said.out
    assert "by chance" in said.out
    assert "retrainings" not in said.err


WRONG = {
    ("--measure", "tracein"): "measures.0 = 'tracein'",
    ("--study", "undo"): "studies.0 = 'undo'",
    ("--subsets", "8"): "--subsets has no meaning for deletion",
    ("--study", "planted", "--top-k", "3"): "--top-k has no meaning for planted",
    ("--seeds", "1"): "a difference between retrainings means nothing without a second one",
    ("--table", "found.txt"): "should end in .csv or .parquet",
    ("--planted", "0.2"): "--planted has no meaning for deletion",
    ("--checkpoint", "epoch-0099"): "has no checkpoint 'epoch-0099'",
    ("--truth", "nothing.tsv"): "nothing.tsv cannot be read",
    ("--targets", "3"): "--targets has no meaning with --triples",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_is_wrong_is_said(command, run, asked, tmp_path, words):
    """One message that names the option."""
    said = command("tracin", "verify", run, "-o", tmp_path / "work", "--triples", asked, *words)
    assert WRONG[words] in said.message


def test_a_run_that_ranks_nothing_first_needs_targets(command, run, tmp_path):
    """Or it would have nothing to look at."""
    said = command("tracin", "verify", run, "-o", tmp_path / "work")
    assert "ranks no triple of test first: give the triples to look at" in said.message
