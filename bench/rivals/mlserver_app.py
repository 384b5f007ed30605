"""The champions under MLServer: one custom runtime, loaded once for each task.

As https://docs.seldon.ai/mlserver/examples/custom-json has it: an `MLModel` with `load` and
`predict`, JSON in and out as strings of the V2 protocol; pictures come in its `base64` content
type. `parallel_workers` is 0 (https://docs.seldon.ai/mlserver/user-guide/parallel-inference): on
one core a second process for the model is only more to carry.
"""

import json

from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from bench.rivals.champions import Champion


class Runtime(MLModel):
    """One task, named as its model."""

    async def load(self) -> bool:
        self.champion = Champion(self.name)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (sent,) = payload.inputs
        if sent.name == "image":
            request = self.champion.ask(Base64Codec.decode_input(sent)[0])
        else:
            request = self.champion.body(json.loads(StringCodec.decode_input(sent)[0]))
        answer = json.dumps(self.champion.predict(request).as_json(self.name))
        return InferenceResponse(
            model_name=self.name, outputs=[StringCodec.encode_output("answer", [answer])]
        )
