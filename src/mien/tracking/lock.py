"""One change of a registered model at a time, for all machines that share an MLflow server.

MLflow moves an alias without a word when another machine moves it too, and its tags overwrite each
other. But of two that create a registered model of the same name, its database lets one succeed.
So the lock of `mien-gesture` is a registered model `mien-gesture.lock`, there while somebody works.

It does not expire: clocks of machines differ, and who lost the lock would not know. After a kill,
the same workspace takes its lock back; from a machine that is gone, a person takes it away.
"""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mien.errors import RegistryError
from mien.storage.registry import user_name

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

WAIT_S = 60.0
"""How long another machine may take: registering takes seconds."""
_PAUSE_S = 0.5
_OWNER, _WHO, _SINCE = "mien.owner", "mien.who", "mien.since"
_log = logging.getLogger(__name__)


@contextmanager
def locked(client: "MlflowClient", model: str, workspace: str) -> Iterator[None]:
    """Hold the lock of a registered model.

    Args:
        client: of the server.
        model: name of the registered model.
        workspace: what tells this workspace from all others of this machine.

    Raises:
        RegistryError: another machine holds it for longer.
    """
    name, owner = f"{model}.lock", f"{socket.gethostname()} {workspace}"
    _acquire(client, name, owner)
    try:
        yield
    finally:
        try:
            if (_holder(client, name) or {}).get(_OWNER) == owner:  # a person may have freed it
                client.delete_registered_model(name)
        except Exception as error:  # noqa: BLE001 - what was done is done, and is not to be hidden
            _log.warning(
                "The lock %s could not be taken away: %s The next command in this workspace does "
                "it; until then, other machines wait.",
                name,
                str(error)[:200],
            )


def _acquire(client: "MlflowClient", name: str, owner: str) -> None:
    end, waits = time.monotonic() + WAIT_S, False
    while not _create(client, name, owner):
        holder = _holder(client, name)
        if holder is None:
            continue  # it was released meanwhile
        if holder.get(_OWNER) == owner:
            return  # of a process that was killed, or of a try whose answer was lost
        who = f"{holder.get(_WHO, 'somebody')} since {holder.get(_SINCE, 'an unknown time')}"
        if time.monotonic() > end:
            raise RegistryError(
                f"{name}: expected no other change within {WAIT_S:g} s, found one by {who}. If "
                "that process was killed, run its command again there; if its machine is gone, "
                f"delete the registered model {name} in MLflow."
            )
        if not waits:
            _log.warning("%s is being changed by %s; waiting for it.", name, who)
        waits = True
        time.sleep(_PAUSE_S)


def _create(client: "MlflowClient", name: str, owner: str) -> bool:
    from mlflow.exceptions import MlflowException

    tags = {
        _OWNER: owner,
        _WHO: f"{user_name()} on {socket.gethostname()}",
        _SINCE: datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = "Held while mien registers a version or moves an alias; no model."
    try:
        client.create_registered_model(name, tags=tags, description=text)
    except MlflowException as error:
        # MLflow looks up the model that is in the way; it may have been deleted in between.
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            raise
        return False
    return True


def _holder(client: "MlflowClient", name: str) -> dict[str, Any] | None:
    """The tags of a lock; None if nobody holds it."""
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_registered_model(name).tags)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
