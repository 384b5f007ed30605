"""Runs the shell steps of a job as GitHub does, as far as this project uses it, with stand-ins."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$*" in
  *"${FAIL:-nothing fails}"*) exit 1;;
  inspect*) echo "region-docker.pkg.dev/project/mien/mien@sha256:$(printf '%064d' 7)";;
esac
"""
"""Any program: writes down how it was called; the one that FAIL names fails."""
_EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")


@dataclass
class Runner:
    """The folder of a job; programs are stand-ins in it."""

    folder: Path
    contexts: Mapping[str, str]
    """Values of expressions such as `vars.GCP_REGION`."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """Of steps, by their id."""

    def run(self, job: Mapping[str, Any], fail: str = "", cancel: str = "") -> list[str]:
        """Run a job; returns how programs were called.

        Args:
            job: as the workflow has it. Steps that use an action are left out.
            fail: part of the command that fails.
            cancel: id of the step during which the job is cancelled.
        """
        self._make_programs(("docker", "gcloud", "python3"), self.folder / "bin")
        self._make_programs(("mien",), self.folder / ".venv" / "bin")
        log = self.folder / "log"
        base = {"LOG": str(log), "FAIL": fail or "nothing fails", "GITHUB_SHA": "abc"}
        state = "success"
        for step in (each for each in job["steps"] if "run" in each):
            name = step.get("id", "")
            if not self._is_due(step.get("if", "success()"), state):
                self.outcomes[name] = "skipped"
                continue
            self.outcomes[name] = self._run_step(step, base | job["env"] | step.get("env", {}))
            if name and name == cancel:
                state = self.outcomes[name] = "cancelled"
            elif self.outcomes[name] == "failure" and state == "success":
                state = "failure"
        return log.read_text(encoding="utf-8").splitlines()

    def _make_programs(self, names: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(STAND_IN, encoding="utf-8")
            (folder / name).chmod(0o755)

    def _is_due(self, condition: str, state: str) -> bool:
        """Evaluate the few functions and operators that the conditions use."""
        text = re.sub(r"steps\.(\w+)\.outcome", r"outcomes['\1']", condition)
        for theirs, ours in (("&&", " and "), ("||", " or ")):
            text = text.replace(theirs, ours)
        functions = {
            "success": lambda: state == "success",
            "failure": lambda: state == "failure",
            "cancelled": lambda: state == "cancelled",
        }
        return bool(eval(text, {"outcomes": self.outcomes, **functions}))

    def _run_step(self, step: Mapping[str, Any], variables: Mapping[str, str]) -> str:
        output = self.folder / "output"
        environment = {
            name: _EXPRESSION.sub(lambda match: self._value(match[1], output), str(value))
            for name, value in variables.items()
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={
                **os.environ,
                **environment,
                "GITHUB_OUTPUT": str(output),
                "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            },
            check=False,
        )
        return "failure" if done.returncode else "success"

    def _value(self, expression: str, output: Path) -> str:
        if not expression.startswith("steps."):
            return self.contexts[expression]
        lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
        return dict(line.split("=", 1) for line in lines)[expression.rpartition(".")[2]]
