"""A ConvE that another program trained scores here as it does there; what cannot be taken over is refused in words."""

import gzip
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

import corollary
from corollary.errors import ConfigError, InputError, RunError, StorageError
from corollary.learners.protocol import Queries
from corollary.runs.importing import ImportRunConfig, import_run
from corollary.training.checkpoints import read_manifest
from tests.reference.foreign_conve import Authors, PyKeen, Script, stirred

SIZE = {"height": 4, "width": 8, "channels": 4}
ROUNDING = {"rtol": 1e-5, "atol": 1e-5}
"""Sums of float32 in another order."""


class World:
    """The tiny graph, and a model that numbers its 30 entities and 3 relations otherwise."""

    def __init__(self, graph, folder: Path) -> None:
        self.graph, self.folder = graph, folder
        rng = np.random.default_rng(5)
        self.entities = [graph.entities.label(int(i)) for i in rng.permutation(30)]
        self.relations = [graph.relations.label(int(i)) for i in rng.permutation(3)]
        for kind, labels in (("entity", self.entities), ("relation", self.relations)):
            (folder / f"{kind}.txt").write_text("".join(f"{x}\t{i}\n" for i, x in enumerate(labels)))

    @property
    def config(self) -> ImportRunConfig:
        return ImportRunConfig(
            entity_to_id=self.folder / "entity.txt", relation_to_id=self.folder / "relation.txt"
        )

    def bring(self, content, name="state.pt", *, config=None, **values):
        """Save, import, open."""
        torch.save(content, self.folder / name)
        return import_run(
            self.folder / name, self.graph, self.folder / "run", config or self.config, **values
        )

    def refuse(self, kind, content, **values) -> str:
        """The message with which an import fails; nothing is left of the run."""
        with pytest.raises(kind) as caught:
            self.bring(content, **values)
        assert not (self.folder / "run").exists()
        assert not list(self.folder.glob(".partial*"))
        return str(caught.value)

    def compare(self, run, theirs, rows, *, side="tail"):
        """All scores of one side: `rows[r]` is the model's row of the relation that it numbers r."""
        e = torch.tensor([self.graph.entities.find(label) for label in self.entities])
        r = torch.tensor([self.graph.relations.find(label) for label in self.relations])
        asked = torch.cartesian_prod(torch.arange(30), torch.arange(3))
        with torch.no_grad():
            expected = theirs(asked[:, 0], torch.as_tensor(rows)[asked[:, 1]])
        relation = r[asked[:, 1]] + (3 if side == "head" else 0)
        model = run.model
        ours = model.scores(model.prepare(Queries(e[asked[:, 0]], relation)), slice(0, 30))[:, e]
        assert_close(ours.detach(), expected, **ROUNDING)


@pytest.fixture
def world(tiny, tmp_path):
    return World(tiny, tmp_path)


def test_pykeen_scores_are_kept_on_both_sides(world):
    """Rows 2r and 2r + 1 are a relation and its inverse; the rows of entities are found by label."""
    theirs = stirred(PyKeen(30, 6, **SIZE))
    run = world.bring(theirs.state_dict())
    world.compare(run, theirs, [0, 2, 4])
    world.compare(run, theirs, [1, 3, 5], side="head")
    assert (run.config.model.sides, run.config.model.entity_bias) == ("both", True)


def test_a_model_without_inverse_relations_predicts_and_ranks_tails_alone(world):
    """Its figures are those of tails; a question about a head, and going on with its training, are refused."""
    theirs = stirred(PyKeen(30, 3, **SIZE))
    run = world.bring(theirs.state_dict())
    world.compare(run, theirs, [0, 1, 2])
    found = corollary.evaluate(run)
    assert set(found.figures.sides) == {"both", "tail"}
    assert (found.num_triples, found.num_rankings) == (10, 10)
    assert found.metrics.mrr == pytest.approx(slow_tail_mrr(world, theirs), rel=1e-12)
    corollary.write_report(run.folder)
    assert "10 test triples, each asked for its tail alone" in (run.path / "report.html").read_text()
    with pytest.raises(InputError) as caught:
        corollary.predict(run, [corollary.Question(None, "likes", "e01")])
    assert str(caught.value) == (
        f"(?, likes, e01) asks for a head, and {run.path} was trained without inverse relations: it predicts tails alone"
    )
    assert corollary.predict(run, [corollary.Question("e01", "likes", None)], k=3).to_pandas().shape[0] == 3
    with pytest.raises(RunError, match="was imported from another program, without its optimiser"):
        corollary.resume(run.path)


