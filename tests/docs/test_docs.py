"""What the README and the pages in `docs` say works: commands parse, names exist, links lead somewhere, tables agree."""

import ast
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.main import get_command

import corollary
from corollary.cli.main import _hyphens, app
from corollary.runs.config import RunOptions
from corollary.runs.kinds import KINDS, kind_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = {"console", "bash", "sh"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(page: Path, languages: set[str]) -> list[str]:
    """Fenced blocks in some languages."""
    text = page.read_text(encoding="utf-8")
    return [
        body
        for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
        if language in languages
    ]


def shell_commands() -> list[str]:
    """Every command of the pages: lines with continuations joined, cut at && and |, prompt and variables taken off."""
    found = []
    for page in PAGES:
        for block in blocks(page, SHELL):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r" && | \| ", line.removeprefix("$ ")):
                    found.append(re.sub(r"^(\w+=\S* )+", "", part.strip()))
    return [command for command in found if command]


COMMANDS = [command for command in shell_commands() if command.startswith("corollary ")]
CODE = [(page.name, body) for page in PAGES for body in blocks(page, {"python"})]
NOTEBOOK = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))
CODE += [
    ("tutorial.ipynb", "".join(cell["source"])) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"
]


def parse(words: list[str]) -> None:
    """Let the command line's own parser read them, down to the last subcommand, and call nothing."""
    command, name, context = get_command(app), "corollary", None
    while True:
        context = command.make_context(name, words, parent=context)
        if not hasattr(command, "resolve_command"):
            return
        words = [*context._protected_args, *context.args]
        if not words:
            return
        name, command, words = command.resolve_command(context, words)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_in_the_docs_parse(command):
    """Every command, option and choice that the docs show exists."""
    parse([_hyphens(word) for word in shlex.split(command)[1:]])


def test_the_parser_used_here_refuses_wrong_options():
    """A page with an option that does not exist would fail."""
    with pytest.raises(Exception, match="No such option: --bogus"):
        parse(["train", "conve", "graph", "--bogus"])
    with pytest.raises(Exception, match="No such command"):
        parse(["graph", "draw"])


def test_docs_show_every_command():
    """No command goes without an example."""
    shown = {" ".join(word for word in re.split(r" -|=", c)[0].split()[1:3]) for c in COMMANDS}
    for name in (
        "graph import",
        "graph info",
        "graph split",
        "graph subset",
        "graph datasets",
        "train conve",
    ):
        assert any(text.startswith(name) for text in shown), name
    for name in ("evaluate", "predict", "train --resume"):
        assert any(command.startswith(f"corollary {name}") for command in COMMANDS), name


def test_other_shell_lines_name_real_make_targets():
    """What is not `corollary` is `make`, with a target that the Makefile has."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for command in shell_commands():
        if not command.startswith("corollary "):
            words = command.split()
            assert words[0] == "make", command
            assert words[1] in targets, command


def test_recipes_and_benches_that_the_docs_name_exist():
    """`recipes/NAME.toml`, `make recipe NAME=...`, `bench/NAME.py`, `tests/...py` in any page."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        names = set(re.findall(r"\b(?:recipes|bench|tests|docs|src)/[\w/.-]+\.(?:toml|py|md|ipynb)", text))
        names |= {f"recipes/{name}.toml" for name in re.findall(r"make recipe NAME=([\w-]+)", text)}
        for name in names:
            assert (ROOT / name).is_file(), f"{page.name}: {name}"


@pytest.mark.parametrize(("page", "body"), CODE)
def test_python_in_the_docs_uses_what_exists(page, body):
    """It compiles, and every `corollary.NAME` is public and is called with arguments that it has."""
    for node in ast.walk(ast.parse(body, page)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("corollary"):
            module = import_module(node.module or "")
            assert all(hasattr(module, alias.name) for alias in node.names)
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "corollary"
        ):
            assert node.attr in corollary.__all__, f"{page}: corollary.{node.attr}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            function = called(node.func)
            if function is not None:
                keywords = {word.arg: None for word in node.keywords if word.arg}
                inspect.signature(function).bind(*node.args, **keywords)


