"""What serves: sockets, uvicorn around the application, and an end without losses."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from mmp.errors import SettingsError
from mmp.modeling import threads
from mmp.serving import auth, crew, keeping
from mmp.serving.app import ROUTES, build
from mmp.serving.log import complain
from mmp.serving.predict import Predictor
from mmp.serving.protocol import Limits, bound, watch
from mmp.serving.service import Service
from mmp.serving.shadow import Shadow
from mmp.serving.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mmp.serving.gate import Gate
    from mmp.serving.served import Served
    from mmp.settings.serving import Serving

    Load = Callable[[Telemetry], Served]

_DRAIN_S: Final = 1.0
"""How long new connections are still taken after SIGTERM: who sends them learns of the end from `/ready`."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_BACKLOG: Final = 2048


@dataclass(frozen=True)
class Model:
    """What a worker needs to come by its model.

    Parameters
    ----------
    load : callable
        Loads and verifies it; what reads its features counts in the given telemetry.
    newer : callable, optional
        Returns the successor of the model that is served, if there is one; None where nothing is followed.
    shadow : callable, optional
        Loads the model that answers along.
    """

    load: Load
    newer: Callable[[Served, Telemetry], Served | None] | None = None
    shadow: Load | None = None


def run(settings: Serving, model: Model) -> int:
    """Serve until a signal ends it.

    Parameters
    ----------
    settings : Serving
        The config's section.
    model : Model
        What to serve.

    Returns
    -------
    int
        The exit code: 0 after SIGTERM and Ctrl-C.

    Raises
    ------
    MmpError
        The port is taken, or the model cannot be loaded.
    """
    sockets = [_bind(settings.host, port) for port in _ports(settings)]
    telemetry = Telemetry(ROUTES, n_workers=settings.workers)
    admin_port = sockets[-1].getsockname()[1] if settings.admin_port is not None else None
    settings = settings.model_copy(update={"admin_port": admin_port})
    for what, listener in zip(("serving on", "admin on"), sockets, strict=False):
        complain(f"{what} {_url(listener, settings)}")
    if settings.workers == 1:
        return _work(settings, model, telemetry, sockets)
    return crew.keep(settings.workers, lambda place: _work(settings, model, telemetry.worker(place), sockets))


def _work(settings: Serving, model: Model, telemetry: Telemetry, sockets: list[socket.socket]) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_Worker(settings, model, telemetry).serve(sockets))


class _Worker:
    """One process that serves."""

    def __init__(self, settings: Serving, model: Model, telemetry: Telemetry) -> None:
        self.settings, self.model, self.telemetry = settings, model, telemetry
        self.service = Service()
        self.loaded = asyncio.Event()
        n_threads = max(1, threads.cores() // settings.workers)
        os.environ["OMP_NUM_THREADS"] = (
            "1"  # rows run beside each other; a library's threads would only fight
        )
        self.predictor = Predictor(
            telemetry,
            n_threads=n_threads,
            max_rows=settings.batching.max_rows,
            max_wait_s=settings.batching.max_wait_ms / 1000,
            budget_s=settings.request_timeout_seconds,
        )
        authorise = auth.authoriser(settings.auth)
        self.app, self.gate = build(self.service, self.predictor, telemetry, settings, authorise)

    async def serve(self, sockets: list[socket.socket]) -> int:
        """Serve from when the port is open to when the last answer is out."""
        loop = asyncio.get_running_loop()
        self.gate.log.start()
        server = _Server(_config(self.settings, self.gate))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain, server)
        loading = loop.create_task(self._load(server))
        if self.settings.workers > 1:  # others answer meanwhile; what this one took would have to wait
            await self.loaded.wait()
        watch(loop, server.server_state.connections)
        await server.serve(sockets)
        self.service.end("stopped")
        self.predictor.close()
        self.gate.log.close()
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        return 0

    async def _load(self, server: uvicorn.Server) -> None:
        try:
            served = await asyncio.to_thread(self._loaded)
        except BaseException:
            self.service.end("failed")
            server.should_exit = True
            raise
        finally:
            self.loaded.set()
        self.service.serve(served)
        gc.collect()
        gc.freeze()  # the model and the libraries are no garbage
        await keeping.keep(self.service, self.telemetry, self.gate.log, self.model.newer)

    def _loaded(self) -> Served:
        served = self.model.load(self.telemetry)
        served.warm()
        if served.lookup is not None:
            self.service.stores_missing(served.lookup.missing())
        if self.model.shadow is not None:
            self.predictor.shadow = Shadow(self.model.shadow(self.telemetry), self.telemetry, self.gate.log)
        return served

    def _drain(self, server: uvicorn.Server) -> None:
        """Say so on `/ready`, end connections with their next answer, and soon take no new ones."""
        if self.gate.is_draining:
            server.force_exit = True
        self.service.end("draining")
        self.gate.is_draining = True
        loop = asyncio.get_running_loop()
        loop.call_later(_DRAIN_S, setattr, server, "should_exit", True)  # noqa: FBT003


