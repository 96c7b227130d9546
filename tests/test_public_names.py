"""The public names are few, documented, and quick to reach: torch is loaded only where it is needed."""

import inspect
import subprocess
import sys

import pytest

import corollary

NAMES = [
    "ConvEConfig", "CorollaryError", "DrumOptions", "Evaluation", "ExplainConfig", "Explainer", "FilterConfig", "Graph", "HgtOptions",
    "ImportConfig", "ImportRunConfig", "IndexConfig", "PoincareRunConfig", "Question", "RepurposeConfig", "RulesOptions",
    "Run", "RunConfig", "SplitConfig", "TaxonomyImportConfig", "TracInConfig", "TrainingConfig",
    "VerifyConfig", "analyze_taxonomy", "apply_rules", "asked_triples", "build_index", "combine_drum",
    "embed", "evaluate", "evaluate_elsewhere", "explain_prediction", "export", "fit_ensemble", "graph_info", "import_dataset", "import_graph",
    "import_rules", "import_run", "import_taxonomy", "list_datasets", "mine_rules", "predict", "predict_unseen",
    "quickstart", "repurpose_graph", "resume", "show_rules", "split_graph", "subset_graph", "suspects", "tracin",
    "tracin_by_index", "train_conve", "train_drum", "train_hgt", "train_independent", "train_inductive", "train_poincare",
    "typed_batches", "validate_embeddings", "verify", "write_report",
]  # fmt: skip

LOADED_BY_HELP = """
import os, sys
from corollary.cli.main import main

class Ended(BaseException):
    pass

def end(code):
    raise Ended(code)

os._exit = end
for command in ([], ["graph"], ["graph", "import"], ["train"], ["train", "conve"], ["evaluate"], ["predict"],
                ["export"], ["runs", "import"], ["tracin", "run"], ["repurpose"]):
    sys.argv = ["corollary", *command, "--help"]
    try:
        main()
    except Ended as ended:
        assert ended.args == (0,), (command, ended)
    loaded = sorted({"torch", "duckdb", "pandas", "numba"} & set(sys.modules))
    print("LOADED", command, loaded, file=sys.stderr)
"""


def fresh(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_public_names_are_these():
    """`corollary.__all__` holds these names and no others, in order."""
    assert corollary.__all__ == NAMES
    assert dir(corollary) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_public_name_is_there_and_documented(name):
    """Each can be imported and has a docstring of its own."""
    value = getattr(corollary, name)

    assert value.__name__ == name
    assert (vars(value)["__doc__"] if inspect.isclass(value) else value.__doc__).strip()


@pytest.mark.parametrize("name", [name for name in NAMES if name.islower()])
def test_public_functions_say_what_they_return(name):
    """Every argument and result has a type."""
    signature = inspect.signature(getattr(corollary, name))

    assert signature.return_annotation is not signature.empty
    assert all(parameter.annotation is not signature.empty for parameter in signature.parameters.values())


def test_another_name_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="module 'corollary' has no attribute 'train_transe'"):
        corollary.train_transe  # noqa: B018


def test_import_corollary_loads_nothing_heavy():
    """`import corollary` comes without torch, DuckDB, pandas and numba."""
    done = fresh(
        "import sys, corollary; print({'torch', 'duckdb', 'pandas', 'numba', 'pydantic'} & set(sys.modules))"
    )

    assert done.stdout == "set()\n", done.stderr


def test_help_answers_without_torch():
    """`corollary --help`, and the help of every larger command, loads neither torch nor DuckDB, pandas, numba."""
    done = fresh(LOADED_BY_HELP)

    lines = [line for line in done.stderr.splitlines() if line.startswith("LOADED")]
    assert len(lines) == 11, done.stderr
    assert all(line.endswith("[]") for line in lines), lines
