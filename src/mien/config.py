"""What to train (one YAML file) and where it runs (the environment), each read once.

This file knows no task: the `params:` section stays a plain mapping here and is
checked by the task's own schema (`parse`), so a third task needs no edit.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from mien.errors import A_LIST, ConfigError, expectation, nearest

SchemaT = TypeVar("SchemaT", bound=BaseModel)
Form = Literal["int8", "fp16"]
FORMS: tuple[Form, ...] = get_args(Form)
TrainedOn = Literal["synthetic", "real", "pretrained"]
"""What a model was trained on: drawings of mien, data of its user, or data of others."""
REAL_DATA: tuple[TrainedOn, ...] = ("real", "pretrained")
"""A model of drawings does not replace one that was trained on these."""
Level = Literal["error", "warn", "off"]


class Schema(BaseModel):
    """Base of every schema of mien: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Policy(Schema):
    """Which candidate becomes champion: the best score within limits that a service can bear."""

    maximise: Literal["macro_f1", "accuracy", "map50", "map50_95"] = "macro_f1"
    """The score of the validation split by which candidates are compared."""
    max_bundle_mb: float = Field(default=50.0, gt=0)
    """Size of a bundle in 10^6 bytes, as a small container can carry it."""
    max_cpu_cost: float = Field(default=100.0, gt=0)
    """CPU time of a request, in units of decoding a 640 x 480 JPEG photo, whatever the load is."""
    max_score_drop: float = Field(default=0.01, ge=0, lt=1)
    """How much of any score a variant may lose against the candidate that it was made from."""
    max_latency_increase: float = Field(default=0.1, ge=0)
    """Share of CPU time by which a variant may be slower than that candidate."""
    max_risk: float = Field(default=0.05, gt=0, le=1)
    """Share of wrong answers among those that are not `unsure`."""
    max_rejected: float = Field(default=0.015, ge=0, lt=1)
    """Share of the subjects that show a class and may be `unsure` as if they showed none."""
    max_slice_drop: float | None = Field(default=None, ge=0, lt=1)
    """How much accuracy any slice of validation may lose against the champion; null: any."""


