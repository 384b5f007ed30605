"""A task to start from: name the class of a picture by its colours.

Made by `mien new-task`. It works as it is; replace its parts one by one. `mien/task.py` says what
each part must do, `tests/tasks/test_contract.py` checks it.
"""

from mien.task import Predictor, Task, TaskData, Trainer

from .data import LABELS, examples, inspect, prepare, repair, sample_picture, write_sample
from .params import Params
from .predict import detect_many
from .train import candidates, fit

TASK = Task(
    name=__name__.rpartition(".")[2],
    summary="the main colour of a picture: a softmax regression on its pixels",
    default_labels=LABELS,
    data=TaskData(
        write_sample=write_sample,
        param_names=(),
        checks=(),
        inspect=inspect,
        repair=repair,
        prepare=prepare,
        examples=examples,
    ),
    training=Trainer(Params=Params, candidates=candidates, fit=fit),
    inference=Predictor(detect_many=detect_many, sample_picture=sample_picture),
    # Both stand in the card of every model; without them none is registered.
    intended_use="Trying mien: it names a colour, which nobody needs a model for.",
    forbidden_use="Anything that depends on its answer.",
)
