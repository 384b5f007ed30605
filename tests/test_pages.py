"""Every block of commands of the README and the docs is run by a test, or says why it is not."""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pages
import yaml
from command_line import CommandLine
from PIL import Image
from project import ROOT
from pydantic import SecretStr
from waiting import PATIENCE

import prometheus
from mien import config
from mien.config import RunConfig
from mien.stages.serve import app as serve
from mien.storage.workspace import Workspace
from mien.tasks.gesture.sample import write_sample

HERE = "tests/test_pages.py"
LONG = "tests/test_pages_long.py"
GUIDES = "tests/test_guides.py::test_every_command_of_the_guides_runs"
LOOP = "tests/test_guides.py::test_every_command_of_the_loop_runs"
WHEEL = "tests/test_wheel.py"
INSTALLS = "tests/test_installs.py::test_every_installation_of_the_docs_resolves"

STACK = "needs a Docker engine; `python3 tasks.py stack-test` builds these images and this stack"
TORCH = "needs PyTorch's own index, which no test asks; tests/test_installs.py compares its address"
CLUSTER = "needs a Ray cluster on a network; tests/stages/batch/test_on_ray.py kills nodes of one"
REASONS = (STACK, TORCH, CLUSTER)

WHOLE = {
    "tutorial.md": GUIDES,
    "operation.md": GUIDES,
    "loop.md": LOOP,
    "deploy.md": "tests/stages/deploy/test_page.py::test_every_command_of_the_page_runs",
    "review.md": "tests/stages/review/test_review_page.py::test_every_command_of_the_page_runs",
    "dvc.md": "tests/test_dvc.py::test_every_command_of_the_page_runs",
    "rebuilding.md": f"{LONG}::test_a_model_is_rebuilt_as_the_page_says",
    "doctor.md": f"{LONG}::test_the_doctor_looks_at_each_target",
    "batch.md": f"{HERE}::test_the_batches_of_the_page_are_written",
    "data.md": f"{HERE}::test_versions_are_listed_compared_and_deleted",
    "serving.md": f"{HERE}::test_the_requests_of_the_page_are_answered",
    "studio.md": f"{LONG}::test_what_serves_until_ctrl_c_starts_and_ends",
}
"""Pages of which one test runs every block."""