def slow_tail_mrr(world, theirs) -> float:
    """Filtered by all splits, one triple after the other."""
    graph = world.graph
    known = {tuple(map(int, row)) for split in graph.splits for row in graph.triples(split)}
    e = [world.entities.index(label) for label in graph.entities.labels]
    r = [world.relations.index(label) for label in graph.relations.labels]
    total = 0.0
    for head, relation, tail in graph.triples("test").tolist():
        with torch.no_grad():
            scores = theirs(torch.tensor([e[head]]), torch.tensor([r[relation]]))[0, e]
        others = [i for i in range(30) if i == tail or (head, relation, i) not in known]
        total += 1 / (1 + sum(scores[i].item() > scores[tail].item() for i in others))
    return total / len(graph.triples("test"))


def test_a_plain_script_is_taken_over_with_its_checkpoints(world):
    """Epochs and learning rates stand in the manifests, dropouts and smoothing come from the script's config.json."""
    script = {
        "model": {"output_channels": 4, "input_dropout": 0.15, "feature_map_dropout": 0.25},
        "training": {"learning_rate": 0.01, "label_smoothing": 0.2, "num_epochs": 9, "random_seed": 42},
    }
    folder = world.folder / "model"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(script))
    described = {"embedding_height": 4, "embedding_width": 8}
    theirs = {epoch: stirred(Script(30, 3, **SIZE), epoch) for epoch in (2, 4)}
    for epoch, model in theirs.items():
        content = {
            "epoch": epoch - 1,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": torch.optim.Adam(model.parameters(), lr=0.01 / epoch).state_dict(),
            "model_config": described,
            "metrics": {"mrr": np.float64(0.3)},
        }
        torch.save(content, folder / "checkpoints" / f"checkpoint_epoch_{epoch}.pt")
    torch.save({**content, "epoch": 3}, folder / "final_model.pt")
    torch.save({**content, "model_state_dict": theirs[2].state_dict()}, folder / "best_model.pt")

    run = import_run(folder, world.graph, world.folder / "run", world.config)

    for name, epoch in (("best", 2), ("final", 4), ("epoch-0002", 2), ("epoch-0004", 4)):
        world.compare(corollary.Run.open(run.path, checkpoint=name), theirs[epoch], [0, 1, 2])
    manifests = {name: read_manifest(run.folder.checkpoint(name)) for name in ("epoch-0002", "epoch-0004")}
    assert {m.epoch: m.learning_rate for m in manifests.values()} == {2: 0.005, 4: 0.0025}
    model, imported = run.config.model, run.folder.config["imported"]
    assert (model.stacking, model.image(), model.entity_bias) == ("width", (4, 8), False)
    assert (model.loss, model.reduction, model.examples) == ("binary_cross_entropy", "mean", "1vsall")
    assert (model.input_dropout, model.feature_dropout, model.label_smoothing) == (0.15, 0.25, 0.2)
    assert (run.config.seed, run.config.training.lr, run.config.training.epochs) == (42, 0.0025, 4)
    assert imported["layout"] == "a plain script"
    assert imported["from"]["model.label_smoothing"] == str(folder / "config.json")
    assert imported["from"]["training.lr"] == "checkpoint"
    assert imported["from"]["model.stacking"] == "tensors"
    assert imported["from"]["model.examples"] == "default of a plain script"


def test_the_authors_code_is_taken_over_with_inverse_relations_by_name(world):
    """`r_reverse` beside `r` among the labels; an image that several shapes allow is told."""
    names = [*world.relations, *(f"{label}_reverse" for label in world.relations)]
    (world.folder / "relation.txt").write_text("".join(f"{i}\t{x}\n" for i, x in enumerate(names)))
    theirs = stirred(Authors(30, 6, **SIZE))
    run = world.bring(theirs.state_dict(), options={"model": {"hidden_dropout": 0.5}})
    world.compare(run, theirs, [0, 1, 2])
    world.compare(run, theirs, [3, 4, 5], side="head")
    assert run.config.model.hidden_dropout == 0.5
    assert run.folder.config["imported"]["from"]["model.hidden_dropout"] == "option"


