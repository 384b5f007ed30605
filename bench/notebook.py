"""Runs the notebook and stores its outputs: `python3 tasks.py notebook`.

A kernel is not needed: the cells run one after the other in this process, and what a cell prints
and the value of its last line become its outputs.
"""

import ast
import io
import json
import sys
from base64 import b64encode
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "tour.ipynb"


def execute(book: dict[str, Any]) -> None:
    """Run the code cells of a notebook and put their outputs in it."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        printed = io.StringIO()
        with redirect_stdout(printed):
            value = _run("".join(cell["source"]), cell["id"], namespace)
        cell["execution_count"] = number
        cell["outputs"] = _stream(printed.getvalue()) + _result(value, number)


def _run(source: str, name: str, namespace: dict[str, Any]) -> Any:
    """Run a cell; returns the value of its last line where that is an expression."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), namespace)


def _stream(text: str) -> list[dict[str, Any]]:
    if not text:
        return []
    return [{"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)}]


def _result(value: Any, number: int) -> list[dict[str, Any]]:
    if value is None:
        return []
    data: dict[str, Any] = {"text/plain": _text(repr(value))}
    if hasattr(value, "_repr_png_"):
        data = {"image/png": b64encode(value._repr_png_()).decode(), "text/plain": "a picture"}
    elif hasattr(value, "_repr_html_"):
        data["text/html"] = _text(value._repr_html_())
    return [
        {"output_type": "execute_result", "execution_count": number, "data": data, "metadata": {}}
    ]


def _text(value: str) -> list[str]:
    return value.splitlines(keepends=True)


def main(path: Path) -> None:
    """Run a notebook and store its outputs in it."""
    document = json.loads(path.read_text(encoding="utf-8"))
    execute(document)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
    print(f"{path.name}: every cell ran, outputs stored")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOK)
