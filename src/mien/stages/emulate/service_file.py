"""Limits and variables of a service, as its Knative file for Cloud Run states them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mien.errors import ConfigError

from .instances import Limits

_MEBIBYTES = {"Mi": 1, "Gi": 1024}


@dataclass(frozen=True)
class ServiceSettings:
    """What an instance gets, and how many requests it gets at once."""

    limits: Limits
    environment: Mapping[str, str]
    concurrency: int


DEFAULT = ServiceSettings(Limits(), {}, 16)


def read(path: Path) -> ServiceSettings:
    """Read the first container of a service's file; what it leaves out stays at the default.

    Raises:
        ConfigError: no such file, not YAML, or without what is needed.
    """
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["template"]["spec"]
        container = spec["containers"][0]
        limits = container.get("resources", {}).get("limits", {})
        return ServiceSettings(
            Limits(_cpus(limits.get("cpu", "1")), _memory_mb(limits.get("memory", "1Gi"))),
            {each["name"]: _value(each) for each in container.get("env", ())},
            int(spec.get("containerConcurrency", DEFAULT.concurrency)),
        )
    except OSError as error:
        reason = (error.strerror or "another error").lower()
    except yaml.YAMLError as error:
        reason = f"text that is not YAML ({' '.join(str(error).split())})"
    except LookupError as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else "no container"
    except ValueError as error:
        reason = str(error)
    except (TypeError, AttributeError):
        reason = "a file of another form"
    raise ConfigError(
        f"{path}: expected the Knative file of a service, found {reason}. Name another file."
    )


def _value(variable: Mapping[str, Any]) -> str:
    if "value" not in variable:  # of a secret, which this machine does not have
        raise ConfigError(
            f"{variable['name']}: expected a value, found a reference to one. Leave it out of a "
            "copy of the file, and give the value with --env."
        )
    return str(variable["value"])


def _cpus(quantity: Any) -> float:
    """CPUs of a quantity such as 2 or 500m."""
    text = str(quantity)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _memory_mb(quantity: Any) -> int:
    """MiB of a quantity such as 512Mi or 1Gi."""
    match = re.fullmatch(r"(\d+)(Mi|Gi)", str(quantity))
    if match is None:
        raise ValueError(f"memory {quantity!r}")
    return int(match[1]) * _MEBIBYTES[match[2]]
