"""What each route answers, and every status that the specification names."""

from __future__ import annotations

import json

import jsonschema
import pytest
from tests.commands import call
from tests.http_server import QUIET
from tests.tables import KEY

JSON = "application/json"


@pytest.fixture(scope="module", params=["server", "threaded"])
def either(request):
    return request.getfixturevalue(request.param)


def assert_error(reply, status, code):
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == JSON
    assert set(reply.json) == {"error", "request_id"}
    assert set(reply.error) == {"code", "message", "hint", "details"}
    assert reply.error["code"] == code
    assert reply.error["message"].endswith(".")
    assert reply.json["request_id"] == reply.headers["x-request-id"]
    assert "Traceback" not in reply.body.decode()
    assert "/src/" not in reply.body.decode()


def test_health_and_ready(server, run_ids):
    assert server.get("/health").json == {"status": "ok"}
    assert server.get("/ready").json == {
        "status": "ready",
        "model_uri": f"runs:/{run_ids['walked']}/model",
        "model_name": "people",
        "run_id": run_ids["walked"],
    }


def test_a_prediction_is_what_mmp_predict_says(either, project):
    schema, example = either.get("/model/schema").json, either.example
    reply = either.post("/predict", {**example, KEY: 9_007_199_254_740_993})
    assert reply.status == 200
    jsonschema.validate(reply.json, schema["prediction"])
    run_id = either.get("/ready").json["run_id"]
    row = json.dumps({**example, KEY: 9_007_199_254_740_993})
    (project / "row.json").write_text(row, encoding="utf-8")
    said = call("predict", "--run-id", run_id, "-i", "row.json", "--json", "-q", cwd=project, env=QUIET).json
    said = said["prediction"]
    shares = {
        name.removeprefix("probability_"): v for name, v in said.items() if name.startswith("probability_")
    }
    assert reply.json["prediction"] == said["prediction"]
    assert reply.json["probability"] == said["probability"]
    assert sorted(reply.json["probabilities"].values()) == sorted(shares.values())
    assert reply.json[KEY] == 9_007_199_254_740_993
    assert reply.json["model_uri"] == f"runs:/{run_id}/model"


def test_rows_alone_and_together_agree_to_the_bit(either):
    examples = [{**either.example, "age (years)": age, "income [€]": age * 7.3} for age in range(20, 90)]
    batch = either.post("/predict/batch", {"samples": examples}).json
    assert batch["sample_count"] == 70
    for row, together in zip(examples, batch["predictions"], strict=True):
        alone = either.post("/predict", row).json
        assert {name: alone[name] for name in together} == together


def test_keys_come_back_as_they_came(server):
    row = {name: cell for name, cell in server.example.items() if name != KEY}
    assert KEY not in server.post("/predict", row).json
    for key in (7, "007", None, True):
        assert server.post("/predict", {**row, KEY: key}).json[KEY] == key
    assert_error(server.post("/predict", {**row, KEY: [1]}), 422, "data")
    assert_error(server.post("/predict", {**row, KEY: 1e300}), 422, "data")


def test_an_empty_batch_has_no_predictions(either):
    reply = either.post("/predict/batch", {"samples": []})
    assert (reply.status, reply.json["predictions"], reply.json["sample_count"]) == (200, [], 0)


