"""The task `emotion`: find the faces of a picture and name the emotion of each."""

from mien.task import Task

from .data import examples, prepare
from .inspection import GATES, inspect
from .params import LABELS, MIN_SIDE, Params
from .predict import predict, predict_many
from .repair import repair
from .sample import draw_face_image, write_sample
from .subjects import subjects
from .train import candidates, external_weights, fit

TASK = Task(
    name=__name__.rpartition(".")[2],
    summary="the emotion of a face: a YOLO detector with eight classes",
    labels=LABELS,
    Params=Params,
    Body=None,
    sample=write_sample,
    picture=lambda: draw_face_image("happy"),
    data_params=(),
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
    external_weights=external_weights,
    subjects=subjects,
)
