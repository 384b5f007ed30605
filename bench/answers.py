"""The README's picture: what the champions of the workspace answer for drawn faces and hands."""

import numpy as np
from PIL import Image

from bench import page
from mien import config, tasks
from mien.model import runtime
from mien.reporting import figures
from mien.storage.workspace import Workspace
from mien.task import Example, Prediction, Request
from mien.tasks.emotion.sample import draw_face_image
from mien.tasks.gesture.drawing import draw_hand_picture

FACES = ("anger", "disgust", "fear", "happy", "sad", "surprise")
HANDS = ("like", "palm", "peace", "ok", "rock", "fist")


def main() -> None:
    """Draw, ask and write reports/figures/answers.png."""
    shown = [_ask("emotion", label, draw_face_image(label, 5)) for label in FACES]
    shown += [_ask("gesture", label, draw_hand_picture(label, 1)) for label in HANDS]
    figures.samples(shown, [], page.ROOT / "reports" / "figures" / "answers.png")


def _ask(task: str, label: str, picture: Image.Image) -> tuple[Example, Prediction]:
    home = Workspace(config.settings().home)
    request = Request(image=np.asarray(picture.convert("RGB")))
    with runtime.load(home.version(task, home.aliases(task)["champion"])) as model:
        return Example(request, label), tasks.load(task).inference.predict(request, model)


if __name__ == "__main__":
    main()
