"""What the routes take and give, as JSON Schema and OpenAPI, made from the model that is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mmp.modeling import conformal, ops
from mmp.modeling.values import written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmp.data.table import ColumnSpec
    from mmp.modeling.bundle import Bundle
    from mmp.serving.served import Served

    Schema = dict[str, Any]

_INT64: Final = {"minimum": -(2**63), "maximum": 2**63 - 1}
# A column's own type stands first; what coercion reads beside it (`mmp.modeling.values`) comes after.
_TYPES: Final[dict[str, Schema]] = {
    "integer": {"type": ["integer", "string"], **_INT64},
    "float": {"type": ["number", "string"]},
    "boolean": {"type": ["boolean", "integer", "string"], "minimum": 0, "maximum": 1},
    "text": {"type": ["string", "integer"]},
    "timestamp": {"type": ["string"]},
}
# Of text that is not a text column's: a pattern holds for strings only. Sizes are bounded, so that all fits.
_AS_TEXT: Final = {
    "integer": "[+-]?[0-9]{1,18}",
    "float": "[+-]?([0-9]{1,18}(\\.[0-9]{0,18})?|\\.[0-9]{1,18})([eE][+-]?[0-9]{1,2})?",
    "boolean": "[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]",
}
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NOT_OK: Final = {
    400: "not JSON",
    401: "no or wrong credentials",
    403: "credentials for another server",
    404: "nothing at this path, or an entity that the feature store does not know",
    405: "another method",
    408: "the request took too long to arrive",
    413: "the body is too large",
    415: "the body is no application/json",
    422: "columns are missing, unknown or of another type",
    431: "the head is too large",
    503: "not ready, too many requests in hand, or the feature store does not answer; Retry-After says when",
    504: "past the time budget",
}


def request_schema(served: Served) -> Schema:
    """Return the JSON Schema of one row: the columns with their types, and what training saw of them."""
    form, bundle = served.form, served.bundle
    features = bundle.baseline.get("features", {})
    closed = _closed(bundle)
    properties = {
        spec.name: _column(spec, features.get(spec.name, {}), spec.name in form.nullable, closed)
        for spec in form.required
    }
    properties |= {spec.name: _key(spec) for spec in form.optional}
    return {
        "$schema": _DIALECT,
        "title": served.name,
        "type": "object",
        "properties": properties,
        "required": [spec.name for spec in form.required],
        "additionalProperties": form.allow_extra,
        "examples": [served.example],
    }


def answer_schema(served: Served) -> Schema:
    """Return the JSON Schema of one prediction."""
    bundle = served.bundle
    properties: Schema = {spec.name: {} for spec in (*bundle.entities, *bundle.feature_keys)}
    properties["prediction"] = {"enum": list(bundle.classes)} if bundle.classes else {"type": "number"}
    required = ["prediction"]
    if bundle.positive is not None:
        positive = bundle.classes[bundle.positive]
        properties["probability"] = _share(f"Probability of {positive!r}.")
        required.append("probability")
    if bundle.classes:
        names = [str(label) for label in bundle.classes]
        properties["probabilities"] = {
            "type": "object",
            "properties": {name: _share("") for name in names},
            "required": names,
        }
        required.append("probabilities")
    beside = _beside(bundle)
    properties |= beside
    if bundle.features is not None:
        properties["degraded"] = {"type": "boolean", "description": "The feature store did not answer."}
    return {"type": "object", "properties": properties, "required": [*required, *beside]}


def _beside(bundle: Bundle) -> Schema:
    """Return what stands in an answer for how sure it is."""
    if bundle.sets:
        promise = f"Holds the class of {bundle.sets.coverage:.4g} of rows, and the predicted one always."
        labels = {"type": "array", "items": {"enum": list(bundle.classes)}, "minItems": 1}
        return {conformal.COLUMN: {**labels, "uniqueItems": True, "description": promise}}
    if bundle.classes:
        return {}
    names = bundle.model.columns
    beside: Schema = {name: {"type": "number"} for name in names if name not in conformal.BOUNDS}
    if bundle.has_bounds:
        bounds = _object(**{name: {"type": "number"} for name in conformal.BOUNDS})
        beside["interval"] = {**bounds, "description": f"Holds the truth of {bundle.coverage:.4g} of rows."}
    return beside


def schemas(served: Served) -> Schema:
    """Return what `/model/schema` answers."""
    return {"request": request_schema(served), "prediction": answer_schema(served), "example": served.example}


def openapi(served: Served, *, with_auth: bool) -> Schema:
    """Return the OpenAPI document."""
    request = request_schema(served)
    del request["$schema"], request["title"]
    one = answer_schema(served)
    named = {
        "properties": {**one["properties"], "model_uri": _TEXT, "request_id": _TEXT},
        "required": [*one["required"], "model_uri", "request_id"],
    }
    batch = _object(samples={"type": "array", "items": {"$ref": "#/components/schemas/Row"}})
    example = served.example
    components: Schema = {
        "schemas": {
            "Row": request,
            "Prediction": one,
            "Answer": {**one, **named},
            "Batch": {**batch, "additionalProperties": False},
            "Predictions": _object(
                predictions={"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
                model_uri=_TEXT,
                sample_count={"type": "integer"},
                request_id=_TEXT,
            ),
            "Error": _object(error=_error(), request_id=_TEXT),
        }
    }
    document: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": served.name,
            "version": served.run_id,
            "description": f"{served.bundle.task} of {served.bundle.target.name}, served by mmp.",
        },
        "paths": {
            "/predict": _post("Predict one row", "Row", "Answer", example),
            "/predict/batch": _post("Predict rows", "Batch", "Predictions", {"samples": [example]}),
            "/explain": _post("Predict one row, and say which columns it comes from", "Row", None, example),
            "/health": _get("Whether the process lives", (200,)),
            "/ready": _get("Whether it can predict", (200, 503)),
            "/model/info": _get("The run, its metrics and parameters", (200, 503)),
            "/model/schema": _get("What a row must look like", (200, 503)),
            "/metrics": _get("Counters for Prometheus", (200, 404), media="text/plain"),
        },
        "components": components,
    }
    if with_auth:
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"bearer": []}]
    return document


_TEXT: Final = {"type": "string"}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _error() -> Schema:
    details = {"type": "array", "items": _object(path=_TEXT, message=_TEXT, hint=_TEXT)}
    return _object(code=_TEXT, message=_TEXT, hint=_TEXT, details=details)


def _post(summary: str, takes: str, gives: str | None, example: Mapping[str, Any]) -> Schema:
    answer = {"$ref": f"#/components/schemas/{gives}"} if gives else {"type": "object"}
    body = {"schema": {"$ref": f"#/components/schemas/{takes}"}, "example": example}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": body}},
            "responses": {"200": _response("The prediction", answer), **_errors(tuple(_NOT_OK))},
        }
    }


def _get(summary: str, statuses: tuple[int, ...], media: str = "application/json") -> Schema:
    ok = {"description": summary, "content": {media: {}}}
    others = tuple({*statuses, 401, 403, 405, 503} - {200})
    return {"get": {"summary": summary, "responses": {"200": ok, **_errors(sorted(others))}}}


def _response(text: str, schema: Schema) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _errors(statuses: Any) -> Schema:
    schema = {"$ref": "#/components/schemas/Error"}
    return {str(status): _response(_NOT_OK[status], schema) for status in statuses}


def _share(text: str) -> Schema:
    share: Schema = {"type": "number", "minimum": 0, "maximum": 1}
    return {**share, "description": text} if text else share


def _column(spec: ColumnSpec, summary: Mapping[str, Any], nullable: bool, closed: frozenset[str]) -> Schema:  # noqa: FBT001
    schema: Schema = {**_TYPES[spec.kind], **_written(spec, nullable=nullable)}
    if spec.kind == "text" and spec.digits == 0:  # an integer has lost its leading zeros
        schema["type"] = ["string"]
    schema |= _seen(spec, summary, closed)
    if nullable:
        schema["type"] = [*schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _written(spec: ColumnSpec, *, nullable: bool) -> Schema:
    """Return what a string for this column must look like; blank text is a missing number."""
    if spec.kind == "timestamp":
        return {} if spec.time_format else {"format": "date-time"}
    if spec.kind == "text":
        return {} if nullable else {"minLength": 1}
    pattern = f"^\\s*({_AS_TEXT[spec.kind]}){'?' if nullable else ''}\\s*$"
    return {"pattern": pattern}


def _seen(spec: ColumnSpec, summary: Mapping[str, Any], closed: frozenset[str]) -> Schema:
    """Return what training saw: for people and forms; other values are answered too."""
    if "categories" in summary and spec.kind == "text":
        if spec.name in closed and not summary.get("other"):
            return {"enum": summary["categories"]}
        return {"examples": summary["categories"]}
    low, high = summary.get("min"), summary.get("max")
    if low is None or spec.kind not in {"integer", "float", "timestamp"}:
        return {}
    if spec.kind == "timestamp":
        low, high = written(spec, low), written(spec, high)
    return {"x-training-min": low, "x-training-max": high}


def _key(spec: ColumnSpec) -> Schema:
    types = ["integer", "number", "string", "boolean", "null"]
    return {"type": types, "description": "A key, given back.", "x-key": True}


def _closed(bundle: Bundle) -> frozenset[str]:
    """Return the inputs whose encoder refuses what training did not see."""
    categories = (op for op in bundle.pipeline.ops if isinstance(op, ops.Category))
    return frozenset(op.source for op in categories if op.refuse_unseen)
