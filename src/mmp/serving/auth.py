"""Who may ask: API keys and JSON Web Tokens."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from mmp.errors import MissingExtraError, SettingsError
from mmp.lookup import install_line
from mmp.serving.answers import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmp.settings.serving import Auth

_SHORTEST: Final = 32
_CHALLENGE: Final = ((b"www-authenticate", b"Bearer"),)
_PUBLIC: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")


class Authoriser(Protocol):
    """Looks at the head of a request."""

    def __call__(self, headers: Mapping[bytes, bytes]) -> None:
        """Return where it may ask; raises `Refusal` 401 or 403 where it may not."""
        ...


def anyone(headers: Mapping[bytes, bytes]) -> None:
    """Let everybody ask."""


def authoriser(auth: Auth) -> Authoriser:
    """Return what the config says.

    Raises
    ------
    SettingsError
        Credentials that nobody could check, or that anybody could guess.
    """
    if not auth.enabled:
        return anyone
    return _Keys.of(auth) if auth.type == "api_key" else _Tokens.of(auth)


@dataclass(frozen=True)
class _Keys:
    """API keys, kept and compared as digests."""

    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, auth: Auth) -> _Keys:
        keys = [auth.secret_key.get_secret_value()] if auth.secret_key else []
        if auth.keys_file:
            lines = (line.strip() for line in _read(auth.keys_file).splitlines())
            keys += [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise SettingsError(
                "serving.auth wants API keys, and there is none.",
                hint="Set serving.auth.secret_key, or keys_file with one key a line.",
            )
        return cls(tuple(_digest(key.encode()) for key in keys))

    def __call__(self, headers: Mapping[bytes, bytes]) -> None:
        digest = _digest(headers.get(b"x-api-key") or _bearer(headers))
        matches = [hmac.compare_digest(digest, known) for known in self.digests]
        if not any(matches):
            raise _unauthorized("The API key is not known.")


@dataclass(frozen=True)
class _Tokens:
    """JSON Web Tokens: signed by one secret, or by the owner of a public key."""

    keys: tuple[Any, ...]
    algorithms: tuple[str, ...]
    audience: str | None
    issuer: str | None

    @classmethod
    def of(cls, auth: Auth) -> _Tokens:
        if bool(auth.secret_key) == bool(auth.keys_file):
            raise SettingsError(
                "serving.auth wants either a secret_key or a keys_file to check tokens with.",
                hint="Set secret_key for HS256, or keys_file with public keys (PEM or JWKS).",
            )
        if auth.keys_file:
            return cls(tuple(_public_keys(auth.keys_file)), _PUBLIC, auth.audience, auth.issuer)
        assert auth.secret_key is not None
        secret = auth.secret_key.get_secret_value()
        if len(secret.encode()) < _SHORTEST:
            raise SettingsError(
                f"serving.auth.secret_key is shorter than {_SHORTEST} bytes, and could be guessed.",
                hint="Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        return cls((secret,), ("HS256", "HS384", "HS512"), auth.audience, auth.issuer)

    def __call__(self, headers: Mapping[bytes, bytes]) -> None:
        jwt = _jwt()
        token, refused = _bearer(headers), _unauthorized("The token's signature is not valid.")
        for key in self.keys:
            try:
                jwt.decode(
                    token,
                    key,
                    algorithms=list(self.algorithms),
                    audience=self.audience,
                    issuer=self.issuer,
                    options={"require": ["exp"], "verify_aud": self.audience is not None},
                )
            except jwt.ExpiredSignatureError:
                raise _unauthorized("The token has expired.") from None
            except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
                raise Refusal(403, "forbidden", "The token is not for this server.") from None
            except jwt.MissingRequiredClaimError as error:
                raise _unauthorized(f"The token has no claim '{error.claim}'.") from None
            except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError, TypeError):
                continue
            else:
                return
        raise refused


def _bearer(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise _unauthorized("The request has no credentials.")
    return token.strip()


def _unauthorized(message: str) -> Refusal:
    hint = "Send the header Authorization: Bearer …"
    return Refusal(401, "unauthorized", message, hint=hint, headers=_CHALLENGE)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _public_keys(path: str) -> list[Any]:
    text, jwt = _read(path), _jwt()
    try:
        if text.lstrip().startswith("{"):
            return [key.key for key in jwt.PyJWKSet.from_dict(json.loads(text)).keys]
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        end = "-----END PUBLIC KEY-----"
        return [load_pem_public_key((part + end).encode()) for part in text.split(end) if part.strip()]
    except (ValueError, jwt.PyJWTError) as error:
        raise SettingsError(
            f"serving.auth.keys_file {path} holds no public keys: {error}.",
            hint="Write public keys as PEM, or a JWKS.",
        ) from error


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"serving.auth.keys_file {path} cannot be read: {error}.", hint="Check the path."
        ) from error


def _jwt() -> Any:
    try:
        import jwt
    except ModuleNotFoundError as error:
        raise MissingExtraError("JSON Web Tokens need PyJWT.", hint=install_line("jwt")) from error
    return jwt
