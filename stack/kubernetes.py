"""What the manifests of deploy/kubernetes call, run by the engine: same commands, environment,
users, limits, mounts and probes. What only a cluster does (autoscaler, policies) is not tried.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mien.storage.workspace import Workspace
from stack import ROOT, PromiseError, say
from stack.compose import DIRECT, PATIENCE, free_ports, get
from stack.engine import Engine
from stack.processes import undisturbed

FOLDER = ROOT / "deploy" / "kubernetes"
PICTURES = 600
"""More than a part has rows, so that two shards have work."""
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True)
class Pod:
    """The pod of a manifest, with one container."""

    spec: dict[str, Any]
    document: dict[str, Any]

    @classmethod
    def read(cls, name: str, kind: str) -> "Pod":
        text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
        (found,) = (each for each in yaml.safe_load_all(text) if each["kind"] == kind)
        return cls(found["spec"]["template"]["spec"], found)

    @property
    def container(self) -> dict[str, Any]:
        (only,) = self.spec["containers"]
        return dict(only)

    @property
    def grace_s(self) -> int:
        return int(self.spec.get("terminationGracePeriodSeconds", 30))

    def command(self, claims: Mapping[str, Path], *options: str, **more: str) -> list[str]:
        """`docker run` as a kubelet would start it; claims are folders of this machine."""
        user, container = self.spec["securityContext"], self.container
        words = ["docker", "run", *options, f"--user={user['runAsUser']}:{user['runAsGroup']}"]
        security = container["securityContext"]
        if security["readOnlyRootFilesystem"]:
            words.append("--read-only")
        if not security["allowPrivilegeEscalation"]:
            words.append("--security-opt=no-new-privileges")
        words += [f"--cap-drop={each}" for each in security["capabilities"]["drop"]]
        words.append(f"--memory={size(container['resources']['limits']['memory'])}")
        words += [f"--cpu-shares={int(1024 * float(container['resources']['requests']['cpu']))}"]
        environment = {each["name"]: each["value"] for each in container.get("env", ())} | more
        words += [f"--env={name}={value}" for name, value in environment.items()]
        words += self._mounts(claims)
        entry, *rest = container.get("command") or [None]
        words += [f"--entrypoint={entry}"] if entry else []
        return [*words, container["image"], *rest, *container.get("args", ())]

    def _mounts(self, claims: Mapping[str, Path]) -> Iterator[str]:
        volumes = {each["name"]: each for each in self.spec["volumes"]}
        for mount in self.container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if (empty := volume.get("emptyDir")) is not None:
                limit = f",size={size(empty['sizeLimit'])}" if "sizeLimit" in empty else ""
                yield f"--tmpfs={mount['mountPath']}:exec,mode=1777{limit}"
                continue
            folder = claims[volume["persistentVolumeClaim"]["claimName"]]
            access = "ro" if mount.get("readOnly") else "rw"
            yield f"--volume={folder}:{mount['mountPath']}:{access}"


def size(quantity: str) -> int:
    """Bytes of a quantity such as 512Mi."""
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def serving(docker: Engine) -> None:
    """Two pods of serving.yaml become ready, answer, are scraped, and end within their grace.

    Raises:
        PromiseError: one does not.
    """
    pod = Pod.read("serving", "Deployment")
    scaler = yaml.safe_load_all((FOLDER / "serving.yaml").read_text(encoding="utf-8"))
    (count,) = (each["spec"]["minReplicas"] for each in scaler if "minReplicas" in each["spec"])
    (port,) = (each["containerPort"] for each in pod.container["ports"])
    names = [f"mien-stack-test-{number}" for number in range(count)]
    monitor = yaml.safe_load((FOLDER / "service_monitor.yaml").read_text(encoding="utf-8"))
    (scraped,) = (each["path"] for each in monitor["spec"]["endpoints"])
    with docker.network() as network, _removed(docker, names):
        places = dict(zip(names, free_ports(count), strict=True))
        for name, own in places.items():
            publish = f"--publish=127.0.0.1:{own}:{port}"
            run = pod.command({}, "--detach", f"--name={name}", f"--network={network}", publish)
            docker.run(*run)
        for name, own in places.items():
            address = f"http://127.0.0.1:{own}"
            _started(docker, name, address, pod.container["startupProbe"])
            for kind in ("readiness", "liveness"):
                probe = pod.container[f"{kind}Probe"]
                if not any(_answers(address, probe) for _ in range(probe["failureThreshold"])):
                    raise _lost(docker, name, f"{kind}: expected {probe} to succeed")
            if not get(f"{address}/health")["models"]:
                raise PromiseError(f"{name} serves no model")
            if "mien_predictions_total" not in get(f"{address}{scraped}"):
                raise PromiseError(f"{name}: {scraped} has no metrics")
        for name in names:
            start = time.monotonic()
            docker.run("docker", "stop", f"-t={pod.grace_s}", name)
            seconds, state = time.monotonic() - start, _exit_code(docker, name)
            if state != "0":
                raise PromiseError(f"{name} ended with {state} after {seconds:.1f} s")
            say(
                f"{name} ended with 0, {seconds:.1f} s after SIGTERM; its grace is {pod.grace_s} s."
            )
    say(f"serving.yaml: {count} pods became ready, live and scraped, and ended in time.")


def batch(docker: Engine, scratch: Path) -> None:
    """All indices of batch.yaml together close the table; one that runs again changes nothing.

    Raises:
        PromiseError: rows are missing, or a pod fails.
    """
    pod = Pod.read("batch", "Job")
    completions = pod.document["spec"]["completions"]
    with tempfile.TemporaryDirectory(dir=scratch, prefix="batch-") as place:
        claims = {name: _claim(Path(place) / name) for name in ("photos", "results")}
        _draw(claims["photos"])
        names = [f"mien-stack-test-{index}" for index in range(completions)]
        with _removed(docker, names):
            for index, name in enumerate(names):
                docker.run(*_shard(pod, claims, index, name))
            for name in names:
                _ended(docker, name)
            done = _table(claims["results"] / "photos")
            docker.ask("docker", "rm", names[0])
            docker.run(*_shard(pod, claims, 0, names[0]))  # as after an eviction
            _ended(docker, names[0])
        if _table(claims["results"] / "photos") != done:
            raise PromiseError("a shard that ran again changed the table")
    say(
        f"batch.yaml: {completions} pods wrote {PICTURES} rows; one that ran again changed nothing."
    )


def training(docker: Engine, scratch: Path) -> None:
    """The pod of training.yaml leaves a registered model in its claim.

    Raises:
        PromiseError: it does not.
    """
    pod = Pod.read("training", "Job")
    with tempfile.TemporaryDirectory(dir=scratch, prefix="trained-") as place:
        claims = {"workspace": _claim(Path(place) / "workspace")}
        network = ["--network=host"] if docker.own else []  # it has no bridge
        docker.run(*pod.command(claims, "--rm", *network))
        workspace = Workspace(claims["workspace"])
        numbers = workspace.exported_versions("gesture")
        if not numbers or not workspace.is_registered("gesture", numbers[0]):
            raise PromiseError(f"training.yaml left no registered model: {numbers}")
    say(f"training.yaml left version {numbers[0]} of mien-gesture in its workspace.")


@contextmanager
def _removed(docker: Engine, names: list[str]) -> Iterator[None]:
    """Remove containers at the end, whether or not all of them were started."""
    try:
        yield
    finally:
        with undisturbed():
            docker.ask("docker", "rm", "--force", *names)


def _shard(pod: Pod, claims: Mapping[str, Path], index: int, name: str) -> list[str]:
    options = ("--detach", f"--name={name}", "--network=none")
    return pod.command(claims, *options, JOB_COMPLETION_INDEX=str(index))


def _claim(folder: Path) -> Path:
    """A volume that the pod's user may write to, as `fsGroup` would make it."""
    folder.mkdir()
    folder.parent.chmod(0o755)
    folder.chmod(0o777)
    return folder


