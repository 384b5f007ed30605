"""The OpenAPI document against the running server: Schemathesis asks what the document allows,
and what it does not, and holds the answers against what it promises.

Examples are few and the same each time; nothing but the server of the test is asked.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image

from .corpus_server import Server, running

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads Linux's /proc"
)
EXAMPLES = 20
"""Requests for each address and way of making them up."""


def drawn(colour: tuple[int, int, int], kind: str) -> bytes:
    """A small picture of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 12), colour).save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="module", autouse=True)
def _pictures() -> None:
    """Without it, bytes by chance would be sent as pictures: right by the document, and refused."""
    import schemathesis

    colours = st.tuples(*[st.integers(0, 255)] * 3)
    pictures = st.builds(drawn, colours, st.sampled_from(["PNG", "WEBP"]))
    schemathesis.openapi.format("binary", pictures)


@pytest.fixture(scope="module")
def server(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service of both tasks."""
    with running(served_home, tmp_path_factory.mktemp("schema")) as started:
        yield started


@pytest.mark.long
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_the_server_keeps_what_its_document_promises(server: Server, mode: str) -> None:
    """Statuses, content types, headers and bodies are those of the document, whether what is sent
    follows it or not; what follows it is taken, what does not is refused."""
    import schemathesis
    from schemathesis.core.failures import FailureGroup

    faults = []
    with requests.Session() as session:
        document = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
        asked = [found.ok() for found in document.get_all_operations()]
        for operation in asked:
            try:
                _ask(operation, schemathesis.GenerationMode(mode), session)
            except Unsatisfiable:
                pass  # nothing can be sent to it that its document does not allow
            except FailureGroup as error:
                faults.append(f"{operation.label}: {_words(error)}")
    assert len(asked) >= 10
    assert "Traceback" not in server.log.read_text()
    assert not faults, "\n\n".join(faults)


def _ask(operation: Any, mode: Any, session: requests.Session) -> None:
    """Send an address some requests by chance and check the answers."""
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    # 21 points in one place are no hand, which no schema of numbers can express.
    excluded = [positive_data_acceptance] if operation.path == "/predict/gesture" else []

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
        derandomize=True,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(session=session, excluded_checks=excluded)

    ask()


def _words(error: BaseException) -> str:
    within = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return "\n".join([str(error), *(_words(each) for each in within)])
