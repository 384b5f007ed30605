"""Tests with drawn hands or faces are collected only while the task that draws them exists."""

from mien import tasks

DRAWN_BY = {
    "test_face_detector.py": "emotion",
    "test_hand_landmarker.py": "gesture",
    "test_hand_tracker.py": "gesture",
}
collect_ignore = [file for file, task in DRAWN_BY.items() if task not in tasks.names()]
