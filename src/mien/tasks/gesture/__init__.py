"""The task `gesture`: find the hands of a picture and name the gesture of each."""

from mien.task import Predictor, Task, TaskData, Trainer

from .bodies import bodies
from .checks import CHECKS
from .data import examples, prepare
from .drawing import kept_picture
from .inspection import inspect
from .params import LABELS, Body, Params
from .predict import MIN_SIDE, follow, predict_many
from .repair import repair
from .sample import write_sample
from .train import candidates, fit

TASK = Task(
    name=__name__.rpartition(".")[2],
    summary="the gesture of a hand: 21 landmarks and a small classifier of 18 gestures",
    labels=LABELS,
    data=TaskData(
        write_sample=write_sample,
        param_names=("convention", "aspect", "val", "test", "ignore_labels"),
        checks=CHECKS,
        inspect=inspect,
        repair=repair,
        prepare=prepare,
        examples=examples,
    ),
    training=Trainer(Params=Params, candidates=candidates, fit=fit),
    inference=Predictor(
        predict_many=predict_many,
        sample_picture=kept_picture,
        Body=Body,
        min_side=MIN_SIDE,
        video_predictor=follow,
        table_requests=bodies,
    ),
)
