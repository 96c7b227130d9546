"""`corollary predict --new-relation` on a run of DRUM with generated queries."""

import pytest

from corollary.runs.drum.kind import train_drum
from corollary.runs.drum.options import DrumOptions
from corollary.runs.run import Run


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Run:
    model = {"query_embed_size": 8, "lstm_size": 6, "components": 2, "generated": True}
    table = {"model": model, "training": {"epochs": 1}, "extracting": {"facts": 5, "candidates": 0}}
    return train_drum(tiny, tmp_path_factory.mktemp("generated") / "run", DrumOptions.build(table))


def test_the_command_shows_both_answers(run, tmp_path, command):
    """As tables and as JSON; options that do not go together are named."""
    file = tmp_path / "facts.tsv"
    file.write_text("e01\tlikes too\te02\n")
    words = ("predict", run.path, "--new-relation", "likes too", "--head", "e03")
    shown = command(*words, "--facts", file)
    assert shown.code == 0
    assert "(e03, likes too, ?)" in shown.out
    assert "rules counted on 1 facts" in shown.out
    assert command(*words, "--facts", file, "--json").json()["facts"] == 1
    for more, message in (
        (("--tail", "e04"), "give one of --head and --tail"),
        (("--relation", "likes"), "--new-relation goes with --head or --tail"),
        (("--queries", file), "give either --queries or one question"),
    ):
        assert message in command(*words, *more).message
    alone = command("predict", run.path, "--head", "e03", "--relation", "likes", "--facts", file)
    assert "--facts are those of a --new-relation" in alone.message