BLOCKS = {
    ("README.md", "python3 tasks.py demo"): f"{LONG}::test_the_first_commands_of_the_readme_run",
    ("README.md", ". .venv/bin/activate"): f"{LONG}::test_the_first_commands_of_the_readme_run",
    ("README.md", "mien picture"): "tests/test_readme.py::test_the_examples_answer_as_printed",
    ("README.md", "curl"): "tests/test_readme.py::test_the_examples_answer_as_printed",
    ("README.md", "import requests"): "tests/test_readme.py::test_the_examples_answer_as_printed",
    ("README.md", "docker-compose up"): STACK,
    ("README.md", "mien run"): f"{LONG}::test_own_data_are_trained_and_served",
    ("github.md", "uv pip compile"): INSTALLS,
    ("github.md", ".venv/bin/mkdocs gh-deploy"): f"{LONG}::test_the_pages_are_published",
    ("images.md", "mien export"): f"{LONG}::test_the_champions_are_exported_and_emulated",
    ("images.md", "mien emulate cloud-run --home"): (
        f"{LONG}::test_the_champions_are_exported_and_emulated"
    ),
    ("images.md", "docker build -f dockerfiles/api.Dockerfile"): STACK,
    ("images.md", "docker build -f dockerfiles/train.Dockerfile"): STACK,
    ("images.md", "mien emulate cloud-run --image"): STACK,
    ("monitoring.md", "python3 tasks.py demo"): (
        f"{LONG}::test_the_first_commands_of_the_readme_run"
    ),
    ("monitoring.md", "docker-compose up"): STACK,
    ("monitoring.md", "cp -r prometheus watch"): (
        f"{HERE}::test_a_prometheus_without_containers_takes_its_config"
    ),
    ("monitoring.md", "mien drill clean"): STACK,
    (
        "monitoring.md",
        "mien drill drift",
    ): f"{LONG}::test_a_drill_raises_its_alert_without_containers",
    ("monitoring.md", "MIEN_FAULT_INJECTION=1"): STACK,
    ("own_project.md", "python3 tasks.py lint"): f"{WHEEL}::test_the_page_on_installation_runs",
    ("own_project.md", "pip install 'mien"): f"{WHEEL}::test_the_page_on_installation_runs",
    ("own_project.md", "uvx"): "tests/test_installs.py::test_uvx_and_pipx_run_the_wheel",
    ("own_project.md", "pip install torch"): TORCH,
    ("own_project.md", "uv pip install --torch-backend"): TORCH,
    ("own_project.md", "import mien"): "tests/test_api.py::test_the_example_of_the_docs_answers",
    (
        "own_project.md",
        "mien new-task",
    ): "tests/tasks/test_adding.py::test_a_new_task_works_at_once",
    ("retraining.md", "mien retrain gesture"): (
        "tests/stages/retrain/test_retraining.py::test_reviewed_samples_make_a_better_challenger"
    ),
    ("retraining.md", "mien retrain gesture --if-due"): (
        "tests/stages/retrain/test_retraining.py::test_reviewed_samples_make_a_better_challenger"
    ),
    ("retraining.md", "mien retrain gesture --listen"): (
        f"{LONG}::test_what_serves_until_ctrl_c_starts_and_ends"
    ),
    ("retraining.md", "mien run sample_gesture"): f"{LONG}::test_the_drill_of_the_loop_passes",
    ("scale.md", "mien batch photos --out results  "): (
        f"{HERE}::test_the_batches_of_the_page_are_written"
    ),
    ("scale.md", "pip install 'mien[serve,buckets]'"): INSTALLS,
    ("scale.md", "mien batch s3://"): (
        "tests/stages/batch/test_in_buckets.py::test_the_commands_of_the_page_take_buckets"
    ),
    ("scale.md", "pip install 'mien[serve,ray]'"): INSTALLS,
    ("scale.md", "mien batch photos --out results --engine ray"): CLUSTER,
    ("scale.md", "export MIEN_PREDICTION_LOG"): f"{LONG}::test_a_replica_writes_to_postgresql",
    ("scale.md", "export POSTGRES_PASSWORD"): STACK,
    ("scale.md", "mlflow server"): f"{LONG}::test_a_registry_of_a_team_is_shared",
    ("scale.md", "export MLFLOW_TRACKING_URI"): f"{LONG}::test_a_registry_of_a_team_is_shared",
    ("scale.md", "mien pull gesture --registry"): f"{LONG}::test_a_registry_of_a_team_is_shared",
    ("shadow.md", "mien shadow gesture 2"): GUIDES,
    ("shadow.md", "mien shadow gesture --promote"): LOOP,
    ("shadow.md", "mien serve gesture --canary"): LOOP,
    ("sweeps.md", "mien sweep gesture_sweep --source"): f"{LONG}::test_a_sweep_gives_a_config",
    ("sweeps.md", "PGPASSWORD"): f"{LONG}::test_a_sweep_gives_a_config",
    ("sweeps.md", "pip install 'mien[ray]'"): INSTALLS,
    ("sweeps.md", "RAY_AUTH_MODE"): CLUSTER,
    ("training.md", "mien run emotion_pretrained"): (
        f"{LONG}::test_a_public_network_is_trained_further"
    ),
}
"""Blocks of other pages by the beginning of their first line."""


def listed(block: pages.Block) -> str:
    """The test that runs a block, or the reason."""
    if block.page in WHOLE:
        return WHOLE[block.page]
    fit = [first for page, first in BLOCKS if page == block.page and block.first.startswith(first)]
    assert fit, f"{block.page}: no test is named for the block that begins {block.first!r}"
    return BLOCKS[block.page, max(fit, key=len)]


def test_every_block_of_commands_has_a_test_or_a_reason() -> None:
    """The test exists, in a file that reads the page; no entry is left over."""
    found = [each for page in pages.pages() for each in pages.blocks(page, *pages.COMMANDS)]
    assert len(found) > 60
    for block in found:
        entry = listed(block)
        if entry in REASONS:
            continue
        path, _, name = entry.partition("::")
        code = (ROOT / path).read_text(encoding="utf-8")
        names = {each.name for each in ast.parse(code).body if isinstance(each, ast.FunctionDef)}
        assert name in names, entry
        reads = block.page in code or (block.page == "README.md" and "README" in code)
        assert reads or "pages.pages()" in code, f"{path} does not read {block.page}"
    used = {each.page for each in found} & set(WHOLE) | {
        (page, first)
        for page, first in BLOCKS
        if any(each.page == page and each.first.startswith(first) for each in found)
    }
    assert used == set(WHOLE) | set(BLOCKS)
    assert not {page for page, _ in BLOCKS} & set(WHOLE)


PROGRAM = re.compile(r"\s*(\$ )?(mien|python3?|pip|uv|uvx|pipx|docker|docker-compose|curl|dvc) ")


