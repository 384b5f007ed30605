"""The one function that runs `gcloud`, and what its errors mean: one cause and one fix each.

A signal waits until gcloud has ended, so that no change of traffic is left in the middle.
"""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mien.errors import DeploymentError

TIMEOUT_S = 900
"""A revision that never becomes ready makes gcloud wait for minutes."""
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
"""Windows has no SIGHUP."""


class GcloudError(DeploymentError):
    """A command of gcloud that failed; `text` is what it printed."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


def gcloud(*arguments: str) -> str:
    """Run one command without questions; returns its standard output.

    Raises:
        GcloudError: it failed; the message has the cause and the fix, where they are known.
    """
    command = ["gcloud", *arguments, "--quiet"]
    try:
        with deferred_signals():
            process = subprocess.run(
                command,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal reaches every process of a session
                timeout=TIMEOUT_S,
                check=False,
            )
    except FileNotFoundError:
        raise GcloudError(
            "gcloud: expected the Google Cloud CLI on the PATH, found none. Install it: "
            "https://cloud.google.com/sdk/docs/install"
        ) from None
    except subprocess.TimeoutExpired:
        raise GcloudError(f"gcloud did not end within {TIMEOUT_S} s. Try again.") from None
    if process.returncode:
        raise GcloudError(_explain(arguments, process.stderr), process.stderr)
    return process.stdout


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Handle signals that end a process after the block."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {int(number): signal.signal(number, note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in received[:1]:
            signal.raise_signal(number)


@contextmanager
def hangup_handled() -> Iterator[None]:
    """Let a terminal that closes (SIGHUP) end the block as SIGTERM does, unless it is ignored."""
    number = _SIGNALS[-1]
    before = signal.getsignal(number)
    if before == signal.SIG_DFL:
        signal.signal(number, signal.getsignal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(number, before)


def _explain(arguments: tuple[str, ...], text: str) -> str:
    name = " ".join(each for each in arguments[:4] if not each.startswith("-"))
    lines = [line for line in text.splitlines() if line.startswith("ERROR")] or text.splitlines()
    original = f" gcloud says: {' '.join(lines[:1])}" if lines else ""
    for pattern, cause, fix in KNOWN_ERRORS:
        if re.search(pattern, text, re.IGNORECASE):
            return f"{name}: {cause}. {fix}{original}"
    return f"{name} failed.{original}"


KNOWN_ERRORS: tuple[tuple[str, str, str], ...] = (
    (
        r"active account selected|reauthentication|invalid_grant|refreshing your current auth",
        "gcloud is not logged in",
        "Run `gcloud auth login`.",
    ),
    (
        r"required property \[project\]|property \[project\] is required|"
        r"\[project\] resource is not properly specified",
        "no project is chosen",
        "Run `gcloud config set project PROJECT_ID`.",
    ),
    (
        r"No identity token",
        "the service is private, and this login gives no identity token to ask it",
        "Make it public: `gcloud run services add-iam-policy-binding SERVICE --region=REGION "
        "--member=allUsers --role=roles/run.invoker`.",
    ),
    (
        r"iam\.serviceaccounts\.actAs",
        "the account that deploys may not act as the account that the service runs as",
        "Grant it roles/iam.serviceAccountUser on `serviceAccountName` of the service file.",
    ),
    (
        r"has not been used in project|SERVICE_DISABLED|it is disabled",
        "the Cloud Run API is switched off in this project",
        "Run `gcloud services enable run.googleapis.com`, and wait a minute.",
    ),
    (
        r"billing",
        "the project has no active billing account",
        "Link one: `gcloud billing projects link PROJECT_ID --billing-account=ACCOUNT_ID`.",
    ),
    (
        r"accessing Artifact Registry|artifactregistry\.\S+ denied|Image '\S+' not found",
        "the image does not exist, or Cloud Run may not read it",
        "Compare --image with the digest that `docker push` printed; grant "
        "roles/artifactregistry.reader on its repository.",
    ),
    (
        r"must support amd64|exec format error",
        "the image is for another processor",
        "Build it with `docker build --platform linux/amd64`.",
    ),
    (
        r"Permission '?run\.|PERMISSION_DENIED|does not have permission to access",
        "the account may not manage Cloud Run here, or project or region are others than expected",
        "Compare `gcloud config list` and --region; grant the account roles/run.developer.",
    ),
    (
        r"quota|may not exceed|Max instances must be",
        "the service file asks for more than the quota of this region",
        "Lower maxScale, cpu or memory in it, or choose another --region.",
    ),
    (
        r"startup probe|failed to start and listen",
        "the new revision did not become ready",
        "Its log has the reason; `mien emulate cloud-run` runs the image under the same limits.",
    ),
    (
        r"Conflict for resource|ABORTED",
        "somebody else changes the service now",
        "Wait until they are done, and try again.",
    ),
    (
        r"Could not resolve|unreachable|Max retries exceeded|Connection (refused|reset)",
        "Google Cloud cannot be reached",
        "Check the network and --region, which is part of the address, and try again.",
    ),
)
"""What gcloud prints; the cause; the fix. The first that matches counts."""
