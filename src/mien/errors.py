"""Errors that the user can fix: one base class and its children.

Every message says what is wrong, what was expected and found, and what to do. This file knows
neither HTTP status codes (`stages/serve/errors.py` has the table) nor exit codes (`cli.py`).
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MienError(Exception):
    """Base of all errors that end in a message instead of a traceback."""


class ConfigError(MienError):
    """A config file, an override or an environment variable that cannot be used."""


class DataError(MienError):
    """A data source that is missing, malformed or outside the task's contract."""


class DataCheckError(DataError):
    """The data fail a check whose level is error."""


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


class PredictionLogError(MienError):
    """The prediction log cannot be read or written."""


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
