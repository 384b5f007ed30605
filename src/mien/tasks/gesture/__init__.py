"""The task `gesture`: find the hands of a picture and name the gesture of each."""

from mien.task import Task

from .bodies import bodies
from .data import examples, prepare
from .drawing import kept_picture
from .mend import mend
from .params import LABELS, Body, Params
from .predict import ENOUGH, follow, predict, predict_many
from .sample import write_sample
from .survey import GATES, survey
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
    survey=survey,
    mend=mend,
    prepare=prepare,
    candidates=candidates,
    fit=fit,
    examples=examples,
    predict=predict,
    predict_many=predict_many,
    enough=ENOUGH,
    follow=follow,
    table=bodies,
)
