"""`corollary export`: the formats, the checkpoint, and what it says."""

import numpy as np
import pytest


@pytest.mark.parametrize(("name", "place"), [("npy", "out"), ("parquet", "e.parquet"), ("word2vec", "e.txt")])
def test_each_format_is_written_where_it_was_asked_for(ok, trained, tmp_path, name, place):
    """A folder for NumPy, one file for the others; counts on standard error or as JSON."""
    done = ok("export", trained / "run", "-o", tmp_path / place, "--format", name)
    assert done.out == ""
    assert f"entities, 32 numbers each, in {tmp_path / place}" in done.err
    assert [path.name for path in tmp_path.iterdir()] == [place]
    again = ok(
        "export", trained / "run", "--output", tmp_path / "all", "--format", name, "--what", "all", "--json"
    ).json()
    assert again["dim"] == 32
    assert set(again["rows"]) == {"entities", "relations"}


def test_the_checkpoint_is_the_one_that_was_named(ok, command, trained, tmp_path):
    """Another one has other rows; one that is not there is named with those that are."""
    for name in ("epoch-0001", "final"):
        ok("export", trained / "run", "-o", tmp_path / name, "--checkpoint", name)
    early, final = (np.load(tmp_path / name / "entities.npy") for name in ("epoch-0001", "final"))
    assert not np.array_equal(early, final)
    message = command("export", trained / "run", "-o", tmp_path / "x", "--checkpoint", "epoch-0042").message
    assert "has no checkpoint 'epoch-0042' (there: best, epoch-0001" in message


def test_a_place_that_is_taken_is_left_alone(command, trained, tmp_path):
    """The message says what to do."""
    (tmp_path / "there").mkdir()
    message = command("export", trained / "run", "-o", tmp_path / "there").message
    assert message == f"{tmp_path / 'there'} exists already: choose another place or remove it first"
