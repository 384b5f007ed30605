"""The wiring of the service, in one place: models, threads, metrics, addresses, and uvicorn."""

import asyncio
import gc
import logging
import signal
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

import mien
from mien.config import Settings
from mien.errors import BundleError, MienError
from mien.model import cpus, runtime
from mien.observability.prediction_log.location import locate
from mien.observability.prediction_log.writer import PredictionLog
from mien.reporting import console
from mien.stages.serve import errors, headers, models, openapi, pages, protocol, routes, uploads
from mien.stages.serve.auth import ApiKeyAuth
from mien.stages.serve.canary import Canary
from mien.stages.serve.collector import StateCollector
from mien.stages.serve.cors import CorsMiddleware, parse_origins
from mien.stages.serve.dispatch import Application, call_endpoint
from mien.stages.serve.drift_window import DriftWindows
from mien.stages.serve.extension import Extension
from mien.stages.serve.extension import install as install_extension
from mien.stages.serve.inference import InferenceService
from mien.stages.serve.listener import listen, listener_address
from mien.stages.serve.loading import BundleSource, LoadedModel
from mien.stages.serve.metrics import LogFormatter, Metrics, RequestMetricsMiddleware
from mien.stages.serve.models import InvalidBundle, Models
from mien.stages.serve.protocol import ConnectionLimits, LimitedHttpProtocol
from mien.stages.serve.registry_follower import RegistryFollower
from mien.stages.serve.reloader import ModelReloader
from mien.stages.serve.review_sampler import ReviewSampler
from mien.stages.serve.routes import AppState
from mien.stages.serve.shadow import ShadowRunner
from mien.stages.serve.trace_id import new_trace_id
from mien.stages.serve.workers import CLOSE_TIMEOUT_S, WorkerPool
from mien.storage.workspace import Workspace

DRAIN_UPLOADS = 5
"""How much of a refused request is read and dropped, in uploads of the largest size."""
_DISK_THREADS = 2
_log = logging.getLogger("mien.serve")


def create(
    workspace: Workspace,
    sources: Sequence[BundleSource | InvalidBundle],
    settings: Settings,
    on_loaded: Callable[[Models], None] = lambda _: None,
    extension: Extension | None = None,
    follower: RegistryFollower | None = None,
) -> Application:
    """Make the app; its lifespan loads the models and polls for new ones. An app lives once.

    Args:
        workspace: has the prediction log, unless the settings name another path.
        sources: what to serve, from `models.resolve_sources`.
        settings: where it runs.
        on_loaded: called in the loading thread when each model is ready or has failed.
        extension: further addresses, of another stage.
        follower: brings the champions of a team's registry here.

    Raises:
        ConfigError, PredictionLogError: invalid API keys or origins; another prediction log.
    """
    auth = ApiKeyAuth.from_settings(settings)
    inference = _inference_service(workspace, sources, settings, follower)
    app = Application(
        title="mien",
        version=mien.__version__,
        description=mien.__doc__ or "",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(inference, workspace, on_loaded),
    )
    routes.install(app, AppState(inference, auth, _upload_memory(inference)))
    pages.install(app)
    if extension:
        install_extension(app, extension)
    app.layers = _layers(inference)
    app.openapi = _openapi_document(app, inference.models)  # type: ignore[method-assign]
    return app


def _upload_memory(inference: InferenceService) -> uploads.UploadMemory:
    return uploads.UploadMemory(max(uploads.MAX_BYTES_IN_MEMORY, inference.max_upload_bytes))


def _openapi_document(app: FastAPI, served: Models) -> Callable[[], dict[str, Any]]:
    """Makes the document on first use, and again when a reloaded model has other labels or was
    trained on other data."""
    documents = cache(
        lambda labels, origins: openapi.document(app, served.tasks, dict(labels), dict(origins))
    )
    return lambda: documents(tuple(served.labels.items()), tuple(served.origins.items()))


def _layers(inference: InferenceService) -> ASGIApp:
    layers: ASGIApp = errors.ErrorMiddleware(call_endpoint)
    if origins := parse_origins(inference.settings.cors_origins):
        layers = CorsMiddleware(layers, origins)
    return RequestMetricsMiddleware(layers, inference.metrics, lambda: inference.models.draining)