def test_everything_that_is_wrong_is_told_with_its_path(server):
    row = dict(server.example)
    del row["city"]
    row |= {"age (years)": "old", "income [€]": [1], "citi": "Köln"}
    reply = server.post("/predict", row)
    assert_error(reply, 422, "data")
    problems = {detail["path"]: detail for detail in reply.error["details"]}
    assert set(problems) == {"citi", "city", "age (years)", "income [€]"}
    assert problems["citi"]["hint"] == "did you mean 'city'?"
    batch = server.post("/predict/batch", {"samples": [server.example, row, 3]})
    assert_error(batch, 422, "data")
    paths = {detail["path"] for detail in batch.error["details"]}
    assert {"samples[1].citi", "samples[2]"} <= paths


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "json"),
        (b"{", 400, "json"),
        (b"{} {}", 400, "json"),
        (b'{"a": NaN}', 400, "json"),
        (b'{"a": -Infinity}', 400, "json"),
        (b'{"a": 1, "a": 2}', 400, "json"),
        (b'{"a": "\\ud800"}', 400, "json"),
        (b'{"a": "\xff"}', 400, "json"),
        (b"[" * 10_000, 400, "json"),
        (b"[" * 65 + b"]" * 65, 400, "json"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, 400, "json"),
        (b"9" * 5000, 400, "json"),
        ("{}".encode("utf-16"), 400, "json"),
        (b"[]", 422, "data"),
        (b"3", 422, "data"),
        (b"null", 422, "data"),
        (b'"text"', 422, "data"),
        (b"{}", 422, "data"),
        (b"[" * 64 + b"]" * 64, 422, "data"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/explain"])
def test_bodies_that_are_no_request(server, path, body, status, code):
    assert_error(server.post(path, body), status, code)


@pytest.mark.parametrize(
    "number", [b"1e400", b"-1e400", b"9223372036854775808", b"1" + b"0" * 400, b"18446744073709551616.5e300"]
)
def test_numbers_that_no_column_holds(server, number):
    row = json.dumps({**server.example, "age (years)": "@"}).encode().replace(b'"@"', number)
    assert_error(server.post("/predict", row), 422, "data")
    row = json.dumps({**server.example, KEY: "@"}).encode().replace(b'"@"', b"18446744073709551617")
    assert server.post("/predict", row).json[KEY] == 18446744073709551617


def test_a_null_is_taken_where_training_saw_one(server):
    schema = server.get("/model/schema").json["request"]["properties"]
    for name, column in schema.items():
        reply = server.post("/predict", {**server.example, name: None})
        assert reply.status == (200 if "null" in column["type"] else 422)


def test_other_media_other_methods_other_paths(server):
    row = json.dumps(server.example).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
        assert_error(server.post("/predict", row, {"Content-Type": kind}), 415, "media_type")
    assert_error(server.post("/predict", row, {"Content-Encoding": "gzip"}), 415, "media_type")
    assert server.post("/predict", row, {"Content-Type": "application/json; charset=utf-8"}).status == 200
    for method, path, allowed in (
        ("GET", "/predict", "POST"),
        ("DELETE", "/predict/batch", "POST"),
        ("POST", "/health", "GET"),
        ("GET", "/explain", "POST"),
    ):
        reply = server.ask(method, path)
        assert_error(reply, 405, "method_not_allowed")
        assert allowed in reply.headers["allow"]
    for path in ("/nothing", "/predict/", "/predict//batch", "/../etc/passwd", "/%2e%2e/x"):
        assert_error(server.get(path), 404, "not_found")


def test_a_request_id_is_taken_if_it_is_safe(server):
    assert (
        server.get("/health", headers={"X-Request-ID": "abc-1.2:3_4"}).headers["x-request-id"]
        == "abc-1.2:3_4"
    )
    for unsafe in ("x" * 65, 'a"b', "a b", "<script>"):
        made = server.post("/predict", {}, {"X-Request-ID": unsafe})
        assert made.headers["x-request-id"] not in {unsafe, ""}
        assert made.json["request_id"] == made.headers["x-request-id"]


def test_one_line_a_request_without_the_payload(server):
    server.post(
        "/predict", {**server.example, "city": "a canary in a coal mine"}, {"X-Request-ID": "canary-1"}
    )
    server.get("/no%22such%0Apath?secret=canary", headers={"X-Request-ID": "canary-2"})
    server.wait_until(
        lambda: any(line["request_id"] == "canary-2" for line in server.log() if "request_id" in line)
    )
    lines = {line["request_id"]: line for line in server.log() if "request_id" in line}
    line = lines["canary-1"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/predict", 200)
    assert line["ms"] > 0
    assert line["time"].endswith("Z")
    assert "coal mine" not in "".join(server.lines)
    assert "secret" not in "".join(server.lines)


def test_the_explanation_adds_up_to_the_score(either):
    reply = either.post("/explain", either.example)
    if either.get("/model/info").json["class_path"].startswith("sklearn"):
        assert reply.status in {200, 422}  # trees of scikit-learn want shap, which may not be installed
        return
    explanation = reply.json["explanation"]
    assert reply.json["prediction"] == either.post("/predict", either.example).json["prediction"]
    total = explanation["base"] + sum(column["shap"] for column in explanation["columns"])
    assert total == pytest.approx(explanation["score"], rel=1e-6)


def test_model_info_tells_of_the_run(server, run_ids):
    info = server.get("/model/info").json
    assert info["run_id"] == run_ids["walked"]
    assert info["task"] == "classification"
    assert info["class_path"] == "xgboost.XGBClassifier"
    assert info["hyperparameters"]["max_depth"] == 3
    assert isinstance(info["run_metrics"], dict)
    assert info["run_metrics"]
    assert sorted(info["classes"]) == ["no", "yes, gladly"]


def test_metrics_count_what_was_answered(server):
    def counted():
        lines = server.get("/metrics").body.decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[0] != "#"}

    name = 'mmp_requests_total{route="/predict",status="200"}'
    before = counted()
    for _ in range(3):
        server.post("/predict", server.example)
    server.get("/canary")
    after = counted()
    assert after[name] - before.get(name, 0) == 3
    assert after["mmp_batch_rows_count"] - before["mmp_batch_rows_count"] == 3
    buckets = [v for k, v in after.items() if k.startswith('mmp_request_seconds_bucket{route="/predict"')]
    assert buckets == sorted(buckets)
    assert buckets[-1] == after['mmp_request_seconds_count{route="/predict"}']
    assert not any("canary" in line for line in after)


def test_the_documents_tell_the_truth(server):
    document = server.get("/openapi.json").json
    row = document["components"]["schemas"]["Row"]
    jsonschema.Draft202012Validator.check_schema(row)
    operation = document["paths"]["/predict"]["post"]
    example = operation["requestBody"]["content"][JSON]["example"]
    jsonschema.validate(example, row)
    reply = server.post("/predict", example)
    answer = {"$ref": "#/components/schemas/Answer", "components": document["components"]}
    jsonschema.validate(reply.json, answer)
    batch = document["paths"]["/predict/batch"]["post"]["requestBody"]["content"][JSON]["example"]
    assert server.post("/predict/batch", batch).status == 200
    error = {"$ref": "#/components/schemas/Error", "components": document["components"]}
    jsonschema.validate(server.post("/predict", {}).json, error)


def test_the_documents_page_asks_nobody_else(server):
    page = server.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert b"POST /predict" in page.body
    assert b"://" not in page.body.replace(b"https://json-schema.org/draft/2020-12/schema", b"")
    assert b"<script" not in page.body


def test_the_open_inference_protocol(server, run_ids):
    assert server.get("/v2/health/live").json == {"live": True}
    assert server.get("/v2/health/ready").json == {"ready": True}
    assert server.get("/v2").json["name"] == "mmp"
    metadata = server.get("/v2/models/people").json
    assert metadata["versions"] == [run_ids["walked"]]
    examples = [server.example, {**server.example, "age (years)": 80}]
    inputs = [
        {**tensor, "shape": [2], "data": [row.get(tensor["name"]) for row in examples]}
        for tensor in metadata["inputs"]
    ]
    reply = server.post("/v2/models/people/infer", {"id": "42", "inputs": inputs}).json
    assert reply["id"] == "42"
    outputs = {tensor["name"]: tensor for tensor in reply["outputs"]}
    expected = server.post("/predict/batch", {"samples": examples}).json["predictions"]
    assert outputs["prediction"]["data"] == [row["prediction"] for row in expected]
    assert outputs["probability"] == {
        "name": "probability", "datatype": "FP64", "shape": [2], "data": [row["probability"] for row in expected],
    }  # fmt: skip
    assert [tensor["name"] for tensor in metadata["outputs"]] == list(outputs)
    assert_error(server.get("/v2/models/other"), 404, "not_found")
    tall = [{**inputs[0], "shape": [2, 1]}, *inputs[1:]]
    assert server.post("/v2/models/people/infer", {"inputs": tall}).json["outputs"] == reply["outputs"]
    wrong = [{**inputs[0], "shape": [3]}, *inputs[1:]]
    refused = server.post("/v2/models/people/infer", {"inputs": wrong})
    assert_error(refused, 422, "data")
    assert f"'{inputs[0]['name']}' has 2 values" in refused.json["error"]["message"]
    for bad in ({}, {"inputs": []}, {"inputs": [{"name": "x"}]}, {"inputs": [inputs[0], inputs[0]]}, []):
        assert_error(server.post("/v2/models/people/infer", bad), 422, "data")
