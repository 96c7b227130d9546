"""`corollary rules`, `train drum`, `plan drum`: what they print, write and refuse."""

import json

import pytest

FAST = ["--set", "evaluation.resamples=0"]
SMALL = [*FAST, "--num-epochs", "1", "--rank", "1", "--query-embed-size", "4", "--lstm-size", "4", "--batch-size", "32",
         "--set", "extracting.facts=10"]  # fmt: skip


@pytest.fixture
def mined(ok, tiny, tmp_path):
    """A run folder with counted rules of `tiny`."""
    ok("rules", "mine", tiny.path, "-o", tmp_path / "mined", "--longest", 2, "--min-support", 2, *FAST)
    return tmp_path / "mined"


def test_mined_rules_are_shown_filtered_and_sorted(ok, mined, tmp_path):
    """JSON holds every figure; a file in another format can be counted again."""
    shown = ok(
        "rules", "show", mined, "--relation", "knows", "--sort", "support", "--limit", 5, "--json"
    ).json()
    assert len(shown) == 5
    assert all(row["rule"].startswith("knows(") for row in shown)
    assert [row["support"] for row in shown] == sorted((row["support"] for row in shown), reverse=True)
    text = ok("rules", "show", mined, "--min-confidence", 0.1).out
    assert "laplace" in text
    ok("rules", "show", mined, "-o", tmp_path / "rules.pl", "--format", "prolog")
    assert ":-" in (tmp_path / "rules.pl").read_text()
    table = ok("rules", "show", mined, "--by-target", "--json").json()
    assert [row["target"] for row in table][-2:] == ["(micro)", "(macro)"]
    assert {"precision", "recall", "f1"} <= set(table[0])


def test_rules_are_sorted_by_what_they_have(ok, command, mined):
    """The figure that they are sorted by is shown; one that none of them has is refused."""
    assert "standard" in ok("rules", "show", mined, "--sort", "standard").out.splitlines()[0]
    assert "standard" not in ok("rules", "show", mined).out
    message = "has a weight, which is a model's (train drum): sort by another figure"
    assert message in command("rules", "show", mined, "--sort", "weight").message
    ok("rules", "apply", mined, "--head", "e03", "--relation", "likes", "--groundings", 0)


def test_rules_are_imported_and_what_is_left_out_is_counted(ok, tiny, tmp_path):
    """An AnyBURL file with a rule that is no chain."""
    (tmp_path / "in.txt").write_text(
        "9\t3\t0.3\tlikes(X,Y) <= knows(X,A), treats(A,Y)\n9\t3\t0.3\tlikes(X,Y) <= knows(X,A)\n"
    )
    outcome = ok(
        "rules", "import", tmp_path / "in.txt", "--graph", tiny.path, "-o", tmp_path / "in", "--json", *FAST
    )
    assert outcome.json()["rules"] == 1
    assert "2 rules as anyburl, 1 of them different and understood" in outcome.err
    assert "left out 1: a body that is no chain from the head's variables" in outcome.err
    assert json.loads((tmp_path / "in" / "rules.json").read_text())["skipped"] == {
        "a body that is no chain from the head's variables": 1
    }


def test_rules_answer_with_the_facts_behind(ok, mined, tmp_path):
    """Each answer with its rules, each rule with its groundings, as one JSON line."""
    ok("rules", "apply", mined, "--head", "e03", "--relation", "likes", "-k", 3, "-o", tmp_path / "a.jsonl")
    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [record["place"] for record in records] == [1, 2, 3]
    reason = records[0]["rules"][0]
    assert reason["rule"].startswith("likes(")
    assert all(len(fact) == 3 for grounding in reason["groundings"] for fact in grounding)
    assert "likes" in ok("rules", "apply", mined, "--tail", "e03", "--relation", "likes", "-k", 1).out
    found = ok("predict", mined, "--head", "e03", "--relation", "likes", "-k", 3, "--json").json()
    assert [a["label"] for a in found[0]["answers"]] == [record["tail"] for record in records]


def test_a_run_of_some_targets_says_which_triples_it_ranks(ok, tiny, tmp_path):
    (tmp_path / "names.txt").write_text("likes\nknows\n")
    ok("rules", "mine", tiny.path, "-o", tmp_path / "run", "--targets", tmp_path / "names.txt")
    written = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    every = tiny.info.num_triples["test"]
    said = ok("evaluate", tmp_path / "run").err
    assert f"{written['num_triples']} of {every} triples: the 2 targets, filter known" in said


def test_what_a_run_does_not_cover_is_named(ok, command, tiny, tmp_path):
    """Neither the model nor the rules have anything to say of it, and the order of ids is no answer."""
    run = tmp_path / "run"
    (tmp_path / "names.txt").write_text("likes\nknows\n")
    ok("rules", "mine", tiny.path, "-o", run, "--targets", tmp_path / "names.txt")
    message = "relation 'treats' is not among the run's 2 targets: likes, knows"
    assert message in command("predict", run, "--head", "e03", "--relation", "treats").message
    assert message in command("rules", "apply", run, "--head", "e03", "--relation", "treats").message
    (tmp_path / "asked.tsv").write_text("e03\tlikes\t?\ne03\ttreats\t?\n")
    asked = command("predict", run, "--queries", tmp_path / "asked.tsv")
    assert f"asked.tsv:2: {message}" in asked.message


