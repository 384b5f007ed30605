"""The order of a deployment, and the way back from each of its steps.

Two tags on the service mark a deployment that is under way. On a failure, on a signal, and in the
next run after a kill, the old revision gets all traffic, the tags go, and the traffic is read back.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mien.errors import ConfigError, DeploymentError
from mien.reporting import console
from mien.stages.deploy import candidate, service_file
from mien.stages.deploy.candidate import ExpectedModel, Revision
from mien.stages.deploy.gcloud import GcloudError, deferred_signals, gcloud, hangup_handled
from mien.stages.deploy.service import CANDIDATE, PREVIOUS, Service, ServiceState, TrafficTarget

ATTEMPTS = 3
"""To set the traffic: another change at the same moment makes one fail."""
ROUTE_TIMEOUT_S = 60
"""Until the address of a new tag leads to its revision."""
_IMAGE = re.compile(r"[^\s@]+@sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Rollout:
    """What is deployed, and how."""

    service: Service
    image: str
    """By digest."""
    revision: str
    """The name of the revision to make."""
    shares: tuple[int, ...]
    """Percent of the traffic at each step."""
    file: Path
    headers: Mapping[str, str]
    """Sent with each request, such as the API key of the service."""


def parse(
    service: Service, image: str | None, canary: str, file: Path, api_keys: str = ""
) -> Rollout:
    """Make a rollout of the options of the command line.

    Raises:
        ConfigError: no digest, or shares that do not rise to 100.
    """
    match = _IMAGE.fullmatch(image or "")
    if image is None or match is None:
        raise ConfigError(
            f"--image: expected NAME@sha256:DIGEST, found {image or 'nothing'}. A tag may name "
            "another image tomorrow; `docker push` prints the digest."
        )
    shares = [int(each) if each.isdecimal() else 0 for each in canary.split(",")]
    if shares[-1] != 100 or shares[0] < 1 or shares != sorted(set(shares)):
        raise ConfigError(
            f"--canary: expected rising percents up to 100, as in 5,25,50,100, found {canary}."
        )
    # The time: a second deployment of one image is another revision.
    revision = f"{service.name}-{match[1][:7]}-{time.strftime('%y%m%d%H%M%S', time.gmtime())}"
    key = api_keys.split(",")[0].partition(":")[2].strip()
    return Rollout(service, image, revision, tuple(shares), file, {"X-API-Key": key} if key else {})


@hangup_handled()
def deploy(rollout: Rollout, expected: Sequence[ExpectedModel]) -> str:
    """Deploy an image and move the traffic to it, step by step; returns the public address.

    Raises:
        DeploymentError: the candidate did not pass, or a deployment was under way; the old
            revision has all traffic again.
        GcloudError: gcloud failed; likewise.
    """
    service = rollout.service
    state = service.read()
    if state and CANDIDATE in state.tags:
        raise DeploymentError(
            f"An earlier deployment of {service.name} was interrupted, or still runs. "
            f"{restore(service)} Run the command again to deploy."
        )
    old = _present(service, state)
    try:
        _make(rollout, old, state)
        url = _move(rollout, old, expected)
        if old is None:  # by name: as the latest one, it would lose all traffic to the next
            gcloud(*service.move_command({rollout.revision: 100}))
        settle(service, rollout.revision)
    except BaseException:
        with deferred_signals():
            console.info(_put_back(service, old))
        raise
    return url


def plan(rollout: Rollout) -> list[str]:
    """The commands that `deploy` would run now, and the file that it would send.

    Raises:
        GcloudError: the present state cannot be read.
    """
    service, state = rollout.service, rollout.service.read()
    old = _present(service, state)
    text = _render(rollout, old, state)
    commands = [service.replace_command(Path("service.yaml"))]
    if old:
        commands += [service.move_command(_split(rollout, old, each)) for each in rollout.shares]
    commands.append(service.move_command({rollout.revision: 100}, _TAGS if old else ()))
    return [*(" ".join(["gcloud", *each]) for each in commands), "", "service.yaml:", text]


def restore(service: Service) -> str:
    """End a deployment that is under way: the old revision gets all traffic again.

    Raises:
        DeploymentError: the traffic is not as it should be.
    """
    state = service.read()
    if state is None:
        return f"There is no service {service.name} in {service.region}."
    if CANDIDATE not in state.tags:
        return f"No deployment of {service.name} is under way. Traffic: {state}."
    other_shares = {
        name: n for name, n in state.shares.items() if name != state.tags[CANDIDATE].revision_name
    }
    if PREVIOUS in state.tags:
        old = state.tags[PREVIOUS].revision_name
    elif len(other_shares) == 1:
        old = next(iter(other_shares))
    else:
        raise DeploymentError(
            f"{service.name}: expected the tag {PREVIOUS} on the old revision, found none. "
            f"Traffic: {state}. Choose one: `gcloud run services update-traffic {service.name} "
            f"--region={service.region} --to-revisions=REVISION=100 --remove-tags={CANDIDATE}`."
        )
    return f"Traffic read back: {settle(service, old)}."


def settle(service: Service, revision: str) -> ServiceState:
    """Give all traffic to a revision, drop the tags of a deployment, and read the state back.

    What is read back counts: gcloud also reports failures of other revisions.

    Raises:
        DeploymentError: the traffic is not as it should be after some attempts.
    """
    reason = ""
    for attempt in range(ATTEMPTS + 1):
        try:
            state = service.read() or ServiceState()
            tags = [tag for tag in _TAGS if tag in state.tags]
            if state.shares == {revision: 100} and not tags:
                return state
            if attempt < ATTEMPTS:
                gcloud(*service.move_command({revision: 100}, tags))
        except GcloudError as error:
            reason = f" {error}"
    raise DeploymentError(
        f"{service.name}: expected all traffic at {revision}, found another state.{reason} Run "
        f"`mien deploy cloud-run --rollback --service {service.name} --region {service.region}`."
    )


def destroy(service: Service, confirmed: bool) -> str:
    """Delete a service with all its revisions, and read back that it is gone; returns a sentence.

    Raises:
        GcloudError: gcloud failed.
        DeploymentError: nobody confirmed it, or it is still there.
    """
    state = service.read()
    if state is None:
        return f"There is no service {service.name} in {service.region}."
    if not confirmed:
        raise DeploymentError(
            f"Nothing is deleted. {state.status.url} would be deleted (traffic: {state}); confirm "
            "it with --yes."
        )
    gcloud(*service.delete_command())
    if service.read() is not None:
        raise DeploymentError(f"{service.name}: expected no service, found it still there.")
    return f"{state.status.url} is deleted."


_TAGS = (CANDIDATE, PREVIOUS)


def _present(service: Service, state: ServiceState | None) -> str | None:
    """The revision that has all traffic; None where no revision has any."""
    shares = state.shares if state else {}
    if len(shares) > 1:
        raise DeploymentError(
            f"{service.name}: expected one revision with all traffic, found {state}. Choose one: "
            f"`gcloud run services update-traffic {service.name} --region={service.region} "
            "--to-revisions=REVISION=100`."
        )
    return next(iter(shares), None)


def _make(rollout: Rollout, old: str | None, state: ServiceState | None) -> None:
    """Make the revision: without traffic, unless it is the first one, which cannot be without."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "service.yaml")
        file.write_text(_render(rollout, old, state), encoding="utf-8")
        gcloud(*rollout.service.replace_command(file))
    digest = rollout.service.image_of(rollout.revision).rpartition("@")[2]
    if digest != rollout.image.rpartition("@")[2]:
        raise DeploymentError(f"{rollout.revision}: expected {rollout.image}, found {digest}.")
    console.info(f"{rollout.revision} is ready{' and has no traffic' * bool(old)}")


