"""The task `gesture`: find the hands of a picture and name the gesture of each."""

from mien.task import Task

from .data import examples, prepare
from .drawing import hand_picture
from .params import LABELS, Body, Params
from .predict import predict
from .sample import write_sample
from .train import candidates, fit

TASK = Task(
    name=__name__.rpartition(".")[2],
    summary="the gesture of a hand: 21 landmarks and a small classifier of 18 gestures",
    labels=LABELS,
    Params=Params,
    Body=Body,
    sample=write_sample,
    picture=lambda: hand_picture("like"),
    data_params=("convention", "aspect", "val", "test", "ignore_labels"),
    prepare=prepare,
    candidates=candidates,
    fit=fit,
    examples=examples,
    predict=predict,
)
