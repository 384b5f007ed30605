#!/usr/bin/env bash
# onnxruntime 1.32.0, CPU: a PRelu between convolutions costs as much as the convolutions. The
# convolutions run in a blocked layout (NCHWc), which PRelu does not know: each PRelu is put between a
# ReorderOutput and a ReorderInput. The same function as x + (1 - a) * relu(-x), written with two
# more 1 x 1 depthwise convolutions, adds no reordering and takes a third of the time.
# Where it meets people: MediaPipe's palm detector and other mobile networks have a PRelu a block.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check \
  onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 2> /dev/null
cat > prelu.py <<'PROGRAM'
import os
import time
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

BLOCKS, CHANNELS, SIDE = 12, 32, 96


def network(rewritten: bool) -> bytes:
    random = np.random.default_rng(0)
    nodes, constants = [], []

    def store(values):
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def add(kind, inputs, **attributes):
        nodes.append(helper.make_node(kind, inputs, [f"v{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def scale(value, factors):
        return add("Conv", [value, store(factors[:, None, None, None])], group=CHANNELS)

    value = "x"
    for _ in range(BLOCKS):
        kernel = random.normal(size=(CHANNELS, CHANNELS, 1, 1)) / np.sqrt(CHANNELS)
        slopes = random.uniform(0.1, 0.5, CHANNELS)
        value = add("Conv", [value, store(kernel)])
        if rewritten:
            negative = add("Relu", [scale(value, -np.ones(CHANNELS))])
            value = add("Add", [scale(negative, 1 - slopes), value])
        else:
            value = add("PRelu", [value, store(slopes[:, None, None])])
    shape = [1, CHANNELS, SIDE, SIDE]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", value)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()


def open_network(rewritten):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = f"optimized-{rewritten}.onnx"
    return ort.InferenceSession(network(rewritten), options, providers=["CPUExecutionProvider"])


x = np.random.default_rng(1).normal(size=(1, CHANNELS, SIDE, SIDE)).astype(np.float32)
sessions = {each: open_network(each) for each in (False, True)}
outputs = {each: session.run(None, {"x": x})[0] for each, session in sessions.items()}
assert np.allclose(outputs[False], outputs[True], atol=1e-4)
seconds = {False: [], True: []}
for _ in range(30):
    for each, session in sessions.items():
        start = time.process_time()
        session.run(None, {"x": x})
        seconds[each].append(time.process_time() - start)
reorders = {}
for each in sessions:
    kinds = Counter(node.op_type for node in onnx.load(f"optimized-{each}.onnx").graph.node)
    reorders[each] = kinds["ReorderInput"] + kinds["ReorderOutput"]
    print(f"{'rewritten' if each else 'PRelu':<10}{reorders[each]:>3} reorderings,",
          f"{1000 * min(seconds[each]):.1f} ms CPU; operators: {dict(kinds)}")
ratio = min(seconds[False]) / min(seconds[True])
print(f"onnxruntime {ort.__version__}: PRelu takes {ratio:.2f} of the rewritten network's time")
assert reorders[False] >= 2 * BLOCKS - 2 and reorders[True] <= 2, reorders
assert ratio > 1.15, ratio
PROGRAM
env/bin/python prelu.py
