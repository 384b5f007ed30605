"""MLflow's registry as its SQLite file stands, read without MLflow, whose import takes a second.

The database is the truth about aliases: people move and delete in MLflow's own page.
"""

import getpass
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mien.errors import RegistryError

ARTIFACTS = "mlruns"
"""Folder of the artifacts in a workspace."""
DIGEST = "mien.digest"
"""Tag of a version: the digest of its bundle. A version without it was not registered by mien."""
PENDING = "mien.digest.pending"
"""Tag of a version: the digest of the bundle that is about to replace its own."""
UNTRUSTED = "mien.untrusted"
"""Tag of a version: why it is not trusted."""
HISTORY = "mien.history"
"""Prefix of a registered model's tags that record the moves of its aliases."""

_MAX_REASON = 500
"""Characters of a reason that are kept."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered model version."""

    number: int
    run_id: str
    digest: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class AliasChange:
    """One entry of the registry's history."""

    who: str
    action: str
    when: str
    reason: str
    alias: str
    before: int | None
    after: int

    @classmethod
    def now(
        cls, action: str, reason: str, alias: str, before: int | None, after: int
    ) -> "AliasChange":
        """A change that the present user makes now."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(user_name(), action, when, reason[:_MAX_REASON], alias, before, after)

    @property
    def sentence(self) -> str:
        """Who did what, and when."""
        instead = f" instead of {self.before}" if self.before not in (None, self.after) else ""
        return (
            f"{self.who} let {self.alias} name version {self.after}{instead} ({self.action}, "
            f"{self.when})."
        )

    @classmethod
    def parse(cls, tag: str, text: str) -> "AliasChange":
        """Read an entry of the history.

        Raises:
            RegistryError: somebody edited it.
        """
        try:
            change = cls(**json.loads(text))
            return replace(change, after=int(change.after))
        except (ValueError, TypeError):
            raise RegistryError(
                f"The tag {tag} of the registered model: expected an entry of the history, found "
                f"{text[:60]!r}. Delete the tag in MLflow."
            ) from None


@dataclass(frozen=True)
class RegistryState:
    """What the registry says of one model now."""

    aliases: Mapping[str, int]
    untrusted: frozenset[int]
    """Versions that are not trusted and that nobody made champion through mien."""
    digests: Mapping[int, frozenset[str]]
    """What the bundle of each version may have as its digest."""


def read_registry(database: Path, model: str) -> RegistryState | None:
    """Read the aliases of a registered model.

    Args:
        database: the file `mlflow.db`.
        model: name of the registered model.

    Returns:
        None where there is no database, or only MLflow can read it: it is of another version of
        MLflow, or a transaction was cut off and has to be undone.
    """
    if not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            aliases = dict(opened.execute(_ALIASES, [model]).fetchall())
            tagged = {int(row[0]) for row in opened.execute(_TAGGED, [model, UNTRUSTED])}
            rows = opened.execute(_DIGESTS, [model, DIGEST, PENDING]).fetchall()
            history = opened.execute(_CHANGES, [model, HISTORY]).fetchall()
        promoted = set(champions(history))
        named = {str(alias): int(number) for alias, number in aliases.items()}
        digests: dict[int, frozenset[str]] = {}
        for number, digest in rows:
            digests[int(number)] = digests.get(int(number), frozenset()) | {str(digest)}
    except (sqlite3.Error, ValueError, TypeError):
        return None
    return RegistryState(named, frozenset(tagged - promoted), digests)


def champions(history: Sequence[tuple[str, str]]) -> Iterator[int]:
    """Every version that was made champion through mien; entries that somebody edited are none."""
    for tag, text in history:
        with suppress(RegistryError):
            change = AliasChange.parse(tag, text)
            if change.alias == "champion":
                yield change.after


def user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"  # a container's user need not have a name


def refuse_lost(database: Path, home: Path) -> None:
    """Raise RegistryError for a missing database where models were registered: a new one would not
    know them."""
    exported = sorted(home.glob("models/*/versions/*"))
    if exported:
        raise RegistryError(
            f"{database} is missing, and {exported[0].parent} holds registered models. "
            "Bring the database back, or move models/ away and train again."
        )


def relocate(database: Path, home: Path) -> None:
    """Correct the artifact paths of a workspace that was moved or copied.

    Args:
        database: the file `mlflow.db`, whose tables exist.
        home: the folder of the workspace, absolute.
    """
    with closing(sqlite3.connect(database)) as opened, opened:
        experiments = opened.execute("select name, artifact_location from experiments").fetchall()
        for name, location in experiments:
            root, _, folder = str(location).rpartition(f"/{ARTIFACTS}/")
            # Others were made by people, who may have put the artifacts elsewhere.
            if folder == name and root.startswith("file:") and root != home.as_uri():
                for table, column in _ARTIFACT_PATHS:
                    opened.execute(
                        f"update {table} set {column} = ? || substr({column}, ?) "
                        f"where substr({column}, 1, ?) = ?",
                        [home.as_uri(), len(root) + 1, len(root) + 1, f"{root}/"],
                    )


_ARTIFACT_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


_ALIASES = "select alias, version from registered_model_aliases where name = ?"
_TAGGED = "select version from model_version_tags where name = ? and key = ?"
_DIGESTS = "select version, value from model_version_tags where name = ? and key in (?, ?)"
_CHANGES = "select key, value from registered_model_tags where name = ? and key like ? || '.%'"
