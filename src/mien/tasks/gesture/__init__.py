"""The task `gesture`: find the hands of a picture and name the gesture of each."""

from mien.task import Predictor, Task, TaskData, Trainer

from .anatomy import BONES
from .checks import CHECKS
from .data import examples, prepare
from .drawing import load_sample_picture
from .inspection import inspect, label_features
from .params import HAGRID_LABELS, MIN_SIDE, Body, Params
from .predict import detect_many
from .recording import RECORDABLE
from .repair import repair
from .reviewed import add_reviewed
from .sample import write_sample
from .table_requests import read_table_requests
from .train import candidates, fit

TASK = Task(
    name=__name__.rpartition(".")[2],
    summary="the gesture of a hand: 21 landmarks and a small classifier",
    default_labels=HAGRID_LABELS,
    data=TaskData(
        write_sample=write_sample,
        param_names=(
            "convention",
            "aspect_ratio",
            "val_fraction",
            "test_fraction",
            "splits",
            "ignore_labels",
        ),
        checks=CHECKS,
        inspect=inspect,
        repair=repair,
        prepare=prepare,
        examples=examples,
        label_features=label_features,
        add_reviewed=add_reviewed,
    ),
    training=Trainer(Params=Params, candidates=candidates, fit=fit),
    inference=Predictor(
        detect_many=detect_many,
        sample_picture=load_sample_picture,
        Body=Body,
        min_side=MIN_SIDE,
        skeleton=BONES,
        tracking=True,
        table_requests=read_table_requests,
    ),
    recordable=RECORDABLE,
    intended_use="Commands and games by hand signs, in front of a camera that the person in it has "
    "switched on.",
    forbidden_use="Control of anything that can hurt somebody, identification of people, and "
    "inference of emotions or intentions from their hands (at work and in education prohibited in "
    "the European Union since 2 February 2025, Regulation (EU) 2024/1689, Article 5(1)(f)). It "
    "reads no sign language: it knows single shapes of a hand.",
)
