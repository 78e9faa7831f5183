"""The HTTP server's part of a config."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr

from mmp.settings.base import Count, Float, Port, Seconds, Section, Text, section


class Auth(Section):
    """Who may ask."""

    enabled: bool = False
    """Whether requests need credentials."""

    type: Literal["jwt", "api_key"] = "jwt"
    """Kind of credentials."""

    secret_key: SecretStr | None = None
    """Secret that signs tokens, or the API key."""

    audience: str | None = None
    """Audience a token must name."""

    issuer: str | None = None
    """Issuer a token must name."""

    keys_file: str | None = None
    """File of public keys or API keys."""


class Cors(Section):
    """Which web pages may ask."""

    enabled: bool = False
    """Whether browsers may ask from other origins."""

    allow_origins: tuple[str, ...] = ("*",)
    """Origins allowed."""

    allow_methods: tuple[str, ...] = ("*",)
    """Methods allowed."""

    allow_headers: tuple[str, ...] = ("*",)
    """Headers allowed."""

    allow_credentials: bool = False
    """Whether cookies are taken."""


class Batching(Section):
    """Requests that arrive together are predicted together."""

    max_rows: Count = 64
    """Rows at most."""

    max_wait_ms: Float = 0.0
    """How long a request waits for others."""


class Tls(Section):
    """HTTPS."""

    cert: Text
    """Certificate file."""

    key: Text
    """Key file."""


class Serving(Section):
    """The HTTP server."""

    enabled: bool = False
    """`false` written here blocks `mmp serve-api`; left out it does not."""

    host: Text = "127.0.0.1"
    """Address to bind."""

    port: Port = 8000
    """Port to bind."""

    workers: Count = 1
    """Processes."""

    model_stage: str | None = None
    """Kept for old configs: stages became aliases."""

    request_timeout_seconds: Seconds = 30.0
    """Time budget of a request."""

    metrics_enabled: bool = True
    """Whether `/metrics` answers."""

    docs_enabled: bool = True
    """Whether `/docs` and `/openapi.json` answer."""

    auth: Auth = section()
    """Who may ask."""

    cors: Cors = section()
    """Which web pages may ask."""

    batching: Batching = section()
    """Requests that arrive together are predicted together."""

    max_body_bytes: Count = 1024 * 1024
    """Largest body."""

    max_inflight: Count = 256
    """Requests at a time; more get 503."""

    model_alias: str | None = None
    """Registry alias to serve and to follow."""

    shadow: str | None = None
    """Run id or alias of a model that answers along, unseen."""

    extra: Literal["forbid", "ignore"] = "forbid"
    """What an unknown key in a request does."""

    tls: Tls | None = None
    """HTTPS."""

    admin_port: Port | None = None
    """Port of its own for health and metrics."""

    features_timeout_ms: Seconds = 50.0
    """Time budget of a feature read."""
