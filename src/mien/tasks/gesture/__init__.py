"""The task `gesture`: find the hands of a picture and name the gesture of each."""

from mien.task import Task

from .bodies import bodies
from .data import examples, prepare
from .drawing import kept_picture
from .inspection import GATES, inspect
from .params import LABELS, Body, Params
from .predict import MIN_SIDE, follow, predict, predict_many
from .repair import repair
from .sample import write_sample
from .train import candidates, fit

TASK = Task(
    name=__name__.rpartition(".")[2],
    summary="the gesture of a hand: 21 landmarks and a small classifier of 18 gestures",
    labels=LABELS,
    Params=Params,
    Body=Body,
    sample=write_sample,
    picture=kept_picture,
    data_params=("convention", "aspect", "val", "test", "ignore_labels"),
    gates=GATES,
    inspect=inspect,
    repair=repair,
    prepare=prepare,
    candidates=candidates,
    fit=fit,
    examples=examples,
    predict=predict,
    predict_many=predict_many,
    min_side=MIN_SIDE,
    follow=follow,
    table=bodies,
)
