"""The program itself: help, version, underscores, labels that look like markup."""

from pathlib import Path

import pytest

from corollary.cli.output import print_table


def test_version_and_help(ok):
    """Every command is in the help."""
    assert ok("--version").out.startswith("corollary ")
    shown = ok("--help").out
    assert all(name in shown for name in ("graph", "train", "evaluate", "predict", "report", "quickstart"))


@pytest.mark.parametrize(
    "words", ["graph import", "graph info", "graph split", "graph subset", "graph datasets", "train conve", "evaluate", "predict", "report", "quickstart"]
)  # fmt: skip
def test_every_command_explains_itself_and_prints_json(ok, words):
    """In its --help."""
    assert "--json" in ok(*words.split(), "--help").out


def test_an_unknown_command_is_two(command):
    """As typer has it, without a traceback."""
    wrong = command("trian")
    assert (wrong.code, wrong.out) == (2, "")
    assert "Traceback" not in wrong.err


def test_labels_that_look_like_markup_are_printed_as_they_are(capsys):
    """Chemistry writes [14C]; a closing tag must not end the program."""
    labels = ["[14C]urea", "[/b]", ":smile:", "[red]x"]
    print_table(["label [a]", "score"], [[label, 1.5] for label in labels])
    shown = capsys.readouterr().out
    assert all(label in shown for label in [*labels, "label [a]", "1.5000"])


def test_hostile_labels_go_through_the_whole_program(ok, command, tmp_path):
    """Imported, described, and suggested in an error."""
    (tmp_path / "a.tsv").write_text("[14C]urea\t[/binds]\t:smile:\n:smile:\t[/binds]\t[/b]\n")
    ok("graph", "import", tmp_path / "a.tsv", "-o", tmp_path / "g")
    assert "[/binds]" in ok("graph", "info", tmp_path / "g").out
    wrong = command("graph", "subset", tmp_path / "g", "-o", tmp_path / "s", "--keep-predicates", "[/bind]")
    assert "'[/bind]'" in wrong.message
    assert "'[/binds]'" in wrong.message
    assert not Path(tmp_path / "s").exists()
