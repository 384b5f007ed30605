"""`mien pull`: a public pretrained model as a registered version, without a training."""

from mien.reporting import console

from .options import Force, Home, Task, app, workspace_at


@app.command(rich_help_panel="Registry")
def pull(task: Task, force: Force = None, home: Home = None) -> None:
    """Register a model without data of yours: a public pretrained one, or one of drawings."""
    with console.bar("start"):
        from mien import pipeline, tasks

    registration = pipeline.pull(tasks.load(task), workspace_at(home), force)
    console.result(f"mien-{task} {registration.summary}")
