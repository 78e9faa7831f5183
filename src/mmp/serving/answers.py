"""What the server says: answers as bytes, and refusals of one shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmp.errors import MmpError

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
HTML: Final = b"text/html; charset=utf-8"
RETRY_AFTER_S: Final = 1

Headers = tuple[tuple[bytes, bytes], ...]
encode = msgspec.json.Encoder(decimal_format="number").encode


class Answer(NamedTuple):
    """One answer.

    Parameters
    ----------
    status : int
        Of HTTP.
    body : bytes
        As it goes out.
    media : bytes
        Its media type.
    headers : tuple of (bytes, bytes)
        Beside the usual ones, lower case.
    """

    status: int
    body: bytes
    media: bytes = JSON
    headers: Headers = ()

    @property
    def head(self) -> Headers:
        """Every header that it has."""
        length = (b"content-length", b"%d" % len(self.body))
        return (b"content-type", self.media), length, *self.headers


class Refusal(Exception):  # noqa: N818 - that is what it is
    """A request that is not answered as it was meant.

    Parameters
    ----------
    status : int
        Of HTTP.
    code : str
        Short and stable, for programs.
    message : str
        One sentence: what is wrong.
    hint : str
        One sentence: what to do.
    details : sequence of mapping
        Each single problem: ``path``, ``message`` and sometimes ``hint``.
    headers : tuple of (bytes, bytes)
        Beside the usual ones.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        details: Sequence[Mapping[str, str]] = (),
        headers: Headers = (),
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.details, self.headers = details, headers

    @classmethod
    def of(cls, error: MmpError) -> Refusal:
        """Return what an error of the library comes to over HTTP."""
        headers = retry_after() if error.http_status == 503 else ()
        return cls(error.http_status, error.code, error.message, hint=error.hint, headers=headers)

    @classmethod
    def busy(cls, message: str, *, code: str = "busy") -> Refusal:
        """Return what tells to come again in a moment."""
        return cls(503, code, message, hint="Ask again in a moment.", headers=retry_after())

    def answer(self, request_id: str) -> Answer:
        """Return the error as every route answers it."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": list(self.details),
        }
        return Answer(self.status, encode({"error": error, "request_id": request_id}), JSON, self.headers)


def retry_after() -> Headers:
    """Return the header that says when to ask again."""
    return ((b"retry-after", str(RETRY_AFTER_S).encode()),)


def not_found(path: str) -> Refusal:
    """Return the refusal of a path that is no route."""
    return Refusal(404, "not_found", "There is nothing at this path.", hint="GET /docs lists the routes.")


def not_allowed(allowed: str) -> Refusal:
    """Return the refusal of a method that a route does not have."""
    return Refusal(
        405,
        "method_not_allowed",
        f"This path answers {allowed}.",
        hint=f"Ask with {allowed}.",
        headers=((b"allow", allowed.encode()),),
    )
