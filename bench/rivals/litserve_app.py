"""The champions under LitServe: one `LitAPI` for each task, one worker for each, one HTTP process.

As https://lightning.ai/docs/litserve/api-reference/litapi has it: `decode_request`, `predict`,
`encode_response`; several APIs behind one server as in
https://lightning.ai/docs/litserve/api-reference/litserver. A picture comes as base64 in JSON:
a form's file of more than 1 MB cannot pass LitServe's queue, which pickles what it is given.
"""

import base64
import os
from typing import Any

import litserve

from bench.rivals.champions import Champion
from mien.task import Prediction, Request


class Api(litserve.LitAPI):
    """One task."""

    def __init__(self, task: str) -> None:
        super().__init__(api_path=f"/predict/{task}")
        self.task = task

    def setup(self, device: str) -> None:
        self.champion = Champion(self.task)

    def decode_request(self, request: dict[str, Any]) -> Request:
        if "image" in request:
            return self.champion.ask(base64.b64decode(request["image"]))
        return self.champion.body(request)

    def predict(self, x: Request) -> Prediction:
        return self.champion.predict(x)

    def encode_response(self, output: Prediction) -> dict[str, Any]:
        return output.as_json(self.task)


if __name__ == "__main__":
    server = litserve.LitServer(
        [Api("emotion"), Api("gesture")], accelerator="cpu", workers_per_device=1, timeout=300
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