def _inference_service(
    workspace: Workspace,
    sources: Sequence[BundleSource | InvalidBundle],
    settings: Settings,
    follower: RegistryFollower | None,
) -> InferenceService:
    log = PredictionLog(
        locate(settings, workspace),
        settings.prediction_log_days,
        settings.prediction_log_mb,
    )
    served, windows, metrics = (
        Models(sources, settings.max_batch_size),
        DriftWindows(log),
        Metrics(),
    )
    workers = WorkerPool(settings.threads or cpus.available_cpus(), settings.max_in_flight)
    inference = InferenceService(
        settings=settings,
        models=served,
        workers=workers,
        metrics=metrics,
        prediction_log=log,
        drift_windows=windows,
        canary=Canary.from_settings(settings, workspace, served, log),
        shadow=ShadowRunner(served, workspace, log, metrics, workers, settings.deadline_s),
        review=ReviewSampler.from_settings(workspace, served.tasks, settings, windows.status),
        follower=follower,
    )
    other_models = inference.shadow, inference.canary
    collector = StateCollector(
        served, workers, log, windows, *other_models, inference.review, follower
    )
    inference.metrics.registry.register(collector)
    return inference


def run(
    workspace: Workspace, tasks: Sequence[str], bundles: Sequence[Path], settings: Settings
) -> None:
    """Serve until SIGTERM or SIGINT; running requests are answered first.

    Raises:
        MienError: nothing to serve, or the address cannot be used. A model that cannot be loaded
            raises nothing: the server stays up and its /health has the reason.
    """
    follower = RegistryFollower.started(workspace, tasks, settings)
    sources = models.resolve_sources(workspace, tasks, bundles)
    _run(workspace, sources, settings, models.log_loaded, follower=follower)


def run_extended(
    workspace: Workspace,
    extension: Extension,
    settings: Settings,
    on_ready: Callable[[str], None],
) -> None:
    """Serve what an extension brings, and its addresses, as `run` does; `on_ready` is called with
    the server's address, whether or not a model is there yet.

    Raises:
        MienError: the address cannot be used.
    """
    _run(workspace, extension.sources, settings, lambda _, address: on_ready(address), extension)


def _run(
    workspace: Workspace,
    sources: Sequence[BundleSource | InvalidBundle],
    settings: Settings,
    log_loaded: Callable[[Models, str], None],
    extension: Extension | None = None,
    follower: RegistryFollower | None = None,
) -> None:
    runtime.tune_malloc()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(LogFormatter())
    # Requests are always logged, whatever the level of other loggers, but not the pictures that a
    # page of an extension sends; what Pillow says about invalid input is not. No line has the
    # thread or the process.
    logging.getLogger("mien").setLevel(logging.WARNING if extension else logging.INFO)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    warnings.filterwarnings("ignore", module="PIL")
    with listen(settings) as listener, ExitStack() as loading:
        address = listener_address(settings.host, listener)

        def on_loaded(loaded: Models) -> None:
            loading.close()
            log_loaded(loaded, address)

        loading.enter_context(console.bar("load the models"))
        app = create(workspace, sources, settings, on_loaded, extension, follower)
        _Server(app).run(sockets=[listener])


@contextmanager
def running(
    workspace: Workspace, tasks: Sequence[str], bundles: Sequence[Path], settings: Settings
) -> Iterator[str]:
    """Serve from a thread during the block; yields the address once every model is ready.

    Raises:
        MienError: as `run`, and BundleError when a model cannot be loaded.
    """
    sources = models.resolve_sources(workspace, tasks, bundles)
    reasons, loaded = list[str](), threading.Event()

    def on_loaded(state: Models) -> None:
        reasons.extend([state.reason] if state.reason else [])
        loaded.set()

    with listen(settings) as listener:
        server = _Server(create(workspace, sources, settings, on_loaded))
        thread = threading.Thread(target=server.run, args=([listener],), name="mien-serve")
        thread.start()
        try:
            with console.bar("load the models"):
                while not loaded.wait(0.1) and thread.is_alive():
                    pass
            if not loaded.is_set():
                raise MienError("The server ended before it was ready; its log has the reason.")
            if reasons:
                raise BundleError(reasons[0])
            yield listener_address(settings.host, listener)
        finally:
            server.should_exit = True
            thread.join()


