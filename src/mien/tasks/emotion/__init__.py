"""The task `emotion`: find the faces of a picture and name the emotion of each."""

from mien.task import Predictor, Task, TaskData, Trainer

from .checks import CHECKS
from .data import examples, prepare
from .inspection import inspect
from .label_features import label_features
from .params import LABELS, MIN_SIDE, Params
from .predict import detect_many
from .repair import repair
from .reviewed import add_reviewed
from .sample import draw_face_image, write_sample
from .starter import face_api, fer
from .subjects import subjects
from .train import candidates, external_weights, fit

TASK = Task(
    name=__name__.rpartition(".")[2],
    summary="the emotion of a face: the box of the face and its expression",
    default_labels=LABELS,
    data=TaskData(
        write_sample=write_sample,
        param_names=("names", "ignore_labels"),
        checks=CHECKS,
        inspect=inspect,
        repair=repair,
        prepare=prepare,
        examples=examples,
        label_features=label_features,
        add_reviewed=add_reviewed,
    ),
    training=Trainer(
        Params=Params,
        candidates=candidates,
        fit=fit,
        external_weights=external_weights,
        starters={"face-api": face_api.fit, "fer": fer.fit},
    ),
    inference=Predictor(
        detect_many=detect_many,
        sample_picture=lambda: draw_face_image("happy"),
        min_side=MIN_SIDE,
        subject_counter=subjects,
    ),
    intended_use="Research, and software in which people who know of it let the expression of "
    "their own face be named, such as a camera app or a game. It names how a face looks to others, "
    "not what a person feels.",
    forbidden_use="At work and in education, hiring, exams and proctoring included: the European "
    "Union has prohibited the inference of emotions there since 2 February 2025, but for medical "
    "or safety reasons (Regulation (EU) 2024/1689, Article 5(1)(f)). People who were not told of "
    "it (Article 50(3)). Decisions about people, such as insurance, policing or diagnoses.",
    notice="This page estimates the emotions of people from their faces. In the European Union, "
    "people must know it before they are recorded (Regulation (EU) 2024/1689, Article 50(3)), and "
    "it may not be used at work or in education (Article 5(1)(f)). What it names is how a face "
    "looks to others, not what a person feels.",
)
