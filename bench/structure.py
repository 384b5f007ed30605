"""Figures of the code's language and structure: names, sizes, documents read by string keys.

`python3 tasks.py bench structure` prints them; tests/test_structure.py holds them to limits.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "mien"

_FILLER = """found told said asked held seen kept known place places wanted words word shown made
taken given done why what whole one named alike beside borne lent judged here there then others
moved mended"""
FILLER = frozenset(re.findall(r"\w+", _FILLER))
"""Words that say nothing of a value. A name that is only such a word counts, with or without
underscores around it."""
SEARCH_TERMS = (
    "batch_size",
    "ema",
    "warmup",
    "augmentation",
    "near_duplicate",
    "leakage",
    "roi",
    "iou",
    "nms",
    "early_stopping",
    "label_smoothing",
)
"""What a practitioner searches for; each must be part of an identifier."""
_DOCUMENT_KEYS = """val test test_leak_free candidates choice fault latency cpu_cost bundle_mb
    macro_f1 accuracy map50 map50_95 leaderboard bake_off examples miss_rate nothing_found
    calibration_error variant
    cpu_ratio slower form of without policy code commit dirty data_fingerprint data_sha256
    config_sha256 config seed training platform versions lock_sha256 weights
    family image_size input_size colour letterbox_pad landmarker convention
    normalization threshold"""
DOCUMENT_KEYS = frozenset(re.findall(r"\w+", _DOCUMENT_KEYS))
"""Keys of evaluation, lineage and preprocessing documents."""
_DOCUMENTS = re.compile(
    r"(row|rows\[.*\]|document|evaluation|metrics|lineage|facts|preprocessing|table|variant|best"
    r"|champion|candidate|record|result|origin|of|measured|scored)$"
)
"""How expressions end whose string-key reads are counted."""


@dataclass(frozen=True)
class Figures:
    """What is printed and held to limits."""

    filler_share: float
    repeated_classes: tuple[str, ...]
    root_entries: int
    document_reads: tuple[str, ...]
    lines: int
    longest_file: tuple[int, str]
    longest_function: tuple[int, str]
    missing_terms: tuple[str, ...]


def measure(source: Path = SOURCE) -> Figures:
    """Compute every figure of a package folder."""
    names = Counter(name for _, nodes in _nodes(source) for name in bindings(nodes))
    filler = sum(count for name, count in names.items() if name.strip("_").lower() in FILLER)
    sizes = [
        (len(path.read_text(encoding="utf-8").splitlines()), _name(path, source))
        for path in _paths(source)
    ]
    functions = [function for path, nodes in _nodes(source) for function in _functions(path, nodes)]
    parts = {part for name in names for part in _all_parts(name)}
    return Figures(
        filler_share=filler / max(sum(names.values()), 1),
        repeated_classes=tuple(_repeated_classes(source)),
        root_entries=len([path for path in source.iterdir() if path.name != "__pycache__"]),
        document_reads=tuple(_document_reads(source)),
        lines=sum(size for size, _ in sizes),
        longest_file=max(sizes),
        longest_function=max(functions),
        missing_terms=tuple(term for term in SEARCH_TERMS if term not in parts),
    )


def bindings(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Every name that nodes bind: definitions, arguments, assigned names and attributes."""
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr
            case ast.alias(asname=str() as name) | ast.ExceptHandler(name=str() as name):
                yield name


def filler_names(source: Path = SOURCE) -> list[str]:
    """`file: name` of every filler identifier, to find what is left."""
    return [
        f"{_name(path, source)}: {name}"
        for path, nodes in _nodes(source)
        for name in bindings(nodes)
        if name.strip("_").lower() in FILLER
    ]


@cache
def _nodes(source: Path) -> tuple[tuple[Path, tuple[ast.AST, ...]], ...]:
    """Every file with its nodes, outer before inner ones."""
    trees = ((path, ast.parse(path.read_text(encoding="utf-8"))) for path in _paths(source))
    return tuple((path, tuple(ast.walk(tree))) for path, tree in trees)


def _paths(source: Path) -> list[Path]:
    return sorted(source.rglob("*.py"))


def _name(path: Path, source: Path) -> str:
    return path.relative_to(source).as_posix()


def _repeated_classes(source: Path) -> Iterator[str]:
    files = defaultdict(set)
    for path, nodes in _nodes(source):
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                files[node.name].add(_name(path, source))
    for name, where in sorted(files.items()):
        if len(where) > 1:
            yield f"{name}: {', '.join(sorted(where))}"


def _document_reads(source: Path) -> Iterator[str]:
    for path, nodes in _nodes(source):
        inner: set[int] = set()  # reads that a longer chain of keys has counted
        for node in nodes:
            match node:
                case ast.Subscript(
                    value=value, slice=ast.Constant(value=str() as key), ctx=ast.Load()
                ):
                    pass
                case ast.Call(
                    func=ast.Attribute(value=value, attr="get"),
                    args=[ast.Constant(value=str() as key), *_],
                ):
                    pass
                case _:
                    continue
            inner.add(id(value))
            if (
                id(node) not in inner
                and key in DOCUMENT_KEYS
                and _DOCUMENTS.search(ast.unparse(_root(value)))
            ):
                yield f"{_name(path, source)}:{node.lineno}: {ast.unparse(node)}"


def _root(value: ast.expr) -> ast.expr:
    """The expression that a chain of string keys reads from."""
    while isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Constant):
        value = value.value
    return value


def _functions(path: Path, nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{path.name}: {node.name}"


def _all_parts(name: str) -> Iterator[str]:
    """Every run of words of an identifier, in lower case: `EarlyStopping` gives early_stopping."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_").split("_")
    for start in range(len(snake)):
        for end in range(start + 1, len(snake) + 1):
            yield "_".join(snake[start:end])


def main() -> None:
    """Print every figure, and what is behind those that count single places."""
    figures = measure()
    print(f"filler identifiers       {figures.filler_share:.2%} of bindings")
    print(f"class names in two files {len(figures.repeated_classes)}")
    for line in figures.repeated_classes:
        print(f"    {line}")
    print(f"entries in src/mien      {figures.root_entries}")
    print(f"string-key reads         {len(figures.document_reads)}")
    for line in figures.document_reads:
        print(f"    {line}")
    print(f"lines of src             {figures.lines:,}")
    print(f"longest file             {figures.longest_file[0]} lines, {figures.longest_file[1]}")
    longest = figures.longest_function
    print(f"longest function         {longest[0]} lines, {longest[1]}")
    print(f"terms not in any name    {', '.join(figures.missing_terms) or 'none'}")


if __name__ == "__main__":
    main()
