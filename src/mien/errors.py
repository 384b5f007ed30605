"""Errors that the user can fix: one base class and its children.

Every message says what is wrong, what was expected and found, and what to do. This file knows
neither HTTP status codes (`stages/serve/errors.py` has the table) nor exit codes (`cli.py`).
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class MienError(Exception):
    """Base of all errors that end in a message instead of a traceback."""


class ConfigError(MienError):
    """A config file, an override or an environment variable that cannot be used."""


class DataError(MienError):
    """A data source that is missing, malformed or outside the task's contract."""


class DataCheckError(DataError):
    """The data fail a check whose level is error."""


class ProcessError(MienError):
    """A process of mien's own that ended before it was done."""


class BucketError(MienError):
    """A bucket that is missing, refuses the key or does not answer."""


class BundleError(MienError):
    """A model folder that is incomplete, altered or of an unknown format."""


class ScoreError(MienError):
    """A model that answers with something else than scores in 0..1."""


class TrainingError(MienError):
    """A training that cannot go on, or an exported model unlike its original."""


class WeightsError(TrainingError):
    """Weights of others that are not here, cannot be fetched, or have other bytes."""


class UnreachableError(WeightsError):
    """A package that cannot be downloaded here: no network, or no tool that downloads it."""


class PolicyError(MienError):
    """No candidate keeps the limits of the champion policy."""


class RegistryError(MienError):
    """A version, alias or history entry that the registry does not hold."""


class RequestError(MienError):
    """A request whose form is right but whose content cannot be used."""


class UnknownTaskError(RequestError):
    """A task that is not there, or that this server does not serve."""


class ImageError(RequestError):
    """Bytes that claim to be a picture and cannot be decoded."""


class ImageTypeError(ImageError):
    """A file that is not one of the picture types that mien takes."""


class TooLargeError(RequestError):
    """An upload beyond the limit on bytes, pixels or side length."""


class OverloadedError(MienError):
    """More requests in flight than the server takes."""


class DeadlineError(MienError):
    """A request without a result in time."""


class UnauthorizedError(MienError):
    """A request without a valid API key."""


class RateLimitError(MienError):
    """More requests by one API key than its rate limit."""


class UnknownPredictionError(RequestError):
    """A prediction that the prediction log does not have, or no longer."""


class OtherInstanceError(UnknownPredictionError):
    """A prediction that another instance of the server made; each has a log of its own."""


class StorageError(MienError):
    """A database of trials that does not answer, or refuses."""


class PredictionLogError(MienError):
    """The prediction log cannot be read or written."""


class ReviewError(MienError):
    """A sample for review that is not there, or cannot be read or written."""


class RetrainError(MienError):
    """A retraining that cannot begin: another one runs, or there is no model to begin with."""


class NotDueError(RetrainError):
    """A retraining that its limits do not allow yet."""


class StackError(MienError):
    """A running stack that does not pass a check of `verify` or `drill`."""


class ProgramError(MienError):
    """An outside program, such as docker, that is missing, fails or does not end in time."""


class NoResponseError(StackError):
    """A service of the stack that does not respond."""


class DeploymentError(MienError):
    """A deployment that did not reach its end; the message says who gets the traffic."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint such as ``" Did you mean 'epochs'?"``, or an empty string."""
    match = get_close_matches(word, list(known), n=1)
    return f" Did you mean {match[0]!r}?" if match else ""


def expectation(fault: Mapping[str, Any], echo: bool = True) -> str:
    """What pydantic expected of a value and what it found there, as "expected X, found Y".

    Args:
        fault: one of `ValidationError.errors()`.
        echo: whether the value may be repeated in the message.
    """
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind in _EXPECTED:
        expected = _EXPECTED[kind].format_map(context)
    elif kind in ("value_error", "json_invalid"):
        return str(context["error"])
    else:
        text = str(fault["msg"])
        expected = text.removeprefix("Input should be ")
        if expected == text:
            return text
    if kind == "missing":
        value_text = "nothing"
    elif "actual_length" in context:
        value_text = str(context["actual_length"])
    elif echo and isinstance(value, str | int | float | None):
        value_text = repr(value)
    else:
        value_text = _JSON_TYPES.get(type(value), "another type")
    return f"expected {expected}, found {value_text}"


A_LIST = "a list, as in [a, b]"
"""What an error calls a list whose content it does not know."""
_KEYS = "a section of keys and values"
_EXPECTED = {
    "missing": "a value",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "literal_error": "{expected}",
    "list_type": A_LIST,
    "tuple_type": A_LIST,
    "dict_type": _KEYS,
    "model_type": _KEYS,
    "model_attributes_type": _KEYS,
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number less than {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
}
"""What each kind of pydantic's errors expects; others keep pydantic's words."""
_JSON_TYPES = {
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "keys and values",
    type(None): "null",
}