def called(place: ast.Attribute) -> Any:
    """The public thing that `corollary.NAME(...)` or `corollary.NAME.METHOD(...)` calls."""
    if isinstance(place.value, ast.Name) and place.value.id == "corollary":
        return getattr(corollary, place.attr)
    inner = place.value
    if (
        isinstance(inner, ast.Attribute)
        and isinstance(inner.value, ast.Name)
        and inner.value.id == "corollary"
    ):
        return getattr(getattr(corollary, inner.attr), place.attr)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Relative links point to files, and their anchors to headings."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, (
                target
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_figure_is_left_open(page):
    """Placeholders such as {{name}} have been filled in."""
    assert re.findall(r"\{\{.*?\}\}", page.read_text(encoding="utf-8")) == []


def figure_rows() -> list[tuple[str, str]]:
    """Text and result file of each row in the README's table of figures."""
    return [
        (line, found[1])
        for line in README.splitlines()
        if (found := re.search(r"`(\S+results/\S+)` \|$", line))
    ]


@pytest.mark.parametrize(
    ("row", "file"), figure_rows(), ids=lambda value: value if "|" not in value else "row"
)
def test_figures_are_those_of_the_result_files(row, file):
    """Scores to three digits from a recipe's summary; seconds to one digit from a line of a bench."""
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.endswith("summary.json"):
        mean = json.loads(text)["mean"]
        if "map" in mean:
            shown_figures = (f"MAP {mean['map']:.3f}", f"mean rank {mean['mean_rank']:.2f}")
            assert all(shown in row for shown in shown_figures)
            return
        for shown in (
            f"MRR {mean['mrr']:.3f}",
            f"hits@10 {mean['hits@10']:.3f}",
            f"{mean['train_seconds'] / 60:.1f} min",
        ):
            assert shown in row
        return
    lines = [json.loads(line) for line in text.splitlines()]
    if file.endswith("poincare.jsonl"):
        assert poincare_figures(lines[-1]) in row
        return
    if "cases" in lines[0]:
        assert any(set(figures_in(row)) <= set(step_figures(line)) for line in lines), figures_in(row)
        return
    assert any(seconds(line) in row for line in lines)


def poincare_figures(line: dict[str, Any]) -> str:
    """How one line of bench/poincare.py reads in the README."""
    one, two = line["epoch_uniform_1"], line["epoch_uniform_2"]
    return f"| {one:.1f} s, two threads {two:.1f} s; gensim {line['gensim']} on WordNet {line['ratio']:.0f} times slower |"


def figures_in(row: str) -> list[str]:
    """Ratios, seconds and sizes as the table of steps writes them."""
    return re.findall(r"\d+(?:\.\d+)? (?:x|s a step|MiB)", row.split("|")[2])


def step_figures(line: dict[str, Any]) -> list[str]:
    """The same of one line of bench/steps.py."""
    found = []
    for case in line["cases"].values():
        found += [f"{case[name]:.1f} x" for name in ("times_faster", "times_less_memory") if name in case]
        found += [
            f"{case['p50']:.2f} s a step",
            f"{case['p50']:.1f} s a step",
            f"{case['peak'] / 2**20:.0f} MiB",
        ]
    return found


def seconds(line: dict[str, Any]) -> str:
    """How one line of a bench reads in the README."""
    if "plain" in line:
        ours, plain = line["ours"]["epoch_seconds"], line["plain"]["epoch_seconds"]
        if "ours_bf16" in line:
            half = line["ours_bf16"]["epoch_seconds"]
            return f"| {ours:.1f} s, in bf16 {half:.1f} s; plain PyTorch with dense labels {plain:.1f} s |"
        return f"| {ours:.1f} s; plain PyTorch with dense labels {plain:.1f} s |"
    return (
        f"| {line['ours']['p50']:.1f} s; PyKEEN {line.get('pykeen_version')} {line.get('pykeen', 0):.0f} s,"
    )


def test_figure_table_is_found():
    """The test above looks at every row with a result file."""
    table = README[README.index("| what | figure |") :].split("\n\n")[0]
    assert len(figure_rows()) == len(table.splitlines()) - 2 >= 6


