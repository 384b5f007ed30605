"""What the result of a batch is made of, and what a batch has written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mien import __version__
from mien.storage.buckets import Location


@dataclass(frozen=True)
class BatchIdentity:
    """Everything that determines the rows; what an earlier run left with another one is refused."""

    task: str
    version: str
    digest: str
    """Of the bundle."""
    source: str
    """Empty in a plan, which describes each file instead: machines may mount a folder anywhere."""
    sequence: bool
    mien_version: str = __version__

    def difference(self, saved: Mapping[str, Any]) -> str | None:
        """What a saved result belongs to instead, as a part of a sentence; None if it is this."""
        for name, value in asdict(self).items():
            if saved.get(name) != value:
                return f"another {_DESCRIPTIONS[name]}: expected {value}, found {saved.get(name)}"
        return None


@dataclass(frozen=True)
class BatchResult:
    """What a batch wrote."""

    out: Location
    rows: int
    failed: int
    already_complete: bool
    """True if the result of the same run existed before."""
    seconds: float
    resumed_rows: int
    """Rows that an earlier, interrupted run wrote."""
    shard: str = ""
    """Which share of the parts this was, as `0/4`; empty for all."""
    missing_parts: int = 0
    """Parts of other shards that are not there yet."""

    @property
    def summary(self) -> str:
        """One line for the command line."""
        failed = f"; {self.failed} failed, see the column error" if self.failed else ""
        if self.already_complete:
            return (
                f"{self.out} is already complete: {self.rows} rows{failed}. --force scores again."
            )
        scored = self.rows - self.resumed_rows
        rate = f", {scored / self.seconds:.0f} per second" if scored and self.seconds else ""
        resumed = f", {self.resumed_rows} of them from an earlier run" if self.resumed_rows else ""
        shard = f", shard {self.shard}" if self.shard else ""
        missing = ""
        if self.missing_parts:
            missing = f"; parts are missing: {self.missing_parts}. Run the other shards"
        return f"{self.out}{shard}: {self.rows} rows{resumed}{rate}{failed}{missing}"


_DESCRIPTIONS = {
    "task": "task",
    "version": "model version",
    "digest": "bundle",
    "source": "input",
    "sequence": "setting of --sequence",
    "mien_version": "version of mien",
}
