"""The models that would be served."""

from mien import tasks
from mien.model import bundle

from ..contract import DoctorCheck, Finding, Installation, absent, ok


def find(subject: Installation) -> Finding:
    """Verify every checksum of every champion; nothing is loaded. A damaged one raises
    BundleError."""
    models = {name: bundle.read_champion(name, subject.workspace) for name in tasks.names()}
    texts = [
        f"{name} ({model.manifest.candidate}, {model.megabytes:.1f} MB)"
        for name, model in models.items()
        if model
    ]
    if not texts:
        remedy = "Train one, as in `mien run gesture --source sample`, or `mien pull gesture`."
        home = subject.workspace.home.resolve()
        return absent(subject, f"no champion in {home}.", remedy, "compose")
    return ok(f"verified: {', '.join(texts)}")


CHECK = DoctorCheck("champions", "Whether the bundles of the champions are whole.", find)
