"""The routes: FastAPI for everything but the hot ones, which it lists."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mmp.errors import MmpError
from mmp.serving import answers, page, schemas, v2
from mmp.serving.answers import Refusal, encode
from mmp.serving.explain import explain
from mmp.serving.gate import Gate, check_media
from mmp.serving.parse import read_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mmp.serving.answers import Answer
    from mmp.serving.auth import Authoriser
    from mmp.serving.gate import Reply
    from mmp.serving.predict import Predictor
    from mmp.serving.service import Service
    from mmp.serving.telemetry import Telemetry
    from mmp.settings.serving import Serving

    Endpoint = Callable[[Request], Awaitable[Response]]

ROUTES: Final = (
    "/", "/health", "/ready", "/predict", "/predict/batch", "/explain", "/model/info", "/model/schema",
    "/metrics", "/docs", "/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready",
)  # fmt: skip
ADMIN: Final = frozenset({"/metrics", "/docs", "/openapi.json"})


def build(
    service: Service,
    predictor: Predictor,
    telemetry: Telemetry,
    settings: Serving,
    authorise: Authoriser,
) -> tuple[FastAPI, Gate]:
    """Make the application and the gate before it.

    Returns
    -------
    FastAPI
        Lists every route.
    Gate
        What uvicorn runs.
    """

    def predict(body: bytes, request_id: str, reply: Reply) -> None:
        predictor.one(service.served, body, request_id, reply)

    def predict_batch(body: bytes, request_id: str, reply: Reply) -> None:
        predictor.many(service.served, body, request_id, reply)

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(MmpError, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    hot = {"/predict": predict, "/predict/batch": predict_batch}
    gate = Gate(
        app,
        hot,
        authorise=authorise,
        telemetry=telemetry,
        max_inflight=settings.max_inflight,
        budget_s=settings.request_timeout_seconds,
        max_body_bytes=settings.max_body_bytes,
        admin_port=settings.admin_port,
        admin=ADMIN,
        public=page.PATHS,
    )
    # the gate answers these before the application sees them; listed, so that nobody misses them
    app.router.routes += [Route(path, endpoint=gate, methods=["POST"], name=path) for path in hot]
    page.add(app)
    _add_state(app, service)
    _add_model(app, service, predictor)
    _add_docs(app, service, settings)
    if settings.metrics_enabled:
        _add_metrics(app, telemetry)
    v2.add(app, service, predictor)
    return app, gate


def _add_state(app: FastAPI, service: Service) -> None:
    async def health(_request: Request) -> Response:
        return _json({"status": "ok"})

    async def ready(request: Request) -> Response:
        state = service.state
        if state.status != "ready":
            reasons = "; ".join(state.missing)
            message = f"The server is {state.status}: {reasons}."
            details = [{"path": "", "message": reason, "hint": ""} for reason in state.missing]
            refusal = Refusal(
                503,
                state.status,
                message,
                hint="Ask again in a moment.",
                details=details,
                headers=answers.retry_after(),
            )
            return _response(refusal.answer(request.scope["request_id"]))
        served = service.served
        return _json(
            {
                "status": "ready",
                "model_uri": served.uri,
                "model_name": served.name,
                "run_id": served.run_id,
            }
        )

    _get(app, "/health", health)
    _get(app, "/ready", ready)


def _add_model(app: FastAPI, service: Service, predictor: Predictor) -> None:
    async def info(_request: Request) -> Response:
        return _json(service.served.info())

    async def schema(_request: Request) -> Response:
        return _json(schemas.schemas(service.served))

    async def explained(request: Request) -> Response:
        check_media(dict(request.scope["headers"]))
        row = read_json(await request.body())
        answer = await explain(service.served, predictor, row)
        return _json({**answer, "model_uri": service.served.uri, "request_id": request.scope["request_id"]})

    _get(app, "/model/info", info)
    _get(app, "/model/schema", schema)
    app.add_api_route("/explain", explained, methods=["POST"])


def _add_docs(app: FastAPI, service: Service, settings: Serving) -> None:
    def document() -> dict[str, Any]:
        return schemas.openapi(service.served, with_auth=settings.auth.enabled)

    async def openapi(_request: Request) -> Response:
        return _json(document())

    async def docs(_request: Request) -> Response:
        return Response(docs_page(document()), media_type="text/html")

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own documents only what it parses
    if settings.docs_enabled:
        _get(app, "/openapi.json", openapi)
        _get(app, "/docs", docs)


def _add_metrics(app: FastAPI, telemetry: Telemetry) -> None:
    async def metrics(_request: Request) -> Response:
        return Response(telemetry.text(), media_type="text/plain; version=0.0.4")

    _get(app, "/metrics", metrics)


def _get(app: FastAPI, path: str, endpoint: Endpoint) -> None:
    app.add_api_route(path, endpoint, methods=["GET"])


def _json(value: object) -> Response:
    return Response(encode(value), media_type="application/json")


def _response(answer: Answer) -> Response:
    response = Response(answer.body, status_code=answer.status, media_type=answer.media.decode())
    for name, value in answer.headers:
        response.headers[name.decode()] = value.decode()
    return response


async def _refused(request: Request, error: Exception) -> Response:
    refusal = Refusal.of(error) if isinstance(error, MmpError) else error
    assert isinstance(refusal, Refusal)
    return _response(refusal.answer(request.scope["request_id"]))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        refusal = answers.not_allowed((error.headers or {}).get("Allow", "GET"))
    else:
        refusal = answers.not_found(request.url.path)
    return _response(refusal.answer(request.scope["request_id"]))


def docs_page(document: dict[str, Any]) -> str:
    """Return the OpenAPI document as a page that needs nothing from elsewhere."""
    escape = html.escape
    parts = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation['summary'])}</p>")
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                body = escape(json.dumps(content["example"], indent=1, ensure_ascii=False))
                parts.append(f"<p>Takes</p><pre>{body}</pre>")
            statuses = "".join(
                f"<tr><td>{status}</td><td>{escape(response['description'])}</td></tr>"
                for status, response in operation["responses"].items()
            )
            parts.append(f"<table>{statuses}</table>")
    row = escape(json.dumps(document["components"]["schemas"]["Row"], indent=1, ensure_ascii=False))
    info = document["info"]
    return _PAGE.format(
        title=escape(info["title"]), text=escape(info["description"]), routes="\n".join(parts), row=row
    )


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
pre{{background:#f4f4f5;padding:.75rem;overflow:auto}}td{{padding:.1rem .75rem .1rem 0;vertical-align:top}}
@media(prefers-color-scheme:dark){{body{{background:#18181b;color:#e4e4e7}}pre{{background:#27272a}}}}</style>
</head><body><h1>{title}</h1><p>{text} <a href="openapi.json">openapi.json</a></p>
{routes}
<h2>A row</h2><pre>{row}</pre></body></html>
"""