def _draw(folder: Path) -> None:
    """Pictures of different faces."""
    from PIL import ImageEnhance

    from mien import tasks

    picture = tasks.load("emotion").inference.sample_picture().convert("RGB")
    for number in range(PICTURES):
        brighter = ImageEnhance.Brightness(picture).enhance(0.5 + number / PICTURES)
        brighter.save(folder / f"{number:04d}.jpg")


def _table(folder: Path) -> dict[str, bytes]:
    """The files of a finished table."""
    commit = folder / "_SUCCESS.json"
    if not commit.is_file():
        raise PromiseError(f"no pod closed the table: {sorted(p.name for p in folder.iterdir())}")
    rows = [
        json.loads(line)
        for path in sorted(folder.glob("part-*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    if len(rows) != PICTURES or any(row.get("error") for row in rows):
        raise PromiseError(f"expected {PICTURES} rows without an error, found {len(rows)}")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _started(docker: Engine, name: str, address: str, probe: Mapping[str, Any]) -> None:
    """Probe until it succeeds; a busy machine may take more probes than a cluster would send."""
    deadline, count = time.monotonic() + PATIENCE, 1
    while not _answers(address, probe):
        if time.monotonic() > deadline:
            raise _lost(docker, name, f"expected {probe} to succeed")
        time.sleep(probe["periodSeconds"])
        count += 1
    say(f"{name} has started after {count} startup probes; {probe['failureThreshold']} may fail.")


def _answers(address: str, probe: Mapping[str, Any]) -> bool:
    place = address + probe["httpGet"]["path"]
    try:
        with DIRECT.open(place, timeout=probe["timeoutSeconds"]):
            return True
    except OSError:
        return False


def _lost(docker: Engine, name: str, reason: str) -> PromiseError:
    logs = docker.ask("docker", "logs", "--tail=20", name)
    return PromiseError(f"{name}: {reason}: {logs.stdout}{logs.stderr}")


def _ended(docker: Engine, name: str) -> None:
    docker.ask("docker", "wait", name)
    if (code := _exit_code(docker, name)) != "0":
        raise _lost(docker, name, f"expected exit code 0, found {code}")


def _exit_code(docker: Engine, name: str) -> str:
    return docker.ask("docker", "inspect", "-f", "{{.State.ExitCode}}", name).stdout.strip()
