"""Configuration is strict: every key is checked, and what is wrong is named with a remedy."""

import json

import pytest
from pydantic import Field, PositiveFloat, PositiveInt

from corollary.config import Config, read_table, with_overrides
from corollary.errors import ConfigError
from corollary.learners.conve_config import ConvEConfig
from corollary.training.loop import TrainingConfig


class Part(Config):
    """A group of options."""

    lr: PositiveFloat = 0.1
    channels: PositiveInt = 32
    decay: float | None = Field(0.5, gt=0, lt=1)


class Whole(Config):
    """What a file holds."""

    seed: int = 0
    name: str = "x"
    labels: tuple[str, ...] = ()
    training: Part = Part()


def written(tmp_path, text, name="run.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(values):
    with pytest.raises(ConfigError) as caught:
        Whole.build(values, where="run.toml")
    return str(caught.value)


def test_toml_and_json_give_the_same(tmp_path):
    """The suffix decides how a file is read."""
    toml = written(tmp_path, 'seed = 3\nname = "a"\n[training]\nlr = 0.25\n')
    text = written(tmp_path, json.dumps({"seed": 3, "name": "a", "training": {"lr": 0.25}}), "run.json")
    assert Whole.load(toml) == Whole.load(text) == Whole(seed=3, name="a", training=Part(lr=0.25))


@pytest.mark.parametrize("config", [Whole(), ConvEConfig(), TrainingConfig(epochs=7, clip_norm=0.1)])
def test_a_dumped_configuration_is_read_back(tmp_path, config):
    """`config.json` as it is written gives the same configuration."""
    path = written(tmp_path, json.dumps(config.model_dump(mode="json")), "config.json")
    assert type(config).load(path) == config


def test_a_configuration_cannot_be_changed():
    """A change makes a new one, and is validated."""
    config = Whole()
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1
    assert config.changed(seed=1) == Whole(seed=1)
    with pytest.raises(ConfigError, match="seed = 'one': Input should be a valid integer"):
        config.changed(seed="one")


def test_an_unknown_key_suggests_the_nearest():
    """With the file and the group it stands in."""
    assert refusal({"sead": 1}) == "run.toml: option 'sead' is not known. Did you mean 'seed'?"
    assert refusal({"training": {"chanels": 1}}) == (
        "run.toml: training: option 'chanels' is not known. Did you mean 'channels'?"
    )
    assert refusal({"training": {"lrr": 1}}).endswith("Did you mean 'lr'?")
    assert refusal({"zzz": 1}) == "run.toml: option 'zzz' is not known. Known: labels, name, seed, training."


def test_a_wrong_value_is_named_with_what_was_expected():
    """Key, value and condition; one line a mistake."""
    assert refusal({"seed": "one"}).startswith("run.toml: seed = 'one': Input should be a valid integer")
    assert refusal({"training": {"lr": -1}}) == "run.toml: training.lr = -1: Input should be greater than 0"
    assert refusal({"training": 3}).startswith("run.toml: training = 3: Input should be")
    assert refusal({"labels": "phylum"}) == "run.toml: labels = 'phylum': expected a list: [\"phylum\"]"
    two = refusal({"seed": "one", "training": {"lr": 0, "channels": 0}})
    assert [line.split(" ")[1] for line in two.splitlines()] == ["seed", "training.lr", "training.channels"]


def test_a_rule_between_options_is_told_plainly():
    """A validator's own words, without pydantic's."""
    with pytest.raises(ConfigError) as caught:
        ConvEConfig.build({"embedding_dim": 199}, where="run.toml")
    assert str(caught.value).startswith("run.toml: embedding_dim = 199 as an image of 1 x 199 is too narrow")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.toml", "seed = ", "run.toml: Invalid value"),
        ("run.toml", "seed = 1\nseed = 2", "run.toml: Cannot overwrite a value"),
        ("run.json", "{", "run.json: Expecting property name"),
        ("run.json", "[1]", "run.json: expected a table of options, found list"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, text, message):
    """By its name, with the parser's reason."""
    with pytest.raises(ConfigError) as caught:
        read_table(written(tmp_path, text, name))
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    """Absent, a folder, or not UTF-8."""
    with pytest.raises(ConfigError, match="none.toml: cannot be read: No such file"):
        read_table(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_table(tmp_path)
    (tmp_path / "latin.toml").write_bytes('name = "Zoë"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="latin.toml: 'utf-8' codec can't decode"):
        read_table(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=3", {"seed": 3}),
        ("training.lr=0.003", {"training": {"lr": 0.003}}),
        ("training.lr = 1e-3", {"training": {"lr": 0.001}}),
        ("name=plain text", {"name": "plain text"}),
        ('name="quoted"', {"name": "quoted"}),
        ("name=a=b", {"name": "a=b"}),
        ("training.decay=none", {"training": {"decay": None}}),
        ("a.b.c=[1, 2]", {"a": {"b": {"c": [1, 2]}}}),
        ("training.batch-size=true", {"training": {"batch_size": True}}),
    ],
)
def test_an_override_is_read_as_toml_else_as_text(override, expected):
    """Groups are made on the way; hyphens are underscores; none is no value."""
    assert with_overrides({}, [override]) == expected


def test_overrides_come_last_and_leave_the_table_alone(tmp_path):
    """The later of two wins, the other keys stay."""
    table = {"seed": 1, "training": {"lr": 0.5, "channels": 4}}
    assert with_overrides(table, ["training.lr=1", "training.lr=2"]) == {
        "seed": 1,
        "training": {"lr": 2, "channels": 4},
    }
    assert table["training"]["lr"] == 0.5
    path = written(tmp_path, "[training]\nlr = 0.5\nchannels = 4\n")
    assert Whole.load(path, ["training.lr=2"]).training == Part(lr=2, channels=4)


@pytest.mark.parametrize("override", ["seed", "=3", " =3", ""])
def test_an_override_without_key_and_value_is_refused(override):
    """With an example of a right one."""
    with pytest.raises(ConfigError) as caught:
        with_overrides({}, [override])
    assert str(caught.value) == f"--set {override}: expected KEY=VALUE, for example training.lr=0.003"


def test_an_override_below_a_value_is_refused():
    """A value holds no options."""
    with pytest.raises(ConfigError, match=r"--set seed\.x=3: 'seed' is a value, not a group of options"):
        with_overrides({"seed": 1}, ["seed.x=3"])


def test_a_value_that_only_toml_knows_is_refused_like_any_other(tmp_path):
    """A date reaches the check and is told as a wrong value."""
    with pytest.raises(ConfigError, match=r"seed = datetime\.date\(2024, 1, 1\): Input should be"):
        Whole.load(written(tmp_path, "seed = 2024-01-01"))


def test_every_option_has_a_help_text():
    """It is shown in `--help` and in the docs."""
    for config in (ConvEConfig, TrainingConfig):
        bare = [
            name
            for name, field in config.model_fields.items()
            if not field.description and not issubclass(type(field.default), Config)
        ]
        assert bare == []