def test_commands_are_in_blocks_that_say_so() -> None:
    """A block of text holds no command, but a crontab; none is indented instead of fenced."""
    for page in pages.pages():
        for block in pages.blocks(page, "", "text"):
            lines = [line for line in block.text.splitlines() if PROGRAM.match(line)]
            assert lines == [], f"{page}: {block.first}"
        outside = re.sub(r"^```.*?^```$", "", pages.text(page), flags=re.DOTALL | re.MULTILINE)
        assert re.findall(r"^(?: {4}|\t)\S.*", outside, re.MULTILINE) == [], page


def test_versions_are_listed_compared_and_deleted(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """As docs/source/data.md has it; its levels of checks are accepted too."""
    for seed in (1, 2, 3):
        write_sample(tmp_path / str(seed), seed, 6)
        table = str(tmp_path / str(seed) / "landmarks.csv")
        done = command_line("data", "gesture", "--source", table, home=tmp_path)
        assert done.returncode == 0, done.stderr
    out = pages.run_here(pages.script("data.md"), command_line, tmp_path)
    for text in ("every byte is as it was stored", "is deleted"):
        assert text in out
    written = (tmp_path / "out" / "landmarks.csv").read_bytes()
    assert written == (tmp_path / "1" / "landmarks.csv").read_bytes()
    (levels,) = pages.blocks("data.md", "yaml")
    values = yaml.safe_load(levels.text)
    assert set(RunConfig(name="own", task="emotion", **values).checks) == set(values["checks"])


def test_the_batches_of_the_page_are_written(
    command_line: CommandLine, served_home: Path, tmp_path: Path
) -> None:
    """A table of each format, and one in parts."""
    (tmp_path / "photos").mkdir()
    for shade in (60, 90):
        noise = np.random.default_rng(shade).integers(0, shade, (48, 48, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{shade}.png")
    write_sample(tmp_path, 0, 1)
    pages.run_here(pages.script("batch.md"), command_line, tmp_path, served_home)
    assert (tmp_path / "results.parquet").is_file()
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 1 + 2
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 18
    parts = pages.script("scale.md", "mien batch photos --out results  ")
    out = pages.run_here(parts, command_line, tmp_path, served_home)
    assert (tmp_path / "results" / "_SUCCESS.json").is_file(), out


def test_the_requests_of_the_page_are_answered(served_home: Path, tmp_path: Path) -> None:
    """A prediction, feedback on it, and a prediction of a server that wants a key."""
    first, feedback, with_key = (each.text for each in pages.blocks("serving.md", "bash"))
    key = "0123456789abcdef"
    script = f"{first}{with_key}".replace("KEY", key).splitlines(keepends=True)
    answer = curl("".join(script[:2]), "", served_home, tmp_path, feedback)
    assert '"correct":true' in answer.replace(" ", "")
    refused = curl("".join(script[:2]), f"shop:{key}", served_home, tmp_path)
    assert "401" in refused
    answer = curl(script[2], f"shop:{key}", served_home, tmp_path)
    assert '"gesture":"like"' in answer.replace(" ", "")


def test_a_prometheus_without_containers_takes_its_config(tmp_path: Path) -> None:
    """As docs/source/monitoring.md has it, but for the last line, which serves until Ctrl-C."""
    promtool = prometheus.require("promtool")
    shutil.copytree(prometheus.FOLDER, tmp_path / "prometheus")
    *lines, last = pages.script("monitoring.md", "cp -r prometheus watch").splitlines()
    subprocess.run(["bash", "-euc", "\n".join(lines)], cwd=tmp_path, check=True)
    path = last.split("--config.file ")[1].split()[0]
    jobs = yaml.safe_load((tmp_path / path).read_text(encoding="utf-8"))["scrape_configs"]
    targets = {each["job_name"]: each["static_configs"][0]["targets"][0] for each in jobs}
    assert targets["mien"] == "127.0.0.1:8000"
    assert last.endswith(targets["prometheus"])
    subprocess.run([promtool, "check", "config", path], cwd=tmp_path, check=True)


def curl(commands: str, keys: str, home: Path, folder: Path, feedback: str = "") -> str:
    """What the last of some requests gets from a server with API keys, or with none."""
    changes = {"prediction_log": folder / "predictions.db", "port": 0}
    changes |= {"api_keys": SecretStr(keys)} if keys else {}
    settings = config.settings().model_copy(update=changes)
    with serve.running(Workspace(home), ["gesture"], [], settings) as address:
        out = ""
        for each in filter(None, (commands, feedback)):
            trace = re.search(r'"trace_id": ?"(\w+)"', out)
            each = re.sub(r"\b[0-9a-f]{32}\b", trace[1] if trace else "", each)
            done = subprocess.run(
                ["bash", "-euc", each.replace("127.0.0.1:8000", urlsplit(address).netloc)],
                cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            out = done.stdout
    return out
