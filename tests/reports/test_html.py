"""The report is one page from files alone: whole, safe to open anywhere, honest about what is missing."""

import json
import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from corollary.errors import RunDamaged
from corollary.records.run_folder import RunFolder
from corollary.reports.html import RELATIONS_SHOWN, render, write_report
from corollary.reports.values import count, decimal, duration, finite, plural, score
from tests.reports.fake_run import HOSTILE, MIB, RELATIONS, config, evaluation, predictions, write_run

VOID = {"meta", "br", "col", "hr", "link", "img", "input"}


class Page(HTMLParser):
    """Tags with attributes, the text, and whether every element was closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The whole run folder; tests only read it."""
    return write_run(tmp_path_factory.mktemp("runs") / "countries-conve")


@pytest.fixture(scope="module")
def page(run: RunFolder) -> str:
    return render(run)


@pytest.fixture(scope="module")
def words(page: str) -> str:
    return Page(page).text


def sections(text: str) -> list[str]:
    """Headings of the parts."""
    return re.findall(r"<h2>([^<]+)</h2>", text)


def test_the_report_is_written_into_the_run_folder(tmp_path):
    """One file, nothing half-written beside it."""
    run = write_run(tmp_path / "run")
    before = {path.name for path in run.path.iterdir()}
    path = write_report(run)
    assert path == run.path / "report.html"
    assert {file.name for file in run.path.iterdir()} - before == {"report.html"}
    assert path.read_text(encoding="utf-8") == render(run)


def test_every_element_is_closed_in_order(page):
    parsed = Page(page)
    assert parsed.open == []
    assert ("html", {"lang": "en"}) in parsed.tags


def test_the_page_loads_nothing_and_runs_nothing(page):
    """No script, no address, no file beside it: it opens from a mail, on a phone, in ten years."""
    for tag, attributes in Page(page).tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                assert (value or "").startswith("#")
    assert "http" not in page
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_names_from_data_are_text_and_never_markup(tmp_path):
    """A hostile name in every place where one can stand is shown as it is written."""

    def spoilt(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoilt(item) for key, item in value.items()}
        if isinstance(value, list):
            return [spoilt(item) for item in value]
        return f'{value}"{HOSTILE}&' if isinstance(value, str) else value

    options = spoilt(config())
    options["graph"]["path"] = "graph"
    options["model"][HOSTILE] = HOSTILE
    options["plan"]["parts"] = {HOSTILE: 5 * MIB, **options["plan"]["parts"]}
    options["versions"][HOSTILE] = "1"
    run = RunFolder.create(tmp_path / "a <b> & c", options)
    (run.path / "predictions.json").write_text(json.dumps(spoilt(predictions())), encoding="utf-8")
    found = evaluation()
    found["figures"]["relations"] = [{**item, "relation": HOSTILE} for item in found["figures"]["relations"]]
    (run.path / "evaluation.json").write_text(json.dumps(found | {"filter": HOSTILE}), encoding="utf-8")
    (run.path / "graph").mkdir()
    source = {"name": HOSTILE, HOSTILE: HOSTILE}
    (run.path / "graph" / "graph.json").write_text(json.dumps({"sources": [source]}), encoding="utf-8")

    text = render(run)
    assert "<script" not in text
    parsed = Page(text)
    assert parsed.open == []
    assert parsed.text.count(HOSTILE) > 20


def test_the_same_files_give_the_same_bytes(run, page):
    assert render(run) == page


def test_the_opening_says_what_was_learned_from_what(words):
    assert "ConvE on countries" in words
    assert "1,435 entities, 24 relations and 5,726 triples" in words
    assert "(4,602 to learn from, 562 to choose by, 562 to test with)" in words
    assert "It answers questions such as (France, borders, ?)." in words


def test_headline_figures_stand_with_their_interval_and_their_conditions(words):
    assert "test MRR 0.541 0.512 to 0.569" in words
    assert "test hits@1 0.431 0.400 to 0.462" in words
    assert "test hits@3 0.591 0.560 to 0.621" in words
    assert "test hits@10 0.751 0.727 to 0.775" in words
    assert "562 test triples, each asked for its head and for its tail among all entities" in words
    assert "other known answers are left out of the competition" in words
    assert "of equal scores the middle place counts" in words
    assert "its 95 % interval by bootstrap over triples" in words


