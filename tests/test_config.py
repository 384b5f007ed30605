"""Promises of `mien.config`."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mien import config, tasks
from mien.config import Policy, RunConfig
from mien.errors import ConfigError

YAML = "task: gesture\nseed: 3\nparams:\n  cv_folds: 4\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_into_a_frozen_object(tmp_path: Path) -> None:
    """The object holds what the file says, takes its name from the file, and cannot change."""
    run = config.load(write(tmp_path, YAML))
    assert (run.name, run.task, run.seed, run.params) == ("some", "gesture", 3, {"cv_folds": 4})
    with pytest.raises(ValueError, match="frozen"):
        run.seed = 4  # type: ignore[misc]


def test_overrides_reach_nested_keys_and_keep_yaml_types(tmp_path: Path) -> None:
    """`--set` values are YAML: numbers stay numbers, lists stay lists."""
    path = write(tmp_path, YAML)
    run = config.load(path, ["params.epochs=5", "policy.max_cpu_cost=2.5", "params.names=[a, b]"])
    assert run.params == {"cv_folds": 4, "epochs": 5, "names": ["a", "b"]}
    assert run.policy.max_cpu_cost == 2.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: gesture\nsede: 1\n", "unknown key 'sede'. Did you mean 'seed'?"),
        ("task: gesture\npolicy:\n  max_bundle_mbs: 1\n", "Did you mean 'max_bundle_mb'?"),
        ("task: gesture\nseed: many\n", "seed: expected a whole number, found 'many'"),
        ("seed: 1\n", "task: expected a value, found nothing"),
        ("- a list\n", "must hold keys and values"),
        ("a: [\n", "is not readable YAML"),
        ("task: 2024-02-30\n", "is not readable YAML"),
    ],
)
def test_a_bad_file_is_refused_with_a_hint(tmp_path: Path, text: str, message: str) -> None:
    """Each fault is named, an unknown key with its nearest known one."""
    with pytest.raises(ConfigError) as error:
        config.load(write(tmp_path, text))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "override", ["params.epochs", "=5", "seed.deep=1", "params.x=[1", "params.x=2024-02-30"]
)
def test_a_bad_override_is_refused(tmp_path: Path, override: str) -> None:
    """An override that is no KEY=VALUE, or leads through a value, names itself in the message."""
    with pytest.raises(ConfigError, match="--set"):
        config.load(write(tmp_path, YAML), [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=5", "--set epochs=5: unknown key 'epochs'.*--set params.epochs=5"),
        ("sede=5", "--set sede=5: unknown key 'sede'. Did you mean 'seed'"),
        (
            "policy.maximise=macrof1",
            "--set policy.maximise=macrof1: policy.maximise: expected 'macro_f1', .*"
            "found 'macrof1'",
        ),
        ("variants=int8", r"variants: expected a list of int8, fp16, as in \[int8\], found 'int8'"),
    ],
)
def test_a_fault_of_an_override_is_not_blamed_on_the_file(
    tmp_path: Path, override: str, message: str
) -> None:
    path = write(tmp_path, YAML)
    with pytest.raises(ConfigError, match=message) as error:
        config.load(path, [override])
    assert path.name not in str(error.value)


@pytest.mark.parametrize(
    ("task", "params", "message"),
    [
        ("emotion", {"epochs": "five"}, "params: epochs: expected a whole number, found 'five'"),
        ("emotion", {"epochs": 0}, "epochs: expected a number of at least 1, found 0"),
        ("emotion", {"candidates": "x"}, "expected a list, as in [yolox-nano], found 'x'"),
        ("gesture", {"candidates": "svn"}, "a list of random_forest, svm, logistic_regression"),
        ("gesture", {"candidates": ["svn"]}, "or 'lightgbm', found 'svn'"),
        ("gesture", {"candidates": ["svm", "svm"]}, "params: candidates: expected each name once"),
    ],
)
def test_a_param_of_another_form_is_told_in_words_of_yaml(
    task: str, params: dict[str, object], message: str
) -> None:
    """Nobody who sets a param knows the types of Python; one fault gives one sentence."""
    with pytest.raises(ConfigError) as error:
        config.parse(tasks.load(task).training.Params, params, "params")
    assert message in str(error.value)
    assert ";" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "abc", "a whole number"),
        ("PORT", "99999", "a number of at most 65535"),
        ("MIEN_THREADS", "-1", "a number of at least 0"),
    ],
)
def test_a_variable_of_another_form_is_told_with_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        config.settings()
    assert f"the environment: {name}: expected {expected}, found '{value}'" in str(error.value)


NO_DOCUMENTS = {
    "no day": "date: 2024-02-30",
    "deep": "[" * 5000,
    "repeated lists": "a: &a [1, 1]\nb: &b [*a, *a]\nname: *b",
    "repeated mapping": "a: &a {x: 1}\nb: {<<: *a}",
}


@pytest.mark.parametrize("name", NO_DOCUMENTS)
def test_yaml_that_python_cannot_hold_is_no_yaml(name: str) -> None:
    """Each would end in another exception, or repeat a list without end."""
    with pytest.raises(yaml.YAMLError):
        config.parse_yaml(NO_DOCUMENTS[name])


def test_a_word_may_be_repeated_in_yaml() -> None:
    assert config.parse_yaml("train: &t images\nval: *t") == {"train": "images", "val": "images"}


def test_a_missing_file_names_the_files_that_are_there(tmp_path: Path) -> None:
    """The message lists the configs beside the one that is not there."""
    write(tmp_path, YAML)
    with pytest.raises(ConfigError, match=r"some\.yaml"):
        config.load(tmp_path / "other.yaml")


def test_the_environment_is_read_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`$PORT` and `$HOST` count; a port that is none is refused."""
    monkeypatch.setenv("PORT", "9123")
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert (config.settings().port, config.settings().host) == (9123, "0.0.0.0")
    monkeypatch.setenv("PORT", "99999999")
    with pytest.raises(ConfigError, match="PORT"):
        config.settings()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MIEN_API_KEY", "MIEN_API_KEYS"),
        ("MIEN_MAX_INFLIGHT", "MIEN_MAX_IN_FLIGHT"),
        ("MIEN_CORS", "MIEN_CORS_ORIGINS"),
    ],
)
def test_a_misspelled_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    """A server that ignored its API keys would answer everyone."""
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=rf"unknown setting {name}\. Did you mean {meant}\?"):
        config.settings()