class CheckConfig(Schema):
    """Level and limit of one data check; what is left out stays at the check's default."""

    level: Level | None = None
    """Whether an issue ends the run, is only reported, or is not looked for."""
    limit: float | None = Field(default=None, ge=0, le=1)
    """Share of issues up to which the check does not fail."""

    @field_validator("level", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML 1.1 reads a bare `off` as false


class RunConfig(Schema):
    """One run as its YAML file tells it."""

    name: str = Field(pattern=r"^[\w.-]+$")
    """The file's own name without its ending."""
    task: str
    """What is learned: `emotion`, `gesture` or a task of your own."""
    source: str | None = None
    """A file, folder, zip, kaggle:OWNER/SET, `sample` or @VERSION; by default the last fetched."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of everything random; the same seed, data and config give the same model."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Hyperparameters of the task, and how it reads its data."""
    checks: dict[str, CheckConfig] = Field(default_factory=dict)
    """Levels and limits of single data checks, by slug."""
    search_space: dict[str, Any] = Field(default_factory=dict)
    """Ranges and values for `mien sweep`, by key of `params`; other commands ignore it."""
    variants: tuple[Form, ...] = ()
    """Smaller forms of every candidate, evaluated as candidates too."""
    policy: Policy = Policy()
    """Which candidate is chosen, and within which limits."""
    rights: str = ""
    """Licence and terms of the data, for the model card."""


def _path_or_address(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return SecretStr(value) if "://" in value else Path(value)


class Settings(BaseSettings):
    """Where mien runs: read from the environment, never from a config file."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = Field(default=Path(), alias="MIEN_HOME")
    host: str = Field(default="127.0.0.1", alias="HOST")
    port: int = Field(default=8000, alias="PORT", ge=0, le=65535)
    threads: int = Field(default=0, alias="MIEN_THREADS", ge=0)
    """Worker threads; 0 is one for each CPU that the process may use."""
    max_in_flight: int = Field(default=32, alias="MIEN_MAX_IN_FLIGHT", ge=1)
    """Requests that are read, queued or predicted at the same time."""
    max_batch_size: int = Field(default=8, alias="MIEN_MAX_BATCH_SIZE", ge=1)
    """Waiting requests that share one model call, where that is measured to be faster."""
    max_connections: int = Field(default=512, alias="MIEN_MAX_CONNECTIONS", ge=1)
    max_upload_mb: float = Field(default=64.0, alias="MIEN_MAX_UPLOAD_MB", gt=0)
    """Photos of sensors of 200 megapixels take 40 to 60 MB."""
    max_megapixels: float = Field(default=64.0, alias="MIEN_MAX_MEGAPIXELS", gt=0)
    """Of a picture; of a JPEG that is decoded at reduced size four times as many."""
    keep_alive_s: int = Field(default=90, alias="MIEN_KEEP_ALIVE_S", ge=1)
    """Seconds after which an idle connection is closed; longer than proxies keep theirs."""
    header_timeout_s: float = Field(default=10.0, alias="MIEN_HEADER_TIMEOUT_S", gt=0)
    """Seconds in which the headers of a request must arrive."""
    body_timeout_s: float = Field(default=30.0, alias="MIEN_BODY_TIMEOUT_S", gt=0)
    """Seconds in which the body of a request must arrive."""
    deadline_s: float = Field(default=20.0, alias="MIEN_DEADLINE_S", gt=0)
    """Seconds from a complete upload to its prediction."""
    grace_s: float = Field(default=5.0, alias="MIEN_GRACE_S", ge=0)
    """Seconds after SIGTERM in which new requests are still accepted."""
    drain_s: int = Field(default=30, alias="MIEN_DRAIN_S", ge=1)
    """Seconds that running requests have after that to finish."""
    reload_interval_s: float = Field(default=2.0, alias="MIEN_RELOAD_INTERVAL_S", ge=0)
    """Seconds between two polls for new models; 0 is never."""
    api_keys: SecretStr = Field(default=SecretStr(""), alias="MIEN_API_KEYS")
    """API keys as name:key,name:key; empty allows every request."""
    api_keys_file: Path | None = Field(default=None, alias="MIEN_API_KEYS_FILE")
    """The same in a file, one name:key a line."""
    rate_limit: float = Field(default=0.0, alias="MIEN_RATE_LIMIT", ge=0)
    """Requests per second and client name; 0 is no limit."""
    cors_origins: str = Field(default="", alias="MIEN_CORS_ORIGINS")
    """Origins whose pages may send requests from a browser, separated by commas."""
    canary: str = Field(default="", alias="MIEN_CANARY")
    """A version that answers some requests of a task instead of the champion: TASK:VERSION=5%."""
    notice: str = Field(default="", alias="MIEN_NOTICE")
    """What people read before a task that asks for a notice sees them; `off` is nothing."""
    prediction_log: Annotated[Path | SecretStr | None, BeforeValidator(_path_or_address)] = Field(
        default=None, alias="MIEN_PREDICTION_LOG"
    )
    """An SQLite file, or the address of a PostgreSQL database, which may have a password; None for
    `predictions.db` in the workspace."""
    prediction_log_spool: Path | None = Field(default=None, alias="MIEN_PREDICTION_LOG_SPOOL")
    """The file in which records wait for PostgreSQL; None for one in the workspace."""
    prediction_log_days: float = Field(default=30.0, alias="MIEN_PREDICTION_LOG_DAYS", gt=0)
    prediction_log_mb: float = Field(default=200.0, alias="MIEN_PREDICTION_LOG_MB", gt=0)
    review: str = Field(default="", alias="MIEN_REVIEW")
    """Inputs of doubtful answers that are kept for review, as TASK:KIND,TASK:KIND; empty is none.
    KIND is `crops`, or a field of the task's JSON requests, such as `landmarks`."""
    review_key: SecretStr = Field(default=SecretStr(""), alias="MIEN_REVIEW_KEY")
    """64 hexadecimal digits that encrypt them: `openssl rand -hex 32`."""
    review_share: float = Field(default=1.0, alias="MIEN_REVIEW_SHARE", gt=0, le=1)
    """Share of the doubtful answers that is kept; of those that feedback corrects, all are."""
    review_per_day: int = Field(default=200, alias="MIEN_REVIEW_PER_DAY", ge=1)
    """Samples that a task keeps in a day (UTC)."""
    review_days: float = Field(default=30.0, alias="MIEN_REVIEW_DAYS", gt=0)
    review_mb: float = Field(default=100.0, alias="MIEN_REVIEW_MB", gt=0)
    """Size of all samples in 10^6 bytes; the oldest are deleted first."""
    retrain_key: SecretStr = Field(default=SecretStr(""), alias="MIEN_RETRAIN_KEY")
    """What Alertmanager must send to `mien retrain --listen`, 24 characters or more."""
    registry: str = Field(default="", alias="MIEN_REGISTRY")
    """The address of a team's MLflow server, whose champions a server pulls and serves."""
    registry_interval_s: float = Field(default=15.0, alias="MIEN_REGISTRY_INTERVAL_S", gt=0)
    """Seconds between two questions to it."""
    tracking_uri: str = Field(default="", alias="MLFLOW_TRACKING_URI")
    """The address of a team's MLflow server, instead of `mlflow.db` in the workspace."""
    tracking_username: str = Field(default="", alias="MLFLOW_TRACKING_USERNAME")
    tracking_password: SecretStr = Field(default=SecretStr(""), alias="MLFLOW_TRACKING_PASSWORD")
    tracking_token: SecretStr = Field(default=SecretStr(""), alias="MLFLOW_TRACKING_TOKEN")
    """A login to such a server: user and password, or a token."""
    fault_injection: bool = Field(default=False, alias="MIEN_FAULT_INJECTION")
    """Whether the header X-Mien-Fault may slow a request down or make it fail."""

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any, info: ValidationInfo) -> Any:
        """Compose sets a variable that its user left out to the empty string."""
        return cls.model_fields[info.field_name or ""].default if value == "" else value


def settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigError: a variable has a value that cannot be used, or a name that is a misspelled
            setting: a server that ignored MIEN_API_KEY would answer everyone.
    """
    known = [str(field.alias) for field in Settings.model_fields.values()]
    for name in os.environ:
        if name.startswith("MIEN_") and name not in known:
            similar = get_close_matches(name, known, n=1, cutoff=0.85)
            similar += [each for each in known if each.startswith(f"{name}_")]
            if similar:
                raise ConfigError(
                    f"the environment: unknown setting {name}. Did you mean {similar[0]}? "
                    f"Otherwise unset {name}."
                )
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError(_explain(error, Settings, "the environment")) from None


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run's YAML file and apply overrides such as ``params.epochs=5``.

    Raises:
        ConfigError: no such file, not YAML, an unknown key or an unusable value.
    """
    document = _read_yaml(path)
    for override in overrides:
        _apply(document, override)
    try:
        return RunConfig.model_validate({**document, "name": path.stem})
    except ValidationError as error:
        raise ConfigError(_explain(error, RunConfig, str(path), overrides)) from None


def parse(schema: type[SchemaT], document: Mapping[str, Any], where: str) -> SchemaT:
    """Check a mapping against a schema and return it as a frozen object.

    Raises:
        ConfigError: naming each key at fault and, for an unknown one, the nearest known key.
    """
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_explain(error, schema, where)) from None