def test_the_figures_by_side_and_by_tie_rule_stand_below(words):
    assert "Tail asked for 0.580 0.470 0.630 0.790 40.25 0.940" in words
    assert "The first place of equal scores 0.542" in words
    assert "The last place of equal scores 0.540" in words


def test_learning_shows_three_curves_and_how_long_it_took(page, words):
    assert page.count("<svg") == 4  # and memory
    assert "epochs 120 updates of the weights 3,000" in words
    assert "time training 2 min 37 s time validating 5.0 s" in words
    assert re.search(r"best validation MRR 0\.530 in epoch \d+ \((weights|their average)\)", words)


def test_relations_come_by_number_of_triples_and_the_long_tail_is_folded(page):
    names = re.findall(r'<tr><th scope="row">([^<]+)</th><td class="n">(\d+)</td>', page)
    by_count = sorted(RELATIONS.items(), key=lambda item: (-item[1], item[0]))
    assert [int(number) for _, number in names] == [number for _, number in by_count]
    assert [name for name, _ in names][:-1] == [name for name, _ in by_count][:-1]
    folded = page.index(f"{len(RELATIONS) - RELATIONS_SHOWN} more</summary>")
    assert page.index(by_count[RELATIONS_SHOWN - 1][0] + "</th>") < folded
    assert page.index(by_count[RELATIONS_SHOWN][0] + "</th>") > folded


def test_new_answers_are_marked_and_known_ones_too(words):
    assert "1 Germany DE 9.12 known" in words
    assert "3 Netherlands NL 7.10 new" in words
    assert f"3 {HOSTILE} −0.52 new" in words


def test_memory_compares_plan_peak_and_limit(page, words):
    assert (
        "Planned before the start: 613.8 MiB. Measured peak of the training: 566.1 MiB, 92 % of the plan."
        in words
    )
    assert "The limit was 700.0 MiB." in words
    assert "encoder activations 114.0" in words
    assert "planned in all 613.8" in words
    swatches = re.findall(r"--colour: var\((--c\d)\)", page)
    assert swatches.count("--c7") == 2  # nine parts, eight colours: the two smallest share the last
    assert len(set(swatches)) == 8


def test_a_peak_above_the_plan_is_said(tmp_path):
    run = RunFolder.create(tmp_path / "run", config())
    run.append_metrics({"epoch": 1, "loss": 2.0, "peak_bytes": 700 * MIB})
    assert "A peak above the plan is a fault of ours: please report it." in render(run)


def test_options_versions_and_sources_are_all_there(words):
    assert "model.embedding_dim 200" in words
    assert "model.image_height not set" in words
    assert "evaluation.hits [1, 3, 5, 10]" in words
    assert "seed 0 device cpu processor AMD EPYC 7763 64-Core Processor threads 2" in words
    assert "torch 2.13.0+cpu" in words
    assert "graph fingerprint " + "8f1c" * 16 in words
    assert "source edges.tsv sha256 " + "77fe" * 16 in words


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ("metrics.jsonl", {"Learning"}),
        ("predictions.json", {"Example predictions"}),
        ("evaluation.json", {"Relations"}),
        ("graph.json", set()),
    ],
)
def test_a_part_whose_file_is_missing_is_left_out(tmp_path, page, missing, gone):
    text = render(write_run(tmp_path / "run", without=(missing,)))
    assert Page(text).open == []
    assert set(sections(page)) - set(sections(text)) == gone


def test_a_run_that_has_only_begun_has_a_report(tmp_path):
    """config.json alone, with next to nothing in it."""
    run = RunFolder.create(tmp_path / "run", {"learner": "other"})
    words = Page(render(run)).text
    assert "other on a graph" in words
    assert "an unknown number of entities" in words


