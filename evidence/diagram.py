"""Diagrams of the architecture, from the code and the configs, as Mermaid.

The first shows data and requests: the stages as pipeline/ calls them, the services of
docker-compose.yml, and who asks whom by the configs of Prometheus and Grafana. The second shows the
packages in the layers that import-linter enforces, with their imports.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def flow(root: Path = ROOT) -> str:
    """From a source of data to a dashboard."""
    stages = _stages(root / "src" / "mien" / "pipeline" / "__init__.py")
    services = _yaml(root / "docker-compose.yml")["services"]
    lines = ["flowchart LR", "  subgraph run [mien run]"]
    lines += [f"    source --> {stages[0]}"]
    lines += [f"    {one} --> {other}" for one, other in pairwise(stages)]
    lines += ["  end", "  subgraph stack [docker-compose.yml]"]
    lines += [f"    {name}[{name}]" for name in services]
    lines += ["  end", f"  {stages[-1]} -->|champion| api", "  users -->|HTTP| api"]
    return "\n".join([*lines, *sorted(_watching(root))])


def _stages(path: Path) -> list[str]:
    """The stages of `mien run` in order: the calls `stage("NAME", ...)` that `_run` leads to."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
    return list(dict.fromkeys(_stages_of("_run", functions)))


def _stages_of(name: str, functions: dict[str, ast.FunctionDef]) -> Iterator[str]:
    calls = [node for node in ast.walk(functions[name]) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        target = getattr(call.func, "id", "")
        if target == "stage" and isinstance(call.args[0], ast.Constant):
            yield str(call.args[0].value)
        elif target in functions and target != name:
            yield from _stages_of(target, functions)


def _watching(root: Path) -> Iterator[str]:
    watcher = _yaml(root / "prometheus" / "prometheus.yml")
    for job in watcher["scrape_configs"]:
        for target in _targets(job):
            if target != "prometheus":
                yield f"  prometheus -->|reads metrics| {target}"
    for receiver in watcher["alerting"]["alertmanagers"]:
        for target in _targets(receiver):
            yield f"  prometheus -->|alerts| {target}"
    folder = root / "grafana" / "provisioning" / "datasources"
    for source in _yaml(folder / "prometheus.yml")["datasources"]:
        (host,) = re.findall(r"//([\w-]+)", source["url"])
        yield f"  grafana -->|queries| {host}"


def _targets(job: dict[str, Any]) -> list[str]:
    return [
        target.partition(":")[0] for config in job["static_configs"] for target in config["targets"]
    ]


@cache
def packages(root: Path = ROOT) -> str:
    """The layers of the package; an arrow is an import that no chain of others stands for."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = [layer.split(" | ") for layer in contracts[0]["layers"]]
    imports = {name: _imports(root, name) for layer in layers for name in layer}
    lines = ["flowchart TD"]
    for number, layer in enumerate(layers):
        lines += [f"  subgraph layer{number} [ ]", *(f"    {name}" for name in layer), "  end"]
    for name, targets in imports.items():
        direct = targets - {far for near in targets for far in _reached(near, imports)}
        lines += [f"  {name} --> {target}" for target in sorted(direct)]
    return "\n".join(lines)


def _imports(root: Path, name: str) -> set[str]:
    """The other members of the package that a member imports anywhere."""
    place = root / "src" / "mien" / name
    files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    targets = set[str]()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level and node.module == "mien":
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mien."):
                targets.add(str(node.module).split(".")[1])
    return {target for target in targets - {name} if _is_member(root, target)}


def _is_member(root: Path, name: str) -> bool:
    place = root / "src" / "mien" / name
    return place.is_dir() or place.with_suffix(".py").is_file()


def _reached(name: str, imports: dict[str, set[str]]) -> set[str]:
    """All that a member imports, directly or through others."""
    direct = imports.get(name, set())
    return direct.union(*(_reached(each, imports) for each in direct)) if direct else set()


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    print(f"{flow()}\n\n{packages()}")
