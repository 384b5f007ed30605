"""Promises of `mien.model.pulling`: a bundle of a team's registry is here whole, or not at all."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from registry_stand_in import ARTIFACTS, Answer, StandIn, stand_in
from waiting import PATIENCE

import mien
from mien.config import Settings
from mien.errors import MienError, RegistryError
from mien.model import bundle
from mien.model.lineage import Lineage
from mien.model.pulling import PulledVersion, pull_alias, pull_version, refresh_champion
from mien.storage.registry import PENDING, UNTRUSTED
from mien.storage.registry_server import RegistryServer
from mien.storage.workspace import Workspace


def made(folder: Path, seed: int = 1, task: str = "gesture") -> Path:
    """A small valid bundle."""
    (folder / "figures").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"weights" * 20_000)
    (folder / "figures" / "a b.png").write_bytes(b"picture")
    bundle.write(folder, bundle.describe(task, ("a",), "svm", {}, lineage=Lineage(seed=seed)))
    return folder


@pytest.fixture
def team(tmp_path: Path) -> Iterator[StandIn]:
    """A registry whose champion is version 3."""
    with stand_in() as server:
        server.put("gesture", 3, made(tmp_path / "three"))
        yield server


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


def at(team: StandIn) -> RegistryServer:
    return RegistryServer.at(team.address, Settings(), "--registry")


def pull(team: StandIn, workspace: Workspace, alias: str = "champion") -> PulledVersion:
    return pull_alias("gesture", alias, at(team), workspace)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_pulled_bundle_is_the_one_of_the_registry(
    team: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    """The same bytes, as a version that the workspace's alias names; fetched once."""
    first, second = pull(team, workspace), pull(team, workspace)
    assert files(first.folder) == files(tmp_path / "three")
    assert first.folder == workspace.version("gesture", 3)
    assert workspace.aliases("gesture") == {"champion": 3}
    assert (first.fresh, second.fresh, first.digest == second.digest) == (True, False, True)
    assert sorted(team.files) == ["bundle.json", "figures/a%20b.png", "model.onnx"]


