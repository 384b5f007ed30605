"""Promises about the dashboards: they are what the panels say, they fit, and Grafana takes them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import CommandLine
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT
from waiting import PATIENCE

from mien.observability import metrics
from mien.stages.monitor import dashboards, grafana, promql
from mien.stages.monitor.grafana import Panel
from mien.stages.monitor.panels import DASHBOARDS

PROVISIONING = ROOT / "grafana" / "provisioning"
TYPES = Path(__file__).parent / "grafana"
EACH = pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
NOT_SHOWN: dict[str, str] = {}
"""Rows of the metrics table that no panel shows, each with the reason."""


def made(board: dashboards.Dashboard) -> dict[str, Any]:
    """The dashboard after a way through its file."""
    found: dict[str, Any] = json.loads(dashboards.text(board))
    return found


def panels(board: dashboards.Dashboard) -> list[dict[str, Any]]:
    """The panels that are no headings."""
    return [panel for panel in made(board)["panels"] if panel["type"] != "row"]


def asked(board: dashboards.Dashboard) -> Iterator[tuple[str, str]]:
    """Every question of a dashboard, with what asks it: panels and annotations."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for note in made(board)["annotations"]["list"]:
        if "expr" in note:
            yield note["name"], note["expr"]


def settings(path: str) -> dict[str, Any]:
    """A YAML file of the project."""
    found: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return found


@EACH
def test_the_committed_files_are_what_the_panels_say(board: dashboards.Dashboard) -> None:
    """Nobody edits the JSON by hand, and nobody forgets to write it."""
    path = PROVISIONING / "dashboards" / f"{board.name}.json"
    assert path.read_text(encoding="utf-8") == dashboards.text(board), "run `mien dashboards`"


