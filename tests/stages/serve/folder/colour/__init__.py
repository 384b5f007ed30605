"""A second made-up task, which takes pictures only; it borrows all it can from `shape`."""

from dataclasses import replace

from mien.tasks import shape

TASK = replace(
    shape.TASK,
    name="colour",
    summary="Tell the colour of a thing",
    inference=replace(shape.TASK.inference, Body=None),
)
