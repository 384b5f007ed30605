"""Promises of `mien.reporting.registry_page`: MLflow reads what is written, for every task."""

from pathlib import Path

import pytest

from mien import tasks
from mien.reporting import registry_page


@pytest.mark.parametrize("name", tasks.names())
def test_the_signature_of_every_task_is_read_by_mlflow(name: str, tmp_path: Path) -> None:
    """The fields of a request, and of an answer with the task's own first."""
    from mlflow.models import Model

    task = tasks.load(name)
    registry_page.model_page(task).write(tmp_path, "0" * 32)
    model = Model.load(str(tmp_path))
    inputs = model.signature.inputs
    body = task.inference.Body
    assert inputs.input_names() == ["file", *(body.model_fields if body else ())]
    assert inputs.required_input_names() == ([] if body else ["file"])
    assert model.signature.outputs.input_names() == [name, "confidence", "outcome"]
    example = model.load_input_example(str(tmp_path))
    assert set(example) <= set(inputs.input_names())
    assert example


def test_a_description_ends_before_the_json() -> None:
    """MLflow would cut a long one in the middle."""
    card = "# task: svm\n\nIt answers.\n\nTraining:\n\n```json\n{}\n```\n"
    assert registry_page.description(card) == "# task: svm\n\nIt answers."
    assert registry_page.description("A card.") == "A card."
