"""The wiring of the service, in one place: models, threads, metrics, addresses, and uvicorn."""

import asyncio
import gc
import logging
import signal
import socket
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import mien
from mien.config import Settings
from mien.errors import BundleError, ConfigError, MienError
from mien.model import runtime
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve import errors, models, openapi, routes
from mien.stages.serve.access import Access
from mien.stages.serve.gauges import Gauges
from mien.stages.serve.loading import Served, Wanted
from mien.stages.serve.metrics import Metrics, Observe
from mien.stages.serve.models import Broken, Models
from mien.stages.serve.protocol import Bounded
from mien.stages.serve.routes import Service
from mien.stages.serve.watch import Watch
from mien.stages.serve.windows import Windows
from mien.stages.serve.workers import CLOSE_SECONDS, Workers
from mien.storage.workspace import Workspace

DRAIN_SECONDS = 30
"""How long requests that are being answered may go on after the process was told to stop."""
_BESIDE = 2
_log = logging.getLogger("mien.serve")


def create(
    workspace: Workspace,
    wanted: Sequence[Wanted | Broken],
    settings: Settings,
    loaded: Callable[[Models], None] = lambda _: None,
) -> FastAPI:
    """Make the app; its lifespan loads the models and watches for others. An app lives once.

    Args:
        workspace: where the prediction log lies, unless the settings name another place.
        wanted: what to serve, from `models.choose`.
        settings: where it runs.
        loaded: called, from the loading thread, when each model is ready or has failed.

    Raises:
        ConfigError: keys that cannot be used.
    """
    access, metrics = Access.of(settings), Metrics()
    served = Models(wanted, settings.max_batch_size)
    workers = Workers(settings.threads or runtime.available_cpus(), settings.queue)
    path = settings.prediction_log or workspace.prediction_log
    prediction_log = PredictionLog(path, settings.prediction_log_days, settings.prediction_log_mb)
    windows = Windows(prediction_log)
    metrics.registry.register(Gauges(served, workers, prediction_log, windows))
    service = Service(settings, access, served, workers, metrics, prediction_log, windows)
    app = FastAPI(
        title="mien",
        version=mien.__version__,
        description=mien.__doc__ or "",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(service, workspace, loaded),
    )
    errors.install(app)
    routes.install(app, service)
    app.add_middleware(errors.Catch)
    if origins := [each.strip() for each in settings.cors.split(",") if each.strip()]:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["X-Trace-Id", "Retry-After"],
        )
    app.add_middleware(Observe, metrics=metrics, leaving=lambda: served.leaving)
    # Made once, on first use: the schemas of bodies and problems are in no route's signature.
    made = cache(lambda: openapi.document(app, service.models.tasks))
    app.openapi = made  # type: ignore[method-assign]
    return app


def run(
    workspace: Workspace, tasks: Sequence[str], bundles: Sequence[Path], settings: Settings
) -> None:
    """Serve until SIGTERM or SIGINT; requests that are being answered are answered first.

    Raises:
        MienError: nothing to serve, or the address cannot be used. A model that cannot be
            loaded is no error here: the server stays up and its /health tells the reason.
    """
    runtime.tune_malloc()
    wanted = models.choose(workspace, tasks, bundles)
    # The lines of answers and requests are part of the service, whatever else is kept quiet; what
    # parsers think of the bytes of strangers is not.
    logging.getLogger("mien").setLevel(logging.INFO)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="PIL")
    with listen(settings) as listener:
        address = _address(settings.host, listener)
        app = create(workspace, wanted, settings, lambda loaded: _announce(loaded, address))
        _Server(app).run(sockets=[listener])


@contextmanager
def running(
    workspace: Workspace, tasks: Sequence[str], bundles: Sequence[Path], settings: Settings
) -> Iterator[str]:
    """Serve from a thread while the block runs; gives the address once every model is ready.

    Raises:
        MienError: as `run`, and BundleError when a model cannot be loaded.
    """
    wanted, faults, done = models.choose(workspace, tasks, bundles), [], threading.Event()

    def loaded(state: Models) -> None:
        faults.extend([state.reason] if state.reason else [])
        done.set()

    with listen(settings) as listener:
        server = _Server(create(workspace, wanted, settings, loaded))
        thread = threading.Thread(target=server.run, args=([listener],), name="mien-serve")
        thread.start()
        try:
            while not done.wait(0.1) and thread.is_alive():
                pass
            if not done.is_set():
                raise MienError("The server ended before it was ready; its log has the reason.")
            if faults:
                raise BundleError(faults[0])
            yield _address(settings.host, listener)
        finally:
            server.should_exit = True
            thread.join()


def _lifespan(service: Service, workspace: Workspace, loaded: Callable[[Models], None]) -> Any:
    served, windows, end = service.models, service.windows, threading.Event()

    def begin(model: Served) -> None:
        service.metrics.serve(model)
        windows.begin(model)

    def told(task: str, taken: bool) -> None:
        service.metrics.swap(task, taken)
        windows.keep({entry.served.digest for entry in served.entries if entry.served})

    def load() -> None:
        watch = Watch(served, workspace, service.settings.reload_interval_s, begin, told)
        served.load(service.workers.everywhere, begin, end.is_set)
        # What is loaded stays: the collector would go through all of it again and again, and each
        # time some answer would wait for it.
        gc.freeze()
        loaded(served)
        watch.run(end)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # For what waits for a disk; asyncio's own pool grows by chance to the cores and four.
        beside = ThreadPoolExecutor(_BESIDE, thread_name_prefix="mien-beside")
        asyncio.get_running_loop().set_default_executor(beside)
        loader = threading.Thread(target=load, name="mien-load", daemon=True)
        loader.start()
        try:
            yield
        finally:
            end.set()
            loader.join(
                CLOSE_SECONDS
            )  # a model that hangs in its warm-up must not keep the process
            service.workers.close()
            served.close()
            service.prediction_log.close()
            gc.unfreeze()  # or the app would stay for as long as the process does

    return lifespan


class _Server(uvicorn.Server):
    """uvicorn, but that SIGTERM is heeded in two steps and ends in exit status 0."""

    def __init__(self, app: FastAPI) -> None:
        service: Service = app.state.service
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, partial(Bounded, service.bounds())),
                loop="asyncio",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._service = service
        self._end: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called in a signal's handler; a second signal ends what the first one left time for."""
        grace = self._service.settings.grace_s if sig == signal.SIGTERM else 0.0
        if self._end is not None or grace == 0:
            self.should_exit = True
        self._end = time.monotonic() + grace
        self._service.models.leaving = True

    async def on_tick(self, counter: int) -> bool:
        if self._end is not None and time.monotonic() >= self._end:
            self.should_exit = True
        return await super().on_tick(counter)


def listen(settings: Settings) -> socket.socket:
    """Take the address of the settings.

    Raises:
        ConfigError: it cannot be used.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"HOST={settings.host} PORT={settings.port} cannot be used: {error.strerror or error}. "
            "Set another PORT; 0 takes any free one."
        ) from None
    # Connections inherit it. Without, an answer's body waits 40 ms for its header's receipt.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _address(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def _announce(loaded: Models, address: str) -> None:
    if loaded.ready:
        _log.info("mien serves %s on %s", ", ".join(loaded.ready), address)
    else:
        _log.error("mien serves nothing on %s: %s", address, loaded.reason)
