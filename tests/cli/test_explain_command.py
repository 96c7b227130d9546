"""`corollary explain`: text, JSON, files, and what is wrong said in one message."""

from pathlib import Path

import pytest

from corollary.records.explanation import Explanation

ASKED = ("France", "borders", "Belgium")


def test_text_for_people(ok, explained: Path) -> None:
    said = ok("explain", explained / "run", explained / "rules", *ASKED).out
    for part in (
        "HOW FAR TO TRUST IT",
        "STRONGEST REASON",
        "FOR",
        "AGAINST",
        "PATHS",
        "WHAT IF",
        "ALL FACTS USED",
    ):
        assert part in said
    assert "France" in said


def test_json_for_programs(ok, explained: Path) -> None:
    said = ok("explain", explained / "run", explained / "rules", *ASKED, "--json", "--rules", 2, "--paths", 1)
    found = Explanation.model_validate(said.json())
    assert len(found.rules.shown) <= 2
    assert len(found.paths.shown) <= 1
    assert found.made.command.startswith("corollary explain ")


def test_files_by_their_ending(ok, explained: Path, tmp_path: Path) -> None:
    for name in ("found.json", "found.txt"):
        ok("explain", explained / "run", *ASKED, "--output", tmp_path / name, "--side", "head")
    found = Explanation.model_validate_json((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found.side == "head"
    assert "AGAINST" in (tmp_path / "found.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("France", "borders"), "one run folder or more, then head, relation and tail"),
        (("Frnce", "borders", "Belgium"), "Did you mean 'France'"),
        ((*ASKED, "-o", "found.pdf"), "should end in .json, .html, .txt"),
        ((*ASKED, "--influence", "index"), "--influence index and --index FOLDER go together"),
    ],
)
def test_what_is_wrong_is_said(command, explained: Path, words: tuple[str, ...], message: str) -> None:
    assert message in command("explain", explained / "run", *words).message


def test_a_folder_that_is_no_run(command, tmp_path: Path) -> None:
    assert "no-run" in command("explain", tmp_path / "no-run", *ASKED).message