@pytest.mark.parametrize("name", ["MIEN_PORT", "MIEN_CACHE", "MIEN_PRETRAINED_DIR", "MIEN_OWN"])
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Compose, the weights and a user's own scripts have variables as well."""
    monkeypatch.setenv(name, "1")
    assert config.settings() == config.Settings()


def test_only_the_documented_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """`$HOME` is where a person lives, not where the workspace is."""
    monkeypatch.delenv("MIEN_HOME", raising=False)
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("THREADS", "7")
    assert config.settings().home == Path()
    assert config.settings().threads == 0


def test_a_prediction_log_is_where_the_workspace_is_unless_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Thirty days and 200 MB of it; limits of nothing are refused."""
    for name in ("MIEN_PREDICTION_LOG", "MIEN_PREDICTION_LOG_DAYS", "MIEN_PREDICTION_LOG_MB"):
        monkeypatch.delenv(name, raising=False)
    found = config.settings()
    assert (found.prediction_log, found.prediction_log_days, found.prediction_log_mb) == (
        None,
        30,
        200,
    )
    monkeypatch.setenv("MIEN_PREDICTION_LOG", str(tmp_path / "a.db"))
    monkeypatch.setenv("MIEN_PREDICTION_LOG_DAYS", "0.5")
    found = config.settings()
    assert (found.prediction_log, found.prediction_log_days) == (tmp_path / "a.db", 0.5)
    for name in ("MIEN_PREDICTION_LOG_DAYS", "MIEN_PREDICTION_LOG_MB"):
        monkeypatch.setenv(name, "0")
        with pytest.raises(ConfigError, match=name):
            config.settings()
        monkeypatch.delenv(name)


def test_drills_are_off_unless_they_are_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a clear yes counts, and a word that is none is an error, not a yes."""
    monkeypatch.delenv("MIEN_FAULT_INJECTION", raising=False)
    assert config.settings().fault_injection is False
    for word, meaning in (("1", True), ("true", True), ("0", False), ("", False)):
        monkeypatch.setenv("MIEN_FAULT_INJECTION", word)
        assert config.settings().fault_injection is meaning
    monkeypatch.setenv("MIEN_FAULT_INJECTION", "perhaps")
    with pytest.raises(ConfigError, match="MIEN_FAULT_INJECTION"):
        config.settings()


def test_a_prediction_log_of_an_empty_name_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose hands on variables that its user left out as empty ones."""
    monkeypatch.setenv("MIEN_PREDICTION_LOG", "")
    assert config.settings().prediction_log is None


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=6))
def test_a_digest_does_not_depend_on_the_order_of_keys(document: dict[str, int]) -> None:
    """The same keys and values in another order give the same digest; another value does not."""
    turned = dict(reversed(list(document.items())))
    assert config.digest(document) == config.digest(turned)
    assert config.digest({**document, "more": 1}) != config.digest({**document, "more": 2})


def test_a_policy_takes_no_limit_of_zero() -> None:
    """A limit that nothing can keep is an error of the config."""
    with pytest.raises(ConfigError, match="max_bundle_mb"):
        config.parse(RunConfig, {"name": "x", "task": "t", "policy": {"max_bundle_mb": 0}}, "x")
    assert Policy().maximise == "macro_f1"


def test_a_bare_off_switches_a_gate_off(tmp_path: Path) -> None:
    """YAML reads `off` as false; users mean the word."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "task: gesture\nchecks: {no_subject: {level: off}, near_duplicates: {limit: 0.2}}\n"
    )
    checks = config.load(file).checks
    assert checks["no_subject"].level == "off"
    assert (checks["near_duplicates"].level, checks["near_duplicates"].limit) == (None, 0.2)