class _Server(uvicorn.Server):
    """uvicorn's server; signals are ours."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again in the end, and so not exit with 0."""
        yield


def _config(settings: Serving, gated: Gate) -> uvicorn.Config:
    limits = Limits(
        body_bytes=settings.max_body_bytes,
        head_s=min(10.0, settings.request_timeout_seconds),
        body_s=settings.request_timeout_seconds,
        work_s=settings.request_timeout_seconds + 5.0,
    )
    return uvicorn.Config(
        _with_cors(gated, settings),
        http=bound(limits, gated.refused, gated.take, () if settings.cors.enabled else gated.hot_paths),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=int(limits.idle_s),
        timeout_graceful_shutdown=int(settings.request_timeout_seconds) + 1,
        ssl_certfile=settings.tls.cert if settings.tls else None,
        ssl_keyfile=settings.tls.key if settings.tls else None,
    )


def _with_cors(gated: Gate, settings: Serving) -> Any:
    cors = settings.cors
    if not cors.enabled:
        return gated
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        gated,
        allow_origins=cors.allow_origins,
        allow_methods=cors.allow_methods,
        allow_headers=cors.allow_headers,
        allow_credentials=cors.allow_credentials,
    )


def check(settings: Serving, *, insecure: bool) -> None:
    """Refuse settings that would not serve, or would serve everybody.

    Raises
    ------
    SettingsError
        Naming the key.
    """
    if "enabled" in settings.model_fields_set and not settings.enabled:
        raise SettingsError("serving.enabled is false.", hint="Set it to true, or leave it out.")
    auth.authoriser(settings.auth)
    _check_tls(settings)
    if settings.host not in _LOOPBACK and not settings.auth.enabled and not insecure:
        raise SettingsError(
            f"{settings.host} can be reached from other machines, and nobody is asked for credentials.",
            hint="Set serving.auth, bind 127.0.0.1, or say --insecure where something else keeps others out.",
        )
    if settings.cors.enabled and settings.cors.allow_credentials and "*" in settings.cors.allow_origins:
        raise SettingsError(
            "serving.cors allows credentials from every origin.",
            hint="Name the origins in serving.cors.allow_origins.",
        )
    if settings.admin_port is not None and settings.admin_port == settings.port != 0:
        raise SettingsError(
            f"serving.admin_port and serving.port are both {settings.port}.", hint="Choose another port."
        )
    if settings.workers > 1 and not hasattr(os, "fork"):
        raise SettingsError(
            "This system cannot fork, and so serves with one worker.", hint="Set serving.workers to 1."
        )


def _url(listener: socket.socket, settings: Serving) -> str:
    host, port = listener.getsockname()[:2]
    return f"{'https' if settings.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _check_tls(settings: Serving) -> None:
    if settings.tls is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.tls.cert, settings.tls.key
        )
    except OSError as error:  # those of the files, and those of what is in them
        raise SettingsError(
            f"serving.tls: {settings.tls.cert} and {settings.tls.key} cannot be used: {error}.",
            hint="Name a certificate and its key, both in PEM.",
        ) from error


def _ports(settings: Serving) -> list[int]:
    return [settings.port, *([] if settings.admin_port is None else [settings.admin_port])]


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"{host}:{port} cannot be bound: {error.strerror or error}.",
            hint="Stop what has the port, or choose another with --port.",
        ) from error
    listener.setblocking(False)  # noqa: FBT003
    return listener


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # Windows
        return None
    return uvloop.new_event_loop
