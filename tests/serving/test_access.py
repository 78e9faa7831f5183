"""Who may ask what: keys, tokens, and routes that are moved away or closed."""

from __future__ import annotations

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.http_server import serving

from mmp.serving import auth
from mmp.serving.app import build
from mmp.serving.gate import OPEN
from mmp.serving.predict import Predictor
from mmp.serving.service import Service
from mmp.serving.telemetry import Telemetry
from mmp.settings.config import Config

SECRET = "canary-" + "s" * 40
OTHER = "another-" + "s" * 40


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def token(secret=SECRET, algorithm="HS256", **claims):
    return jwt.encode({"exp": time.time() + 60, **claims}, secret, algorithm=algorithm)


@pytest.fixture(scope="module")
def keyed(project, run_ids, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(f"# of the shop\n{OTHER}\n\n")
    config = f"serving: {{auth: {{enabled: true, type: api_key, secret_key: {SECRET}, keys_file: {keys}}}}}\n"
    with serving(project, "--run-id", run_ids["walked"], config=config) as running:
        yield running


@pytest.fixture(scope="module")
def tokened(project, run_ids):
    config = f"serving: {{auth: {{enabled: true, secret_key: {SECRET}, audience: shop, issuer: idp}}}}\n"
    with serving(project, "--run-id", run_ids["walked"], config=config) as running:
        yield running


def test_every_route_of_the_application_wants_credentials(keyed):
    settings = Config().serving
    predictor = Predictor(Telemetry(()), n_threads=1, max_rows=1)
    app, gate = build(Service(), predictor, Telemetry(()), settings, auth.anyone)
    paths = {(route.path.replace("{name}", "people"), *route.methods) for route in app.routes}
    assert {path for path, *_ in paths} >= {
        "/predict",
        "/predict/batch",
        "/explain",
        "/model/info",
        "/metrics",
        "/docs",
    }
    for path, *methods in paths:
        for method in methods:
            status = keyed.ask(method, path).status
            if path in OPEN or path in gate._public:
                assert status == (405 if method == "HEAD" else 200), path
            else:
                assert status == 401, path
    for path in ("/nothing", "/predict/", "/v2/anything"):
        assert keyed.get(path).status == 401


def test_a_key_opens(keyed):
    example = keyed.get("/model/schema", headers=bearer(SECRET)).json["example"]
    for headers in (
        bearer(SECRET),
        bearer(OTHER),
        {"X-API-Key": SECRET},
        {"Authorization": f"bearer {OTHER}"},
    ):
        assert keyed.post("/predict", example, headers).status == 200
    for headers in (
        bearer("wrong"), bearer(SECRET + "x"), bearer(""), {"X-API-Key": ""}, {"X-API-Key": "# of the shop"},
        {"Authorization": f"Basic {SECRET}"}, {"Authorization": SECRET}, {},
    ):  # fmt: skip
        reply = keyed.post("/predict", example, headers)
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == "Bearer"
        assert reply.error["code"] == "unauthorized"


def test_no_secret_is_said_anywhere(keyed):
    keyed.post("/predict", {}, bearer(SECRET))
    keyed.get("/nothing", headers=bearer("canary-wrong"))
    said = "".join(keyed.lines) + keyed.get("/openapi.json", headers=bearer(SECRET)).body.decode()
    assert "canary-" not in said
    with open(f"/proc/{keyed.process.pid}/cmdline", "rb") as file:  # noqa: PTH123
        assert b"canary-" not in file.read()


def test_a_token_opens(tokened):
    good = token(aud="shop", iss="idp")
    assert tokened.get("/model/info", headers=bearer(good)).status == 200
    assert tokened.get("/openapi.json", headers=bearer(good)).json["security"] == [{"bearer": []}]


@pytest.mark.parametrize(
    ("made", "status", "says"),
    [
        (lambda: token(aud="shop", iss="idp", exp=time.time() - 5), 401, "expired"),
        (lambda: token(aud="other", iss="idp"), 403, "not for this server"),
        (lambda: token(aud="shop", iss="other"), 403, "not for this server"),
        (lambda: token(OTHER, aud="shop", iss="idp"), 401, "signature"),
        (lambda: jwt.encode({"aud": "shop", "iss": "idp"}, SECRET), 401, "exp"),
        (lambda: jwt.encode({"exp": time.time() + 60, "aud": "shop"}, SECRET), 401, "iss"),
        (lambda: jwt.encode({"exp": time.time() + 60, "aud": "shop", "iss": "idp"}, None, algorithm="none"), 401, ""),
        (lambda: "a.b.c", 401, ""),
        (lambda: "", 401, ""),
        (lambda: "é", 401, ""),
    ],
)  # fmt: skip
def test_other_tokens_do_not(tokened, made, status, says):
    text = made().encode("utf-8").decode("latin-1")
    reply = tokened.get("/model/info", headers=bearer(text))
    assert reply.status == status
    assert says in reply.error["message"]


def test_tokens_of_a_public_key(project, run_ids, tmp_path):
    private, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwks = {"keys": [json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key())) | {"alg": "ES256"}]}
    for name, content in (("keys.pem", pem + pem), ("keys.json", json.dumps(jwks).encode())):
        (tmp_path / name).write_bytes(content)
        config = f"serving: {{auth: {{enabled: true, keys_file: {tmp_path / name}}}}}\n"
        with serving(project, "--run-id", run_ids["walked"], config=config) as running:
            good = token(private, "ES256")
            assert running.get("/model/info", headers=bearer(good)).status == 200
            assert running.get("/model/info", headers=bearer(token(stranger, "ES256"))).status == 401
            # a public key is no secret, and must not be taken for one
            forged = forge(pem)
            assert running.get("/model/info", headers=bearer(forged)).status == 401


def forge(pem):
    """Sign with the public key as if it were a secret."""
    import base64
    import hashlib
    import hmac

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part({"exp": time.time() + 60})
    signature = hmac.new(pem, signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_what_is_closed_is_not_there(project, run_ids):
    config = "serving: {metrics_enabled: false, docs_enabled: false}\n"
    with serving(project, "--run-id", run_ids["walked"], config=config) as running:
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert running.get(path).status == 404
        assert running.get("/model/schema").status == 200


def test_operators_have_a_port_of_their_own(project, run_ids):
    config = "serving: {admin_port: 0}\n"
    with serving(project, "--run-id", run_ids["walked"], config=config) as running:
        running.wait_until(lambda: any("admin on" in line for line in running.lines))
        admin = next(int(line.rsplit(":", 1)[1]) for line in running.lines if "admin on" in line)
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert running.get(path).status == 404
            assert running.get(path, port=admin).status == 200
        assert running.get("/health", port=admin).status == running.get("/ready", port=admin).status == 200
        example = running.example
        assert running.post("/predict", example).status == 200
        assert running.post("/predict", example, port=admin).status == 404


def test_unknown_columns_pass_where_the_config_says_so(project, run_ids, server):
    row = {**server.example, "unheard of": {"a": [1]}}
    assert server.post("/predict", row).status == 422
    config = "serving: {extra: ignore}\n"
    with serving(project, "--run-id", run_ids["walked"], config=config) as running:
        assert (
            running.post("/predict", row).json["prediction"]
            == server.post("/predict", server.example).json["prediction"]
        )
        assert running.get("/model/schema").json["request"]["additionalProperties"] is True