def _lifespan(
    inference: InferenceService, workspace: Workspace, on_loaded: Callable[[Models], None]
) -> Any:
    served, windows, stop = inference.models, inference.drift_windows, threading.Event()
    following = [inference.follower.thread(stop)] if inference.follower else []

    def on_ready(model: LoadedModel) -> None:
        inference.metrics.initialise_series(model)
        windows.start(model)

    def on_reload(task: str, loaded: bool) -> None:
        inference.metrics.count_reload(task, loaded)
        windows.retain(inference.digests)

    def load() -> None:
        follow, interval_s = inference.shadow.follow, inference.settings.reload_interval_s
        reloader = ModelReloader(served, workspace, interval_s, on_ready, on_reload, follow)
        served.load(inference.workers.run_on_all_threads, on_ready, stop.is_set)
        inference.load_others(on_ready)
        gc.freeze()  # the models stay: collections that visit their objects would delay requests
        on_loaded(served)
        reloader.run(stop)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(_disk_threads())
        loader = threading.Thread(target=load, name="mien-load", daemon=True)
        for thread in (loader, *following):
            thread.start()
        try:
            yield
        finally:
            stop.set()
            loader.join(CLOSE_TIMEOUT_S)  # with a limit: its model may hang in the warm-up
            inference.workers.close()
            served.close()
            inference.close_logs()
            gc.unfreeze()  # or the app would stay in memory as long as the process

    return lifespan


def _disk_threads() -> ThreadPoolExecutor:
    """For calls that wait for a disk; the size of asyncio's own pool depends on the machine."""
    return ThreadPoolExecutor(_DISK_THREADS, thread_name_prefix="mien-disk")


class _Server(uvicorn.Server):
    """uvicorn, but SIGTERM is handled in two steps and ends in exit status 0, as does SIGHUP."""

    def __init__(self, app: Application) -> None:
        state: AppState = app.state.service
        self._inference = state.inference
        settings = self._inference.settings
        limits = ConnectionLimits(
            protocol.max_connections(settings.max_connections),
            settings.header_timeout_s,
            settings.body_timeout_s,
            DRAIN_UPLOADS * self._inference.max_upload_bytes,
            self._refuse,
        )
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, partial(LimitedHttpProtocol, limits)),
                loop="asyncio",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                ws="none",
                timeout_keep_alive=settings.keep_alive_s,
                timeout_graceful_shutdown=settings.drain_s,
            )
        )
        self._exit_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called in a signal's handler; a second signal ends the grace period of the first.

        The grace period is for load balancers: none sends requests before a model is ready.
        """
        skips_grace = sig == signal.SIGINT or not self._inference.models.ready
        grace_s = 0.0 if skips_grace else self._inference.settings.grace_s
        if self._exit_at is not None or grace_s == 0:
            self.should_exit = True
        self._exit_at = time.monotonic() + grace_s
        self._inference.models.draining = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGHUP too, which the end of a terminal sends, unless `nohup` ignores it."""
        with super().capture_signals():
            hangup = getattr(signal, "SIGHUP", None)  # Windows has none
            in_main_thread = threading.current_thread() is threading.main_thread()
            if hangup and in_main_thread and signal.getsignal(hangup) == signal.SIG_DFL:
                signal.signal(hangup, self.handle_exit)
            yield

    async def on_tick(self, counter: int) -> bool:
        if self._exit_at is not None and time.monotonic() >= self._exit_at:
            self.should_exit = True
        return await super().on_tick(counter)

    def _refuse(self, error: BaseException) -> bytes:
        """Count a refusal below HTTP, and return its response."""
        trace_id = new_trace_id()
        self._inference.metrics.count_rejection(errors.problem_type_of(error).slug)
        return errors.raw_response(error, trace_id, headers.response_headers(trace_id))