def test_inverse_rows_behind_all_others_are_told(world):
    """A plain script may order them in two ways, so it has to be said."""
    theirs = stirred(Script(30, 6, **SIZE))
    content = {"model_state_dict": theirs.state_dict(), "model_config": {"embedding_height": 4}}
    message = world.refuse(InputError, content)
    assert message == (
        "the model has two rows for each of 3 relations, and a plain script may order them in two ways: say --inverse after "
        "(inverse of r in row r + R) or --inverse interleaved (rows 2r and 2r + 1)"
    )
    run = world.bring(content, config=world.config.changed(inverse="after"))
    world.compare(run, theirs, [0, 1, 2])
    world.compare(run, theirs, [3, 4, 5], side="head")


def test_safetensors_and_wrapped_names_are_the_same_weights(world):
    """No pickle is needed; `module.` of DataParallel is taken off."""
    theirs = stirred(PyKeen(30, 6, **SIZE))
    save_file(
        {f"module.{name}": value for name, value in theirs.state_dict().items()},
        world.folder / "m.safetensors",
    )
    run = import_run(world.folder / "m.safetensors", world.graph, world.folder / "run", world.config)
    world.compare(run, theirs, [0, 2, 4])


def test_pykeens_folder_brings_its_own_ids(world):
    """`state.pt` beside `training_triples`, whose labels pandas quoted; the pickled model is never opened."""
    theirs = stirred(PyKeen(30, 6, **SIZE))
    folder = world.folder / "model"
    (folder / "training_triples").mkdir(parents=True)
    for kind, labels in (("entity", world.entities), ("relation", world.relations)):
        text = "id\tlabel\n" + "".join(f'{i}\t"{label}"\n' for i, label in enumerate(labels))
        (folder / "training_triples" / f"{kind}_to_id.tsv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "trained_model.pkl").write_bytes(pickle.dumps(Fatal()))
    with pytest.raises(InputError) as caught:
        import_run(folder, world.graph, world.folder / "run")
    assert str(caught.value) == (
        f"{folder / 'trained_model.pkl'} is a pickle of a whole model, which can run code when it is opened, so it is "
        "never opened here. Where PyKEEN is installed and you trust the file, two lines of Python write its weights "
        "beside it:\n"
        f'    model = torch.load("{folder / "trained_model.pkl"}", weights_only=False)\n'
        f'    torch.save(model.state_dict(), "{folder / "state.pt"}")\n'
        f"then import {folder / 'state.pt'}"
    )
    torch.save(theirs.state_dict(), folder / "state.pt")
    world.compare(import_run(folder, world.graph, world.folder / "run"), theirs, [0, 2, 4])


class Fatal:
    """Stops the tests where it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was opened')",)


def test_what_a_pickle_could_run_is_not_run(world):
    """The message says what was in it and how to write the weights alone."""
    message = world.refuse(InputError, {"model_state_dict": {}, "args": Fatal()})
    assert message == (
        f"{world.folder / 'state.pt'} holds more than weights (exec), and what a pickle holds can run code when it "
        "is opened, so it is not opened here. Where you trust the file, write its weights alone: "
        f'torch.save(torch.load("{world.folder / "state.pt"}", weights_only=False)["model_state_dict"], "state.pt")'
    )


def test_labels_that_the_model_lacks_are_named(world):
    """And a file of ids that belongs to another model is refused by its count."""
    theirs = stirred(PyKeen(30, 6, **SIZE)).state_dict()
    text = (world.folder / "entity.txt").read_text()
    (world.folder / "entity.txt").write_text(text.replace("e07", "E07").replace("e11", "E11"))
    assert world.refuse(InputError, theirs) == (
        "2 of the graph's 30 entities are not in the model: 'e07', 'e11'. Use the graph that the model was trained on, or "
        "a subset of it"
    )
    (world.folder / "entity.txt").write_text(text + "e30\t30\n")
    assert world.refuse(InputError, theirs) == (
        "the model has 30 entities and their file of ids 31: it is not the file that the model was trained with"
    )


def test_entities_that_the_graph_lacks_are_left_out_aloud(world):
    """A model may know more than the graph."""
    (world.folder / "entity.txt").write_text((world.folder / "entity.txt").read_text() + "more\t30\n")
    said: list[str] = []
    theirs = stirred(PyKeen(31, 6, **SIZE))
    run = world.bring(theirs.state_dict(), say=said.append)
    assert "1 entities of the model are not in the graph and are left out" in said
    world.compare(run, lambda e, r: theirs(e, r)[:, :30], [0, 2, 4])


def test_files_of_ids_are_asked_for(world):
    """Rows without labels could be anybody's."""
    message = world.refuse(InputError, stirred(PyKeen(30, 6, **SIZE)).state_dict(), config=ImportRunConfig())
    assert message == (
        f"{world.folder / 'state.pt'} does not say which entity each row belongs to: name the file of labels and ids that "
        "the model was trained with, --entity-to-id FILE"
    )


def test_several_images_that_fit_are_not_guessed_between(world):
    """Width 4 x 8, height 8 x 4 and others have the same number of features: the user says which."""
    theirs = stirred(Script(30, 3, **SIZE))
    message = world.refuse(InputError, theirs.state_dict())
    assert message == (
        f"{world.folder / 'state.pt'}: several images fit the shapes: 4 x 8 stacked by width; 16 x 2 stacked by width; "
        "2 x 16 stacked by height; 8 x 4 stacked by height. Say which with --set model.image_height=4 --set "
        "model.stacking=width"
    )
    run = world.bring(theirs.state_dict(), options={"model": {"image_height": 4, "stacking": "width"}})
    world.compare(run, theirs, [0, 1, 2])


def test_the_image_of_the_published_script_is_its_default(world):
    """200 as 10 x 20 side by side, of which 20 x 10 on top of each other has as many features."""
    said: list[str] = []
    theirs = stirred(Script(30, 3, height=10, width=20, channels=2))
    run = world.bring(theirs.state_dict(), say=said.append)
    world.compare(run, theirs, [0, 1, 2])
    assert any("by default of a plain script" in line for line in said)


def change(state, **tensors):
    """A copy with some tensors replaced; None takes one away."""
    copied = {**state, **{name.replace("__", "."): value for name, value in tensors.items()}}
    return {name: value for name, value in copied.items() if value is not None}


def test_what_has_no_counterpart_is_refused_by_name(world):
    """Other tensors, several input channels, oblong kernels, no batch norm, broken numbers, other models."""
    state = stirred(Script(30, 3, **SIZE)).state_dict()
    path = world.folder / "state.pt"
    cases = [
        (
            change(state, attention__weight=torch.ones(2, 2)),
            f"{path} holds 'attention.weight' (2, 2), which has no counterpart in ConvE here, so its scores would differ",
        ),
        (
            change(state, conv1__weight=torch.ones(4, 2, 3, 3)),
            f"{path} convolves 2 input channels; ConvE here has one image a query",
        ),
        (
            change(state, conv1__weight=torch.ones(4, 3, 3)),
            f"{path}: filters has the shape (4, 3, 3), not 4 axes",
        ),
        (
            change(state, conv1__weight=torch.ones(4, 1, 3, 2)),
            f"{path} has a kernel of 3 x 2; ConvE here has square ones",
        ),
        (
            {name: value for name, value in state.items() if not name.startswith("bn")},
            f"{path} lacks 'bn0.weight', 'bn0.bias', 'bn0.running_mean', 'bn0.running_var' and 8 more. Models without "
            "batch norm are not taken over.",
        ),
        (
            change(state, fc__bias=torch.full((32,), torch.nan)),
            f"{path}: 'fc.bias' holds values that are not finite numbers",
        ),
        (
            {"layer.weight": torch.ones(2, 2)},
            f"{path} is not a ConvE of a known layout: it holds 'layer.weight'. Known by their entity table: "
            "entity_representations.0._embeddings.weight (PyKEEN), entity_embeddings.weight (a plain script), "
            "emb_e.weight (the authors' code)",
        ),
        (
            {"epoch": 3},
            f"{path} holds no tensors: expected a state dict, alone or under 'model_state_dict', 'state_dict', 'model'",
        ),
        ([1, 2], f"{path} holds a list: expected a state dict"),
    ]
    for content, expected in cases:
        assert world.refuse(InputError, content) == expected


def test_options_that_contradict_the_tensors_are_refused(world):
    """Channels are what the filters are."""
    state = stirred(PyKeen(30, 6, **SIZE)).state_dict()
    message = world.refuse(ConfigError, state, options={"model": {"channels": 8}})
    assert message == f"--set model.channels=8: the tensors of {world.folder / 'state.pt'} say 4"
    message = world.refuse(ConfigError, state, options={"model": {"chanels": 4}})
    assert "Did you mean 'channels'?" in message
    message = world.refuse(InputError, state, options={"model": {"image_height": 2}})
    assert message == (
        f"{world.folder / 'state.pt'}: the shapes do not belong to image_height = 2: what fits: 4 x 8 stacked by height"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"id,label\n", "is no file of weights: neither torch nor safetensors wrote it"),
        (b"PK\x03\x04 cut short", "cannot be read as weights of torch or safetensors"),
        (b"", "is no file of weights: neither torch nor safetensors wrote it"),
    ],
)
def test_damaged_files_are_named(world, content, reason):
    """One message, whatever torch makes of the bytes."""
    path = world.folder / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        import_run(path, world.graph, world.folder / "run", world.config)