def test_a_bundle_that_was_damaged_here_is_fetched_again(
    team: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    """So that the same command repairs it."""
    network = pull(team, workspace).folder / "model.onnx"
    network.write_bytes(b"W" + network.read_bytes()[1:])
    repaired = pull(team, workspace)
    assert repaired.fresh
    assert files(repaired.folder) == files(tmp_path / "three")


def test_aliases_that_the_registry_moved_are_not_kept(
    team: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    """An alias that was pulled stays as long as the registry says the same."""
    team.put("gesture", 4, made(tmp_path / "four", 4), "challenger")
    pull(team, workspace)
    assert pull(team, workspace, "challenger").number == 4
    assert workspace.aliases("gesture") == {"champion": 3, "challenger": 4}
    team.aliases["mien-gesture"] = {"champion": 4}
    pull(team, workspace)
    assert workspace.aliases("gesture") == {"champion": 4}


def _named(name: str, change: Callable[[bytes], bytes]) -> Callable[[StandIn, Path], None]:
    """Let the registry hand out another content of a file."""

    def damage(team: StandIn, folder: Path) -> None:
        def fault(path: str) -> Answer | None:
            if not path.startswith(ARTIFACTS) or not path.endswith(name):
                return None
            return 200, change((folder / name).read_bytes()), {}

        team.fault = fault

    return damage


def _cut_off(team: StandIn, folder: Path) -> None:
    """The connection ends before the length that the server told."""
    _named("model.onnx", lambda content: content)(team, folder)
    whole = team.fault

    def fault(path: str) -> Answer | None:
        found = whole(path)
        return found and (200, found[1][:1000], {"Content-Length": str(len(found[1]))})

    team.fault = fault


def _missing(team: StandIn, folder: Path) -> None:
    team.fault = lambda path: (404, b"", {}) if path.endswith("model.onnx") else None


def _outside(team: StandIn, folder: Path) -> None:
    """A manifest that names a file outside of the folder, and whose digest is registered."""
    document = json.loads((folder / "bundle.json").read_text())
    document["files"]["../../evil.json"] = document["files"]["model.onnx"]
    (folder / "bundle.json").write_text(json.dumps(document))
    team.put("gesture", 3, folder)


def _of_another_task(team: StandIn, folder: Path) -> None:
    team.put("gesture", 3, made(folder / "emotion", task="emotion"))


def _own_store(team: StandIn, folder: Path) -> None:
    team.versions["mien-gesture", 3]["source"] = "s3://bucket/1/run3/artifacts/model"


def _unnamed(team: StandIn, folder: Path) -> None:
    team.versions["mien-gesture", 3]["tags"] = []


REFUSED: dict[str, tuple[Callable[[StandIn, Path], None], str]] = {
    "altered": (
        _named("model.onnx", lambda content: b"W" + content[1:]),
        "model.onnx: expected 140000 bytes with the SHA-256 .* found others",
    ),
    "shorter": (_named("model.onnx", lambda content: content[:-1]), "model.onnx: expected 140000"),
    "longer": (_named("model.onnx", lambda content: content + b"x"), "model.onnx: expected 140000"),
    "cut off": (_cut_off, "model.onnx: expected 140000 bytes"),
    "missing": (_missing, "expected status 200, found 404"),
    "other manifest": (_named("bundle.json", lambda _: b"{}"), "the bundle with the digest"),
    "outside": (_outside, r"names of files of a bundle, found '\.\./\.\./evil.json'"),
    "another task": (_of_another_task, "expected a model of gesture, found one of emotion"),
    "store of its own": (_own_store, r"found a store of its own \(s3\)"),
    "no digest": (_unnamed, "registered by other code than mien"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_anything_else_is_refused_and_nothing_is_kept(
    team: StandIn, workspace: Workspace, tmp_path: Path, kind: str
) -> None:
    """No folder, no part of one, no alias; what was here before still is."""
    damage, message = REFUSED[kind]
    damage(team, tmp_path / "three")
    with pytest.raises(MienError, match=message):
        pull(team, workspace)
    assert list(files(workspace.home)) == ["models/registry.json"]
    assert workspace.aliases("gesture") == {}
    assert not list(tmp_path.rglob("evil.json"))


def test_a_refused_bundle_does_not_replace_a_good_one(
    team: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    """The version of that number, and the alias, stay as they were."""
    before = files(pull(team, workspace).folder)
    team.put("gesture", 3, made(tmp_path / "other", seed=9))
    team.fault = lambda path: (200, b"x", {}) if path.endswith("model.onnx") else None
    with pytest.raises(MienError, match=r"model\.onnx"):
        pull(team, workspace)
    assert files(workspace.version("gesture", 3)) == before
    team.fault = lambda _: None
    assert files(pull(team, workspace).folder) == files(tmp_path / "other")


def test_a_bundle_that_is_being_certified_has_two_digests(
    team: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    """The registry names the old and the new one, and either is the version's bundle."""
    certified = made(tmp_path / "certified", seed=2)
    digest = bundle.read(certified).digest
    team.versions["mien-gesture", 3]["tags"].append({"key": PENDING, "value": digest})
    team.folders["1/run3/artifacts/model/bundle/"] = certified
    assert pull(team, workspace).digest == digest


def test_a_champion_that_nobody_may_trust_is_not_pulled(
    team: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    """Set in MLflow's own page it is refused; made champion by mien, it is not."""
    pull(team, workspace)
    team.put("gesture", 4, made(tmp_path / "four", 4), **{UNTRUSTED: "its code is in no commit"})
    with pytest.raises(RegistryError, match="was made champion in MLflow, and is not trusted"):
        pull(team, workspace)
    assert workspace.aliases("gesture") == {"champion": 3}
    entry = {"who": "ada", "action": "forced promote", "when": "2026", "reason": "a test"}
    entry |= {"alias": "champion", "before": 3, "after": 4}
    team.tags["mien-gesture"] = {"mien.history.000001": json.dumps(entry)}
    assert pull(team, workspace).number == 4


def test_what_is_not_there_is_named(team: StandIn, workspace: Workspace) -> None:
    """Alias, model and version; a task without a model has no champion to refresh."""
    with pytest.raises(RegistryError, match="no alias 'challenger'; there are: champion"):
        pull(team, workspace, "challenger")
    with pytest.raises(RegistryError, match=r"mien-emotion has no alias 'champion'.*: none"):
        pull_alias("emotion", "champion", at(team), workspace)
    with pytest.raises(RegistryError, match="mien-gesture has no version 9"):
        pull_version("gesture", 9, at(team), workspace)
    refresh_champion("emotion", at(team), workspace)
    refresh_champion("gesture", None, workspace)
    assert workspace.aliases("gesture") == {}
    refresh_champion("gesture", at(team), workspace)
    assert workspace.aliases("gesture") == {"champion": 3}


SCRIPT = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split():
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Block())
from mien.cli import main
sys.argv[1:] = sys.argv[2:]
main()
"""


def test_the_command_needs_no_mlflow(team: StandIn, tmp_path: Path) -> None:
    """Nor any other library of training: it says what it brought, and where."""
    home = tmp_path / "home"
    blocked = "mlflow sklearn lightgbm torch onnx pandas sqlalchemy requests onnxruntime fastapi"
    start = [sys.executable, "-c", SCRIPT, blocked]
    done = subprocess.run(
        [*start, "pull", "gesture", "--registry", team.address, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={"PYTHONPATH": str(Path(mien.__file__).parents[1]), "COLUMNS": "300"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"mien-gesture version 3, champion of {team.address}, was fetched"
    )
    assert Workspace(home).aliases("gesture") == {"champion": 3}