def test_the_command_writes_the_committed_files(tmp_path: Path, command_line: CommandLine) -> None:
    """`mien dashboards` gives the same bytes anywhere, and leaves nothing else behind."""
    done = command_line("dashboards", "--out", str(tmp_path / "new"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert set(written) == {"overview.json", "model.json", "data.json", "server.json"}
    for name, content in written.items():
        assert content == (PROVISIONING / "dashboards" / name).read_bytes()


@EACH
def test_labels_of_a_question_exist(board: dashboards.Dashboard) -> None:
    """A misspelt label selects nothing or groups everything together, without a word."""
    target = {"job", "instance"}
    for title, expr in asked(board):
        labels = [
            row.labels if row else promql.FOREIGN[name] for name, row in promql.metrics_of(expr)
        ]
        rows = [row for _, row in promql.metrics_of(expr) if row]
        known = target.union(*labels)
        known |= {"le"} if any(row.kind == "histogram" for row in rows) else set()
        for name, matchers in re.findall(r"(\w+){([^}]*)}", expr):
            row = metrics.EXPOSED.get(name)
            own = {*row.labels, "le"} | target if row else set(promql.FOREIGN[name])
            used = set(re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', "", matchers)))
            assert used <= own, f"{title}: {name} has no label {sorted(used - own)}"
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr):
            used = set(re.findall(r"\w+", labels))
            assert used <= known, f"{title}: no metric here has a label {sorted(used - known)}"


@EACH
def test_legends_name_labels_that_are_left(board: dashboards.Dashboard) -> None:
    """`{{label}}` of a label that the question sums away would be an empty word."""
    for panel in panels(board):
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
            assert named <= kept, panel["title"]


def test_every_metric_is_shown() -> None:
    """What is measured can be seen, or a reason stands here."""
    shown = {
        row.name
        for board in DASHBOARDS
        for panel in panels(board)
        for target in panel["targets"]
        for _, row in promql.metrics_of(target["expr"])
        if row
    }
    assert {row.name for row in metrics.METRICS} - shown == set(NOT_SHOWN)


def test_an_unknown_metric_is_refused() -> None:
    """A metric that nobody exposes fails when the file is made, with the nearest name."""
    panel = Panel("x", {"": "rate(mien_prediction_total[1m])"}, unit="none")
    with pytest.raises(ValueError, match=r"mien_prediction_total.*'mien_predictions_total'"):
        grafana.as_json(panel)
    with pytest.raises(ValueError, match="mien_confidence is not exposed"):
        promql.rate("mien_confidence")


@EACH
def test_panels_say_what_they_show(board: dashboards.Dashboard) -> None:
    """Title, description, unit, questions, and Grafana's name of the one data source."""
    for panel in panels(board):
        assert panel["title"], panel["id"]
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}, panel["title"]


@EACH
def test_growth_is_not_shown_as_a_total(board: dashboards.Dashboard) -> None:
    """What grows per second says so in its unit; a quantile, a mean and a share do not."""
    for panel in panels(board):
        for target in panel["targets"]:
            if target["expr"].startswith("sum") and "rate(" in target["expr"].split("/")[0]:
                unit = panel["fieldConfig"]["defaults"]["unit"]
                plain = "/" in target["expr"] or "process_cpu" in target["expr"]
                assert plain or unit in ("cps", "reqps"), panel["title"]


@EACH
def test_panels_fit_on_the_grid(board: dashboards.Dashboard) -> None:
    """No panel covers another one or stands beyond the last column; identifiers are unique."""
    all_panels = made(board)["panels"]
    assert_fit([panel["gridPos"] for panel in all_panels])
    numbers = [panel["id"] for panel in all_panels]
    assert len(set(numbers)) == len(numbers)


def test_addresses_of_dashboards_are_unique() -> None:
    """The uids that docs and links name."""
    assert [made(board)["uid"] for board in DASHBOARDS] == [
        "mien-overview",
        "mien-model",
        "mien-data",
        "mien-server",
    ]


@given(st.lists(st.tuples(st.integers(1, 24), st.integers(1, 20)), max_size=30), st.integers(0, 9))
def test_any_panels_are_placed_beside_each_other(sizes: list[tuple[int, int]], top: int) -> None:
    """Whatever the sizes: each kept, none covered, none beyond the edge, none in the air."""
    places = dashboards.layout(sizes, top)
    assert [(spot["w"], spot["h"]) for spot in places] == sizes
    assert_fit(places)
    for spot in places:
        below = [other for other in places if other["y"] + other["h"] == spot["y"]]
        held = any(
            other["x"] < spot["x"] + spot["w"] and spot["x"] < other["x"] + other["w"]
            for other in below
        )
        assert spot["y"] == top or held


def assert_fit(places: list[dict[str, int]]) -> None:
    """No two overlap, and all are within the columns."""
    for spot in places:
        assert spot["x"] >= 0
        assert spot["y"] >= 0
        assert spot["x"] + spot["w"] <= 24
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_grafana_finds_files_and_data_source() -> None:
    """The folder is mounted where the provider looks; the data source has the panels' uid."""
    (source,) = settings("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["uid"] == grafana.SOURCE_UID
    assert source["type"] == grafana.SOURCE["type"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = settings("grafana/provisioning/dashboards/mien.yml")["providers"]
    assert provider["options"]["path"] == "/etc/grafana/provisioning/dashboards"
    mounts = [
        mount(each) for each in settings("docker-compose.yml")["services"]["grafana"]["volumes"]
    ]
    assert ("grafana/provisioning", "/etc/grafana/provisioning") in mounts


def mount(volume: str | dict[str, Any]) -> tuple[str, str]:
    """Where a volume comes from and where it goes, in either way of writing it."""
    source, target = (
        volume.split(":")[:2] if isinstance(volume, str) else (volume["source"], volume["target"])
    )
    return source.removeprefix("./").rstrip("/"), target.rstrip("/")


def test_the_overview_is_opened_first_and_answers_whether_all_is_well() -> None:
    """Alerts, versions, accuracy, drift and latency; the other dashboards are a click away."""
    environment = settings("docker-compose.yml")["services"]["grafana"]["environment"]
    assert environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].endswith("/overview.json")
    text = " ".join(expr for _, expr in asked(DASHBOARDS[0]))
    names = "ALERTS up model_info live_accuracy drift_score drift_threshold request_seconds_bucket"
    assert [name for name in names.split() if name not in text] == []
    assert {link["type"] for link in made(DASHBOARDS[0])["links"]} == {"dashboards", "link"}


def test_an_alert_leads_to_its_runbook() -> None:
    """By its name, which is an anchor of the page; the address is that of the alerts."""
    (table,) = [panel for panel in panels(DASHBOARDS[0]) if "runbooks" in panel["title"]]
    (link,) = table["fieldConfig"]["overrides"][0]["properties"][0]["value"]
    assert link["url"] == "${docs}/runbooks/#${__value.text}"
    page = (ROOT / "docs/source/runbooks.md").read_text(encoding="utf-8")
    groups = settings("prometheus/rules/alerts.yml")["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    assert {name for name in alerts if f'<a id="{name}"></a>' not in page} == set()
    assert settings("prometheus/prometheus.yml")["global"]["external_labels"]["docs"] == (
        dashboards.DOCS
    )


@EACH
def test_deployments_alerts_and_drills_are_marked(board: dashboards.Dashboard) -> None:
    """On every dashboard; each has the variable of the task."""
    notes = {note["name"]: note for note in made(board)["annotations"]["list"]}
    assert set(notes) == {"Deployment", "Alerts", "Drills"}
    assert notes["Drills"]["target"]["tags"] == list(dashboards.DRILL_TAGS)
    assert "task" in [variable["name"] for variable in made(board)["templating"]["list"]]


def test_series_of_zero_are_hidden_where_labels_are_many() -> None:
    """A reason that never occurs is no line; a panel of such zeros alone says none."""
    shown = Panel("x", {"": promql.rate("mien_rejected_total", "reason")}, hides_zero=True)
    document = grafana.as_json(shown)
    assert document["targets"][0]["expr"].endswith(" > 0")
    assert document["fieldConfig"]["defaults"]["noValue"] == "none"
    for board in DASHBOARDS:
        for title in ("Rate of rejected requests by reason", "Rate of predictions by outcome"):
            for panel in panels(board):
                if panel["title"] == title:
                    assert panel["targets"][0]["expr"].endswith(" > 0")


def test_no_rate_is_taken_over_less_than_four_scrapes() -> None:
    """Grafana makes `$__rate_interval` of the interval that the data source names."""
    (source,) = settings("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    scraped = settings("prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


def test_objectives_are_those_of_the_alerts() -> None:
    """The line on the dashboard is the number that the rules compare."""
    from mien.stages.monitor.panels import server

    rules = "".join(path.read_text() for path in sorted((ROOT / "prometheus" / "rules").glob("*")))
    assert f'le="{server.OBJECTIVE_SECONDS}"' in rules
    assert f"* {1 - server.OBJECTIVE_IN_TIME:.3g}\n" in rules
    assert f"* {1 - server.OBJECTIVE_WITHOUT_ERROR:.3g}\n" in rules


def test_types_are_those_of_the_grafana_that_is_started() -> None:
    """The types are of the version of the image, and the lock names no registry."""
    image = settings("docker-compose.yml")["services"]["grafana"]["image"]
    package = json.loads((TYPES / "package.json").read_text(encoding="utf-8"))
    lock = (TYPES / "package-lock.json").read_text(encoding="utf-8")
    version = package["devDependencies"]["@grafana/schema"]
    assert image == f"grafana/grafana:{version}"
    assert json.loads(lock)["packages"]["node_modules/@grafana/schema"]["version"] == version
    assert "://" not in lock


def test_grafana_takes_the_types(grafana_types: Path, tmp_path: Path) -> None:
    """Options, look and queries of every panel have the form of Grafana's own types."""
    for board in DASHBOARDS:
        typed(tmp_path / f"{board.name}.ts", made(board))
    wrong = made(DASHBOARDS[0])
    stat = next(panel for panel in wrong["panels"] if panel["type"] == "stat")
    stat["options"]["colorMode"] = "rainbow"
    typed(tmp_path / "wrong.ts", wrong)
    done = compiled(grafana_types, tmp_path)
    faults = [line for line in done.splitlines() if ": error " in line]
    assert [line for line in faults if not line.startswith("wrong.ts")] == []
    assert "rainbow" in "".join(faults), "a wrong option went through: the check checks nothing"


def typed(path: Path, board: dict[str, Any]) -> None:
    head = 'import type { Strict } from "./strict";\nexport const board: Strict = '
    path.write_text(f"{head}{json.dumps(board)};\n", encoding="utf-8")


def compiled(installed: Path, folder: Path) -> str:
    """What the compiler says of every file in the folder."""
    shutil.copy(TYPES / "strict.ts", folder)
    (folder / "node_modules").symlink_to(installed / "node_modules")
    flags = "--noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler"
    names = sorted(path.name for path in folder.glob("*.ts"))
    done = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", *flags.split(), "--target", "es2022", *names],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.fixture
def grafana_types() -> Path:
    """Grafana's types, as the lock file says, in the user's cache: fetched once a machine."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("dashboards are not checked against Grafana's types: no node and npm here")
    lock = (TYPES / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "mien" / f"grafana-types-{sha256(lock).hexdigest()[:12]}"
    if not (folder / "done").exists():
        install(folder)
    return folder


def install(folder: Path) -> None:
    """Fetch what the lock names and nothing else; no script of a package runs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(TYPES / name, folder)
    try:
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, capture_output=True, timeout=PATIENCE, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (error.stderr or b"").decode().strip().splitlines()[-1:]
        pytest.skip(f"dashboards are not checked against Grafana's types: npm failed: {said}")
    (folder / "done").touch()