def test_a_question_that_no_rule_answers_is_told(ok, tiny, tmp_path):
    ok("rules", "mine", tiny.path, "-o", tmp_path / "run", "--set", "mining.min_support=1000", *FAST)
    asked = (tmp_path / "run", "--head", "e03", "--relation", "likes")
    assert (
        "answers (e03, likes, ?): all scores are 0, and the order says nothing" in ok("predict", *asked).err
    )
    assert "no rule of" in ok("rules", "apply", *asked).err


def test_drum_trains_and_goes_where_rules_go(ok, tiny, tmp_path):
    """Figures of the model and of its rules side by side; evaluate, predict, show and apply work on the run."""
    run = tmp_path / "run"
    found = ok("train", "drum", tiny.path, "-o", run, *SMALL, "--json").json()
    assert set(found["figures"]) == {"model", "counted rules"}
    assert {"mrr", "mrr optimistic", "mrr pessimistic", "reached"} <= set(found["figures"]["model"])
    assert "mrr" in ok("evaluate", run).out
    assert ok("predict", run, "--head", "e03", "--relation", "likes", "--json").json()
    assert ok("rules", "show", run, "--sort", "weight", "--json").json()
    assert ok("rules", "apply", run, "--head", "e03", "--relation", "likes", "--json").json()
    assert "model" in ok("evaluate", run, "--on", tiny.path).out


def test_an_inductive_folder_is_ranked_on_its_second_graph(ok, command, tmp_path):
    """Its figures are those of the run, and `evaluate` says which graph it takes when none is named."""
    (tmp_path / "data").mkdir()
    for name, text in {
        "train_facts": "a\tp\tb\nb\tq\tc\n", "train": "a\tr\tc\n", "test_facts": "x\tq\ty\n", "test": "x\tp\ty\n",
    }.items():  # fmt: skip
        (tmp_path / "data" / f"{name}.txt").write_text(text)
    run = tmp_path / "run"
    figures = ok("train", "drum", "--datadir", tmp_path / "data", "-o", run, *SMALL, "--json").json()[
        "figures"
    ]
    asked = ok("evaluate", run, "--json")
    assert f"ranking on {run / 'test-graph'}: the graph that was trained on has no test triples" in asked.err
    found = asked.json()["model"]["figures"]["sides"]["both"]["realistic"]["mrr"]
    assert found == figures["model"]["mrr"]
    assert json.loads((run / "evaluation.json").read_text())["graph"] == "test-graph"
    refused = command("evaluate", run, "--on", run / "test-graph", "--per-relation").message
    assert "--per-relation are for the run's own graph" in refused


def test_plans_are_printed(ok, tiny):
    """By part, for both."""
    assert ok("plan", "drum", tiny.path, "--rule-length", 3, "--json").json()["total"] > 0
    assert "counting" in ok("plan", "drum", tiny.path).out
    assert "working memory" in ok("plan", "rules", tiny.path).out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "drum", "GRAPH"], "--output-dir is missing"),
        (["train", "drum", "-o", "x"], "give either a graph folder or --datadir, not both and not neither"),
        (["train", "drum", "GRAPH", "-o", "x", "--rotations", "2"], "--epochs-per-group, --rotations and --grouping need"),
        (["train", "drum", "GRAPH", "-o", "x", "--num-step", "3", "--rule-length", "3"],
         "--num-step 3 means rules of 2 atoms, and --rule-length says 3"),
        (["train", "drum", "GRAPH", "-o", "x", "--processes", "2"], "--processes needs --independent"),
        (["train", "drum", "--datadir", "GRAPH", "-o", "x", "--independent"], "--independent needs a graph folder"),
        (["train", "drum", "GRAPH", "-o", "x", "--target-batch-size", "0"], "Input should be greater than 0"),
        (["train", "drum", "GRAPH", "-o", "x", "--target-batch-size", "9"], "is more than the 3 targets that have facts"),
        (["train", "drum", "GRAPH", "-o", "x", "--targets", "EMPTY"], "is empty: expected the names of relations"),
        (["train", "drum", "GRAPH", "-o", "x", "--memory-limit", "90MiB"], "drum on tiny needs at least"),
        (["rules", "mine", "GRAPH", "-o", "x", "--memory-limit", "90MiB"], "rules on tiny needs at least"),
        (["rules", "mine", "GRAPH"], "--output-dir is missing"),
        (["rules", "import", "EMPTY", "-o", "x"], "--graph is missing"),
        (["rules", "apply", "GRAPH", "--head", "a"], "ask with --relation and one of --head and --tail"),
        (["rules", "combine", "GRAPH", "-o", "x"], "is not a run folder"),
    ],
)  # fmt: skip
def test_wrong_use_is_named(command, tiny, tmp_path, monkeypatch, words, message):
    """What is missing or contradicts, and what to give."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    places = {"GRAPH": tiny.path, "EMPTY": tmp_path / "empty.txt"}
    assert message in command(*(places.get(word, word) for word in words)).message


@pytest.mark.parametrize(
    ("words", "least"),
    [
        (["show", "run", "--limit", "-1"], 1),
        (["show", "run", "--limit", "0"], 1),
        (["apply", "run", "--top-k", "0"], 1),
        (["apply", "run", "--groundings", "-1"], 0),
    ],
)
def test_numbers_have_a_least(command, words, least):
    refused = command("rules", *words)
    assert refused.code == 2
    assert f"greater than or equal to {least}" in " ".join(refused.err.replace("│", " ").split())
