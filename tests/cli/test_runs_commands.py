"""`corollary runs import`: a model from elsewhere is evaluated and asked like any other."""

import json

import pytest
import torch

from tests.reference.foreign_conve import PyKeen, stirred


@pytest.fixture
def files(tiny, tmp_path):
    """A PyKEEN state dict and its files of ids, in the graph's own order."""
    for kind, table in (("entity", tiny.entities), ("relation", tiny.relations)):
        (tmp_path / f"{kind}.txt").write_text(
            "".join(f"{label}\t{i}\n" for i, label in enumerate(table.labels))
        )
    torch.save(stirred(PyKeen(30, 6, height=4, width=8, channels=4)).state_dict(), tmp_path / "state.pt")
    return tmp_path


def words(files, graph):
    ids = ("--entity-to-id", files / "entity.txt", "--relation_to_id", files / "relation.txt")
    return ("runs", "import", files / "state.pt", "--graph", graph.path, *ids, "-o", files / "run")


def test_an_imported_model_is_evaluated_and_asked(ok, files, tiny):
    """The table says where each option came from; the run folder is like any other."""
    done = ok(*words(files, tiny), "--set", "model.label_smoothing=0.1")
    rows = {line.split()[0]: line.strip().split(maxsplit=2)[1:] for line in done.out.splitlines()[1:]}
    assert rows["model.channels"] == ["4", "tensors"]
    assert rows["model.label_smoothing"] == ["0.1", "option"]
    assert rows["model.reduction"] == ["mean", "default of PyKEEN"]
    for line in (
        "layout: PyKEEN; 30 entities",
        "inverse relations: rows 2r and 2r + 1",
        "image: 4 x 8, stacked by height (by the shapes)",
        "checkpoints: final",
        f"next: corollary evaluate {files / 'run'}",
    ):
        assert line in done.err
    assert ok("evaluate", files / "run", "--json").json()["num_triples"] == 10
    assert (
        len(
            ok("predict", files / "run", "--tail", "e01", "--relation", "likes", "--json").json()[0][
                "answers"
            ]
        )
        == 10
    )
    ok("report", files / "run")


def test_the_result_as_json(ok, files, tiny):
    """What config.json says under `imported`, without a place of this machine."""
    found = ok(*words(files, tiny), "--json").json()
    recorded = json.loads((files / "run" / "config.json").read_text())["imported"]
    assert found == {"run": str(files / "run"), "imported": recorded}
    assert recorded["source"] == "state.pt"
    assert recorded["files"][0]["checkpoints"] == ["final"]
    assert len(recorded["files"][0]["sha256"]) == 64


def test_tails_alone_are_said(ok, command, files, tiny):
    """While importing, beside the figures, and where a head is asked for."""
    torch.save(stirred(PyKeen(30, 3, height=4, width=8, channels=4)).state_dict(), files / "state.pt")
    assert "it predicts tails alone, and figures are those of tails" in ok(*words(files, tiny)).err
    assert "10 triples, tails alone, filter known" in ok("evaluate", files / "run").err
    message = command("predict", files / "run", "--tail", "e01", "--relation", "likes").message
    assert message.endswith("was trained without inverse relations: it predicts tails alone")


def test_wrong_files_and_options_are_one_message(command, files, tiny):
    """Exit code 1, nothing on standard output, no run folder."""
    (files / "state.pt").write_text("label\tid\n")
    assert command(*words(files, tiny)).message == (
        f"{files / 'state.pt'} is no file of weights: neither torch nor safetensors wrote it"
    )
    assert (
        "--set model.channels: expected KEY=VALUE"
        in command(*words(files, tiny), "--set", "model.channels").message
    )
    assert not (files / "run").exists()