def test_file_tree_lists_every_room_and_nothing_else():
    """Rooms with code, modules beside them, and folders of the repository, each with a line in the README."""
    tree = next(block for block in blocks(ROOT / "README.md", {""}) if "src/corollary/" in block)
    package = ROOT / "src" / "corollary"
    listed = {line.split()[0] for line in tree.splitlines()}
    rooms = {
        f"{path.name}/"
        for path in package.iterdir()
        if any(p.name != "__init__.py" for p in path.glob("*.py"))
    }
    modules = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    folders = {"src/corollary/", "tests/", "bench/", "recipes/", "docs/", "scripts/"}
    assert listed == rooms | modules | folders
    assert all((ROOT / folder).is_dir() for folder in folders)


def options_of(page: str) -> type[RunOptions]:
    """The options that a page speaks of: those of the learner that it is named after, else of ConvE."""
    return kind_of(page if page in KINDS else "conve").options


@cache
def options(page: str = "conve") -> dict[str, Any]:
    """Every option of a run by its dotted name, with its default."""

    def walk(model: type[BaseModel], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in model.model_fields.items():
            inner = field.default
            found |= (
                walk(type(inner), f"{prefix}{name}.")
                if isinstance(inner, BaseModel)
                else {prefix + name: inner}
            )
        return found

    return walk(options_of(page), "")


def test_every_option_of_a_run_is_described_with_its_default():
    """docs/conve.md and docs/memory.md have a row for each option of a run."""
    text = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("conve.md", "memory.md"))
    for name, default in options().items():
        if "." in name:
            assert f"| `{name}` | `{default}` |" in text


@pytest.mark.parametrize("page", ["drum", "rules", "poincare", "hgt"])
def test_every_option_of_other_learners_is_described_with_its_default(page):
    """What other learners have too (loop, evaluation, tracking) stands in docs/conve.md; drum.md names rules.md."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    if page == "drum":
        text += (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    shared = {**options(), **dict.fromkeys(("seed", "device", "memory_limit", "source"))}
    for name, default in options(page).items():
        if name not in shared or (shared[name] != default and "." in name):
            assert f"| `{name}` | `{default}` |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_the_docs_name_exist(page):
    """Anything written as model.x, training.x or evaluation.x in code is an option, and --set values are accepted."""
    from corollary.config import with_overrides

    text, kind = page.read_text(encoding="utf-8"), options_of(page.stem)
    for name in re.findall(r"`((?:model|training|evaluation|optimizations|tracking)\.[a-z0-9_.]+)", text):
        assert name in options(page.stem) or name.endswith(".json"), f"{page.name}: {name}"
    for pair in re.findall(
        r"--set ((?:model|training|evaluation|optimizations|tracking)\.\S+=[^\s`]+)", text
    ):
        kind.build(with_overrides({}, [pair]))
    for pair in re.findall(
        r"`((?:model|training|evaluation|optimizations|tracking)\.[a-z0-9_.]+=[^`]+)`", text
    ):
        kind.build(with_overrides({}, [pair]))


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (ROOT / "recipes").glob("*-poincare.toml")))
def test_figures_of_taxonomies_are_those_of_the_result_files(recipe):
    """docs/poincare.md shows MAP and mean rank of each recipe and its placement to three and two digits."""
    summary = ROOT / "recipes" / "results" / recipe / "summary.json"
    row = next(
        line
        for line in (ROOT / "docs" / "poincare.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `{recipe}` |")
    )
    if not summary.exists():
        assert "not run yet" in row
        return
    mean = json.loads(summary.read_text(encoding="utf-8"))["mean"]
    for name in ("map", "untrained map", "euclidean map"):
        assert f"{mean[name]:.3f}" in row
    for name in ("mean_rank", "untrained mean_rank"):
        assert f"{mean[name]:.2f}" in row


@pytest.mark.parametrize(
    "recipe", sorted(path.stem for path in (ROOT / "recipes").glob("*-held-out-poincare.toml"))
)
def test_figures_of_what_was_withheld_are_those_of_the_result_files(recipe):
    """docs/poincare.md shows MRR, hits@10 and mean rank of withheld pairs and parents, beside three controls."""
    text = (ROOT / "docs" / "poincare.md").read_text(encoding="utf-8")
    file = ROOT / "recipes" / "results" / recipe / "seed-0" / "taxonomy.json"
    figures = json.loads(file.read_text(encoding="utf-8"))["figures"]
    for part in ("withheld_pairs", "leaf_attachment"):
        found = [figures[control][part] for control in ("run", "untrained", "random", "euclidean")]
        cells = [f"{one['mrr']:.3f} / {one['hits@10']:.3f} / {one['mean_rank']:.1f}" for one in found]
        assert f"| {' | '.join(cells)} |" in text


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (ROOT / "recipes").glob("*-conve*.toml")))
def test_recommended_settings_are_those_of_the_recipes(recipe):
    """docs/conve.md repeats the main options of each recipe."""
    from corollary.config import read_table
    from corollary.runs.config import RunConfig, from_record

    run = RunConfig.build(from_record(read_table(ROOT / "recipes" / f"{recipe}.toml")))
    training, model = run.training, run.model
    values = (
        model.batch_size,
        training.lr,
        training.optimizer.weight_decay,
        training.epochs,
        run.evaluation.checkpoint,
    )
    row = f"| `recipes/{recipe}.toml` | {' | '.join(map(str, values))} |"
    assert row in (ROOT / "docs" / "conve.md").read_text(encoding="utf-8")
    assert (model.loss, model.examples, model.weight) == ("cross_entropy", "kvsall", "triple")
    assert (model.smoothing, model.label_smoothing, training.schedule.name) == ("uniform", 0.1, "cosine")
    assert training.optimizer.name == "adamw"
    assert training.average_decay is not None


def test_public_names_have_a_line_each():
    """The table of docs/python.md lists `corollary.__all__`."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.M)) == corollary.__all__