def _render(rollout: Rollout, old: str | None, state: ServiceState | None) -> str:
    traffic: list[dict[str, object]] = []
    if old and state:
        # Explicit shares: with none, or with LATEST, the new revision would get all traffic.
        traffic = [
            {"revisionName": old, "percent": 100, "tag": PREVIOUS},
            {"revisionName": rollout.revision, "tag": CANDIDATE},
        ]
        traffic += [
            {"revisionName": target.revision_name, "tag": tag}
            for tag, target in state.tags.items()
            if tag not in _TAGS and target.revision_name
        ]
    project = gcloud("config", "get-value", "project").strip()
    service, image, revision = rollout.service.name, rollout.image, rollout.revision
    return service_file.render(rollout.file, service, image, revision, project, traffic)


def _move(rollout: Rollout, old: str | None, expected: Sequence[ExpectedModel]) -> str:
    """Ask the candidate before and after each step; returns the public address."""
    state = rollout.service.read() or ServiceState()
    public = _reach(state.status.url, rollout.headers)
    present = None
    if old is None:
        new, shares = public, list[int]()
    else:
        new = _reach(_own_candidate(rollout, state).url, rollout.headers)
        present = _reach(state.tags[PREVIOUS].url, rollout.headers)
        shares = list(rollout.shares)
    for share in (0, *shares):
        if old and share:
            gcloud(*rollout.service.move_command(_split(rollout, old, share)))
        candidate.check_models(new, expected)
        figures = candidate.compare(new, present, expected)
        console.info(f"{share if old else 100} % of the traffic: {figures}")
        if old:  # else other answers were compared, and somebody else moves the traffic, too
            _own_candidate(rollout, rollout.service.read() or ServiceState())
    if (status := public.send("/health").status) != 200:
        raise DeploymentError(f"{public.url}/health: expected status 200, found {status}.")
    return public.url


def _own_candidate(rollout: Rollout, state: ServiceState) -> TrafficTarget:
    """The target of the tag, which a second deployment would take over or drop."""
    target = state.tags.get(CANDIDATE)
    if target is None or target.revision_name != rollout.revision:
        raise DeploymentError(
            f"{rollout.service.name}: expected the tag {CANDIDATE} on {rollout.revision}, found "
            f"{target.revision_name if target else 'none'}: another deployment runs. Run one at a "
            "time: wait until it has ended, and run the command again."
        )
    return target


def _split(rollout: Rollout, old: str, share: int) -> dict[str, int]:
    rest = {old: 100 - share} if share < 100 else {}
    return {rollout.revision: share, **rest}


def _reach(url: str, headers: Mapping[str, str]) -> Revision:
    """The revision at an address, with a token where the service is private."""
    revision, end = Revision(url, headers), time.monotonic() + ROUTE_TIMEOUT_S
    while (status := revision.send("/health").status) in (0, 404) and time.monotonic() < end:
        time.sleep(1)
    if status not in (401, 403):
        return revision
    token = gcloud("auth", "print-identity-token").strip()
    return Revision(url, {**headers, "X-Serverless-Authorization": f"Bearer {token}"})


def _put_back(service: Service, old: str | None) -> str:
    if old is None:
        return (
            "There is no earlier revision to go back to. Remove the service: `mien destroy "
            f"cloud-run --service {service.name} --region {service.region} --yes`."
        )
    try:
        return f"The old revision is back. Traffic read back: {settle(service, old)}."
    except DeploymentError as error:
        return f"The old revision is NOT back: {error}"
