"""The page of a served model: three files, open to everybody, that ask the other routes for what to show."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from fastapi import Request, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI

_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
PATHS: Final = frozenset(_FILES)
"""Routes that need no credentials: they hold nothing of the model."""
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def add(app: FastAPI) -> None:
    """Serve the page at `/`."""
    for path, (name, media) in _FILES.items():
        content = resources.files(__name__).joinpath(name).read_bytes()
        app.add_api_route(path, _endpoint(content, media), methods=["GET"])


def _endpoint(content: bytes, media: str) -> Callable[[Request], Awaitable[Response]]:
    async def page(_request: Request) -> Response:
        return Response(content, media_type=media, headers=_HEADERS)

    return page