def test_several_files_need_an_epoch_each(world):
    """Two state dicts in one folder are not guessed between; a folder without weights says what is expected."""
    folder = world.folder / "models"
    folder.mkdir()
    with pytest.raises(InputError) as caught:
        import_run(folder, world.graph, world.folder / "run", world.config)
    assert str(caught.value) == (
        f"{folder} holds no weights: expected a file that ends in .pt, .pth, .ckpt, .safetensors"
    )
    for name in ("one.pt", "two.pt"):
        torch.save(stirred(PyKeen(30, 6, **SIZE)).state_dict(), folder / name)
    with pytest.raises(
        InputError, match="holds 2 files of weights, and of one.pt neither its name nor its content"
    ):
        import_run(folder, world.graph, world.folder / "run", world.config)
    with pytest.raises(InputError, match="does not exist: give a file of weights or the folder it lies in"):
        import_run(folder / "three.pt", world.graph, world.folder / "run", world.config)


def test_a_run_that_is_there_is_not_touched(world):
    """Like everything that is written."""
    (world.folder / "run").mkdir()
    torch.save(stirred(PyKeen(30, 6, **SIZE)).state_dict(), world.folder / "state.pt")
    with pytest.raises(StorageError, match="exists already: choose another place or remove it first"):
        import_run(world.folder / "state.pt", world.graph, world.folder / "run", world.config)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("inverse", [True, False])
def test_pykeens_own_scores_are_kept(world, inverse):
    """A model of PyKEEN itself, `predict_t` and `predict_h` in eval mode. Needs PyKEEN 1.11."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies warn at import
        pytest.importorskip("pykeen.models", reason="PyKEEN is not installed (pip install pykeen==1.11.1)")
        from pykeen.models import ConvE
        from pykeen.triples import TriplesFactory
    triples = [
        [f"e{h:02d}", world.graph.relations.label(r), f"e{t:02d}"]
        for h, r, t in world.graph.triples("train").tolist()
    ]
    factory = TriplesFactory.from_labeled_triples(
        np.array(triples),
        entity_to_id={label: i for i, label in enumerate(world.entities)},
        relation_to_id={label: i for i, label in enumerate(world.relations)},
        create_inverse_triples=inverse,
    )
    model = stirred(ConvE(triples_factory=factory, embedding_dim=32, output_channels=4, random_seed=1))
    run = world.bring(model.state_dict())
    world.compare(run, lambda e, r: model.predict_t(torch.stack([e, r], 1)), [0, 1, 2])
    if inverse:
        world.compare(run, lambda e, r: model.predict_h(torch.stack([r, e], 1)), [0, 1, 2], side="head")
