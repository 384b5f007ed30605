"""The champions under BentoML: one service with one worker and an API for each question.

As https://docs.bentoml.com/en/latest/build-with-bentoml/iotypes.html has it: a file is taken as a
`Path`, a JSON body by its type. Workers and time limits are set as in
https://docs.bentoml.com/en/latest/reference/bentoml/configurations.html.
"""

from pathlib import Path
from typing import Any

import bentoml

from bench.rivals.champions import Champion


@bentoml.service(
    workers=1,
    resources={"cpu": "1"},
    traffic={"timeout": 300},
    logging={"access": {"enabled": False}},
)
class Mien:
    """Both tasks."""

    def __init__(self) -> None:
        self.champions = {name: Champion(name) for name in ("emotion", "gesture")}

    @bentoml.api
    def emotion(self, file: Path) -> dict[str, Any]:
        return self._look("emotion", file)

    @bentoml.api
    def gesture(self, file: Path) -> dict[str, Any]:
        return self._look("gesture", file)

    @bentoml.api
    def landmarks(self, landmarks: list[list[float]]) -> dict[str, Any]:
        champion = self.champions["gesture"]
        return champion.predict(champion.body({"landmarks": landmarks})).as_json("gesture")

    def _look(self, task: str, file: Path) -> dict[str, Any]:
        champion = self.champions[task]
        return champion.predict(champion.ask(file.read_bytes())).as_json(task)
