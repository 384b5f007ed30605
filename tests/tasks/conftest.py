"""Tests of a task live in a folder of its name and go with the task."""

from pathlib import Path

from mien import tasks

collect_ignore = [
    folder.name
    for folder in Path(__file__).parent.iterdir()
    if folder.is_dir() and folder.name != "__pycache__" and folder.name not in tasks.names()
]