def parse_yaml(text: str) -> Any:
    """The document of a YAML text that somebody else wrote.

    Raises:
        yaml.YAMLError: it is not YAML, or a small text that stands for a huge document.
    """
    try:
        return yaml.load(text, _BoundedLoader)
    except (ValueError, RecursionError) as error:  # such as the date 2024-02-30
        raise yaml.YAMLError(str(error)) from None


class _BoundedLoader(yaml.SafeLoader):
    """Repeats words and numbers alone: of lists of repeated lists, a kilobyte fills a machine."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if is_alias and not isinstance(node, yaml.ScalarNode):
            raise yaml.YAMLError("an alias (*NAME) stands for a list or a mapping: write it out")
        return node


def params_of(schema: type[SchemaT], overrides: Sequence[str]) -> SchemaT:
    """A task's params by overrides alone, for a command without a config.

    Raises:
        ConfigError: an override of another key, an unknown param or an unusable value.
    """
    document: dict[str, Any] = {}
    for override in overrides:
        _apply(document, override)
    if keys := document.keys() - {"params"}:
        raise ConfigError(f"--set: expected params.NAME=VALUE, found {', '.join(sorted(keys))}.")
    return parse(schema, document.get("params", {}), "params")


def list_override(key: str, values: Iterable[str]) -> str:
    """`KEY=[VALUE, ...]` as `--set` reads it; a shell needs quotes around it."""
    listed = yaml.safe_dump(
        list(values), default_flow_style=True, width=math.inf, allow_unicode=True
    )
    return f"{key}={listed.strip()}"


def digest(document: Any) -> str:
    """SHA-256 of JSON-like values and schemas, independent of the order of keys."""
    text = json.dumps(document, sort_keys=True, default=_plain)
    return sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        known = sorted(str(found) for found in path.parent.glob("*.yaml"))
        listing = f" There are: {', '.join(known)}." if known else ""
        raise ConfigError(f"There is no config file {path}.{nearest(str(path), known)}{listing}")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold keys and values (task, params, ...), not {document!r}")
    return document


def _apply(document: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set takes KEY=VALUE, as in seed=1; found {override!r}")
    *parents, last = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise ConfigError(f"--set {override}: {parent!r} holds a value, not a section")
    try:
        document[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"--set {override}: the value is not YAML; quote it") from None


def _explain(
    error: ValidationError, schema: type[BaseModel], where: str, overrides: Sequence[str] = ()
) -> str:
    """Each fault with the place that has it: an override, or else `where`."""
    places: dict[str, list[str]] = {}
    faults = error.errors()
    for fault in faults:
        if any(each["loc"] and each["loc"][:-1] == fault["loc"] for each in faults):
            continue  # a list that is too short without its wrong items
        key = ".".join(str(part) for part in fault["loc"])
        own = [each for each in overrides if f"{key}.".startswith(f"{each.partition('=')[0]}.")]
        text = _fault(fault, schema)
        if own and len(fault["loc"]) == 1 and text.startswith("unknown") and "Did" not in text:
            text += f" A hyperparameter of the task stands in params: --set params.{own[-1]}."
        places.setdefault(f"--set {own[-1]}" if own else where, []).append(text)
    return " ".join(f"{place}: {'; '.join(texts)}" for place, texts in places.items())


def _fault(fault: Mapping[str, Any], schema: type[BaseModel]) -> str:
    location = fault["loc"]
    key = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        known = _known_keys(schema, location[:-1])
        hint = nearest(str(location[-1]), known) or f" Known keys: {', '.join(sorted(known))}."
        return f"unknown key {key!r}.{hint}"
    text = expectation(fault)
    if fault["type"] in ("list_type", "tuple_type") and len(location) == 1:
        text = text.replace(A_LIST, _list_of(schema, key))
    return f"{key}: {text}" if key else text


def _list_of(schema: type[BaseModel], key: str) -> str:
    """A list as the field of that name takes it, with its choices or else its default."""
    field = schema.model_json_schema()["properties"].get(key, {})
    if choices := field.get("items", {}).get("enum"):
        return f"a list of {', '.join(choices)}, as in [{choices[0]}]"
    default = field.get("default")
    return f"a list, as in [{', '.join(map(str, default))}]" if default else A_LIST


def _known_keys(schema: type[BaseModel], parents: tuple[int | str, ...]) -> list[str]:
    for parent in parents:
        field = schema.model_fields.get(str(parent))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        schema = annotation
    return list(schema.model_fields)
