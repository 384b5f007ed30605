"""A service on Cloud Run: its revisions, tags and traffic, read and changed by `gcloud`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from mien.errors import DeploymentError
from mien.stages.deploy.gcloud import GcloudError, gcloud

DocumentT = TypeVar("DocumentT", bound=BaseModel)
CANDIDATE = "candidate"
"""The tag of the revision that is being tried."""
PREVIOUS = "previous"
"""The tag of the revision that had all traffic before. Both tags exist during a deployment only:
that is how the next run notices one that was killed, and where it finds the old revision."""


class _Document(BaseModel):
    """A part of what `gcloud --format=json` prints; other keys are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class TrafficTarget(_Document):
    """A revision with a share of the traffic, a tag, or both."""

    revision_name: str = ""
    percent: int = 0
    tag: str = ""
    url: str = ""


class _Traffic(_Document):
    url: str = ""
    traffic: tuple[TrafficTarget, ...] = ()


class ServiceState(_Document):
    """What a service is now: what was asked for (`spec`), and what holds (`status`)."""

    spec: _Traffic = _Traffic()
    status: _Traffic = _Traffic()

    @property
    def shares(self) -> dict[str, int]:
        """Percent of the traffic by revision, of those that get any."""
        shares: dict[str, int] = {}
        for target in self.status.traffic:
            if target.percent:
                name = target.revision_name
                shares[name] = shares.get(name, 0) + target.percent
        return shares

    @property
    def tags(self) -> dict[str, TrafficTarget]:
        """Targets by tag. A tag of a revision that is not ready is in `spec` alone."""
        both = (*self.spec.traffic, *self.status.traffic)
        return {target.tag: target for target in both if target.tag}

    def __str__(self) -> str:
        shares = self.shares.items()
        return ", ".join(f"{name} {share} %" for name, share in shares) or "no revision"


class _RevisionStatus(_Document):
    image_digest: str = ""


class _Revision(_Document):
    status: _RevisionStatus = _RevisionStatus()


@dataclass(frozen=True)
class Service:
    """Name and region of a service, and the commands on it."""

    name: str
    region: str

    def read(self) -> ServiceState | None:
        """Ask for its state; None where there is no such service.

        Raises:
            GcloudError: gcloud failed.
        """
        try:
            text = gcloud(*self._command("describe"), "--format=json")
        except GcloudError as error:
            if "Cannot find service" in error.text:
                return None
            raise
        return _parse(ServiceState, text)

    def image_of(self, revision: str) -> str:
        """The image of a revision, by digest.

        Raises:
            GcloudError: gcloud failed.
        """
        region = f"--region={self.region}"
        text = gcloud("run", "revisions", "describe", revision, region, "--format=json")
        return _parse(_Revision, text).status.image_digest

    def replace_command(self, file: Path) -> list[str]:
        """The command that makes a revision as a service file says, and waits until it is ready."""
        return ["run", "services", "replace", str(file), f"--region={self.region}"]

    def move_command(self, shares: Mapping[str, int], drop_tags: Sequence[str] = ()) -> list[str]:
        """The command that sets the traffic of every revision, and drops tags, in one change."""
        revisions = ",".join(f"{name}={share}" for name, share in shares.items())
        tags = [f"--remove-tags={','.join(drop_tags)}"] if drop_tags else []
        return [*self._command("update-traffic"), f"--to-revisions={revisions}", *tags]

    def delete_command(self) -> list[str]:
        """The command that deletes the service with all its revisions."""
        return self._command("delete")

    def _command(self, verb: str) -> list[str]:
        return ["run", "services", verb, self.name, f"--region={self.region}"]


def _parse(model: type[DocumentT], text: str) -> DocumentT:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise DeploymentError(
            f"gcloud --format=json: expected a service of Cloud Run, found {error.error_count()} "
            "values of another form. Update gcloud."
        ) from None