def test_datasets_table_agrees_with_the_registry():
    """Names and counts of docs/data.md are those that `corollary graph datasets` prints, files those it looks for."""
    from corollary.graph.datasets.registry import DATASETS

    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    frame = corollary.list_datasets().to_pandas()
    for row in frame.to_dict("records"):
        counts = " | ".join(f"{row[name]:,}" for name in ("entities", "relations", "train", "valid", "test"))
        assert re.search(rf"^\| `{row['name']}` \| .* \| {re.escape(counts)} \| ", text, re.M), row["name"]
    for dataset in DATASETS.values():
        paths = [*dataset.splits.values(), *([dataset.nodes] if dataset.nodes else [])]
        if dataset.archives:
            assert all(f"`{path}`" in text for path in paths), dataset.name


def test_smoothing_table_is_what_the_code_does():
    """The formulas of docs/conve.md, evaluated, are the labels of every definition."""
    from corollary.losses.labels import smoothed

    text = (ROOT / "docs" / "conve.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(uniform|conve|pykeen)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|", text, re.M)
    assert len(rows) == 3
    for variant, true, other in rows:
        labels = smoothed(variant, 0.1, 50)
        values = [eval(formula, {"a": 0.1, "N": 50}) for formula in (true, other)]
        assert values == pytest.approx([labels.positive + labels.every, labels.every], abs=1e-15)


def test_notebook_is_kept_without_outputs():
    """Outputs are made by whoever runs it."""
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


RUN_NOTEBOOK = """
import sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(book, timeout=600, kernel_name="python3").execute()
nbformat.write(book, sys.argv[2])
"""


@pytest.mark.xdist_group("notebook")
def test_tutorial_runs_from_top_to_bottom(tmp_path):
    """Every cell runs in a kernel of its own, with one epoch; answers and figures are there. It leaves its files in
    the temporary folder of the test."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_NOTEBOOK, ROOT / "docs" / "tutorial.ipynb", tmp_path / "done.ipynb"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ
        | {"COROLLARY_TUTORIAL_EPOCHS": "1", "TMPDIR": str(tmp_path), "IPYTHONDIR": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr[-3000:]
    text = (tmp_path / "done.ipynb").read_text(encoding="utf-8")
    for promise in ("MRR", "Did you mean", "report.html", "spoken_language"):
        assert promise in text
    assert (next(tmp_path.glob("corollary-*")) / "run" / "report.html").is_file()


def test_ensembles_are_those_of_the_result_file():
    """docs/explaining.md shows test MRR of every run and of both fusions."""
    text = (ROOT / "docs" / "explaining.md").read_text(encoding="utf-8")
    lines = (ROOT / "bench" / "results" / "ensemble.jsonl").read_text(encoding="utf-8").splitlines()
    for line in map(json.loads, lines):
        row = next(row for row in text.splitlines() if row.lower().startswith(f"| {line['graph']} |"))
        for figures in line["figures"].values():
            assert f"| {figures['mrr']:.4f} |" in row
