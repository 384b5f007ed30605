"""The task `emotion`: find the faces of a picture and name the emotion of each."""

from mien.task import Task

from .data import examples, prepare
from .faces import subjects
from .mend import mend
from .params import LABELS, Params
from .predict import ENOUGH, predict, predict_many
from .sample import face_picture, write_sample
from .survey import GATES, survey
from .train import candidates, fit, outside

TASK = Task(
    name=__name__.rpartition(".")[2],
    summary="the emotion of a face: a YOLO detector with eight classes",
    labels=LABELS,
    Params=Params,
    Body=None,
    sample=write_sample,
    picture=lambda: face_picture("happy"),
    data_params=(),
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
    outside=outside,
    subjects=subjects,
)