def test_numbers_that_are_null_or_not_finite_are_left_out(tmp_path):
    """A figure that is not defined becomes a dash, a loss that is none leaves the curve."""
    found = evaluation()
    found["figures"]["sides"]["tail"]["realistic"] |= {"mrr": None, "adjusted_mean_rank_index": None}
    found["figures"]["intervals"] = {}
    run = RunFolder.create(tmp_path / "run", config())
    (run.path / "evaluation.json").write_text(json.dumps(found), encoding="utf-8")
    for epoch, loss in enumerate((2.0, float("nan"), 1.0), start=1):
        run.append_metrics({"epoch": epoch, "loss": loss})
    words = Page(render(run)).text
    assert "Tail asked for – 0.470 0.630 0.790 40.25 –" in words
    assert "95 % interval" not in words
    assert "nan" not in words.lower()
    assert "loss, first and last epoch 2.000, 1.000" in words


@pytest.mark.parametrize("name", ["evaluation.json", "predictions.json", "graph/graph.json"])
def test_a_damaged_file_is_named(tmp_path, name):
    run = write_run(tmp_path / "run")
    (run.path / name).write_text('{"half', encoding="utf-8")
    with pytest.raises(RunDamaged, match=r"is damaged: it is not JSON") as error:
        write_report(run)
    assert str(run.path / name) in str(error.value)
    assert not (run.path / "report.html").exists()


def commands(text: str) -> Iterator[list[str]]:
    """The commands that a report proposes, as words."""
    for block in re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL):
        yield from (shlex.split(line) for line in "".join(Page(block).words).splitlines())


def test_proposed_commands_use_this_runs_names(run, page):
    found = list(commands(page))
    place = str(run.path)
    assert ["corollary", "predict", place, "--head", "France", "--relation", "borders", "--new-only"] in found
    assert ["corollary", "evaluate", place, "--per-relation", "--ranks", "ranks.parquet"] in found
    again = next(words for words in found if "--seed" in words)
    assert again[again.index("--seed") + 1] == "1"
    assert str(Path(place) / "graph") in again
    assert not any("--resume" in words for words in found)


def test_proposed_commands_are_understood_by_the_command_line(page):
    """Every option exists, for every command on the page."""
    from typer.main import get_command

    from corollary.cli.main import app

    found = list(commands(page))
    assert len(found) == 5
    for _, *arguments in found:
        command = get_command(app)
        while arguments and arguments[0] in getattr(command, "commands", {}):
            command, arguments = command.commands[arguments[0]], arguments[1:]
        command.make_context("corollary", arguments)


def test_names_in_proposed_commands_are_quoted_for_the_shell(tmp_path):
    run = RunFolder.create(tmp_path / "my run; rm x", config())
    asked = [{"query": "(?, part of, Côte d'Ivoire)", "answers": [{"rank": 1, "label": "x", "score": 1.0}]}]
    (run.path / "predictions.json").write_text(json.dumps(asked), encoding="utf-8")
    found = list(commands(render(run)))
    expected = ["--relation", "part of", "--tail", "Côte d'Ivoire", "--new-only"]
    assert ["corollary", "predict", str(run.path), *expected] in found


def test_a_question_that_cannot_be_taken_apart_leaves_placeholders(tmp_path):
    run = RunFolder.create(tmp_path / "run", config())
    asked = [
        {"query": "(Congo, Republic of, borders, ?)", "answers": [{"rank": 1, "label": "x", "score": 1.0}]}
    ]
    (run.path / "predictions.json").write_text(json.dumps(asked), encoding="utf-8")
    expected = [
        "corollary",
        "predict",
        str(run.path),
        "--head",
        "NAME",
        "--relation",
        "RELATION",
        "--new-only",
    ]
    assert expected in list(commands(render(run)))


def test_a_training_that_was_stopped_is_told_how_to_finish(tmp_path):
    run = RunFolder.create(tmp_path / "run", config())
    run.checkpoint("epoch-0003").mkdir()
    assert ["corollary", "train", "--resume", str(run.path)] in list(commands(render(run)))
    run.checkpoint("final").mkdir()
    assert "--resume" not in render(run)


def test_the_fake_evaluation_is_what_evaluation_writes():
    """The keys that the report reads are those of the model behind `evaluation.json`."""
    from corollary.evaluation.metrics import Evaluation

    assert json.loads(Evaluation.model_validate(evaluation()).model_dump_json()) == evaluation()


def test_numbers_are_written_for_people():
    assert [count(5726), count(None), score(0.5), score(None), decimal(-1.5)] == [
        "5,726",
        "–",
        "0.500",
        "–",
        "−1.50",
    ]
    assert [duration(4.24), duration(59.99), duration(192), duration(7500)] == [
        "4.2 s", "1 min 00 s", "3 min 12 s", "2 h 05 min",
    ]  # fmt: skip
    assert [plural(1, "entity"), plural(2, "entity"), plural(0, "triple")] == [
        "1 entity",
        "2 entities",
        "0 triples",
    ]
    assert [
        finite({"a": {"b": 1}}, "a", "b"),
        finite({"a": True}, "a"),
        finite({"a": float("inf")}, "a"),
    ] == [1, None, None]


def test_a_taxonomy_stands_beside_its_controls(tmp_path):
    """Its figures with a column a control, empty rows left out; the commands are those of taxonomies."""
    run = write_run(tmp_path / "tree")
    record = {
        "figures": {
            "run": {
                "reconstruction": {"map": 0.94, "mean_rank": 12.3},
                "separation": {"phylum": {"p_gromov": 0.9}},
            },
            "untrained": {"reconstruction": {"map": 0.9, "mean_rank": 2768.5}, "depth_radius": -0.5},
        },
        "conditions": {"reconstruction_nodes": 82114},
    }
    run.write_json("taxonomy.json", record)
    run.write_json("config.json", {**run.config, "learner": "poincare"})
    text = Page(render(run)).text
    assert "Ancestors of 82,114 nodes" in text
    assert "MAP of ancestors 0.940 0.900" in text
    assert "mean rank of ancestors 12.3 2,768.5" in text
    assert "correlation of depth and radius – −0.500" in text
    assert "phylum: between farther than within, Gromov product 0.900 –" in text
    assert "withheld" not in text
    assert "corollary analyze-taxonomy" in text
    assert "--relation" not in text


def audited(folder: Path, *, typed: bool = True, **canary: Any) -> RunFolder:
    """A run with an audit and a baseline; `typed`: both were ranked among the answer's types too."""
    run = write_run(folder)
    found = {"pairs": 500, "adjusted_mean_rank_index": -0.0124, "at_chance": True, **canary}
    leaks = {"audited_steps": 2, "leaked_pairs": 0, "held_out_triples": 562, "held_out_linked": 61}
    run.write_json("audit.json", {**leaks, "canary": found})
    baseline = evaluation()
    baseline["figures"]["sides"]["both"]["realistic"] |= {"mrr": 0.2, "mean_rank": 1234.56}
    for name, content in (("evaluation.json", evaluation()), ("baseline.json", baseline)):
        within = {"figures": content["figures"], "num_outside": 0, "share_outside": 0.0}
        run.write_json(name, {**content, "in_range": within if typed else None})
    return run


def test_the_audit_and_the_baseline_stand_in_the_report(tmp_path):
    """Leaks, held-out pairs that are linked, the canary, and both columns among the same candidates."""
    text = render(audited(tmp_path / "run"))
    words = Page(text).text
    assert "messages between the ends of what a step asked for 0, in 2 steps" in words
    assert "held-out triples whose ends some relation of train links 61 of 562, 10.9 %" in words
    assert "500 made-up facts ranked at chance (adjusted mean rank index −0.012, 0 for guessing)" in words
    assert "test this run degree product MRR 0.541 0.200" in words
    assert "mean rank 40.2 1,234.6" in words
    assert "Both among entities of the types that answer the relation in train." in words
    assert Page(text).open == []
    assert "Both among all entities." in Page(render(audited(tmp_path / "all", typed=False))).text


@pytest.mark.parametrize(
    ("canary", "said"),
    [
        ({"at_chance": False}, "500 made-up facts ranked not at chance: look for what was given away"),
        ({"pairs": 0, "adjusted_mean_rank_index": None}, "none: every possible pair is a fact"),
    ],
)
def test_a_canary_says_what_it_found(tmp_path, canary, said):
    assert said in Page(render(audited(tmp_path / "run", **canary))).text


def test_an_audit_without_a_test_split_stands_alone(tmp_path):
    run = audited(tmp_path / "run")
    (run.path / "baseline.json").unlink()
    words = Page(render(run)).text
    assert "made-up facts" in words
    assert "degree product" not in words
