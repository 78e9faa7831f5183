"""The Open Inference Protocol, version 2, so that clients made for it work: one tensor a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response

import mmp
from mmp.modeling import conformal
from mmp.modeling.decision import class_names
from mmp.serving.answers import Refusal, encode
from mmp.serving.gate import check_media
from mmp.serving.parse import read_json
from mmp.serving.predict import checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

    from mmp.serving.predict import Predictor
    from mmp.serving.served import Served
    from mmp.serving.service import Service

_DATATYPES: Final = {
    "integer": "INT64",
    "float": "FP64",
    "boolean": "BOOL",
    "text": "BYTES",
    "timestamp": "BYTES",
}


def add(app: FastAPI, service: Service, predictor: Predictor) -> None:
    """Add the protocol's routes."""

    async def server(_request: Request) -> Response:
        return _json({"name": "mmp", "version": mmp.__version__, "extensions": []})

    async def live(_request: Request) -> Response:
        return _json({"live": True})

    async def ready(_request: Request) -> Response:
        is_ready = service.state.status == "ready"
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    async def model(request: Request) -> Response:
        return _json(_metadata(_named(service, request)))

    async def model_ready(request: Request) -> Response:
        served = _named(service, request)
        is_ready = service.state.status == "ready"
        return _json({"name": served.name, "ready": is_ready}, 200 if is_ready else 503)

    async def infer(request: Request) -> Response:
        served = _named(service, request)
        check_media(dict(request.scope["headers"]))
        body = read_json(await request.body())
        samples = _rows(body)
        outputs, _ = await predictor.outputs(served, checked(served, samples))
        predicted = [served.answer(output, {}) for output in outputs]
        answer = {
            "model_name": served.name,
            "model_version": served.run_id,
            "id": body.get("id") or request.scope["request_id"],
            "outputs": _tensors(served, predicted),
        }
        return _json(answer)

    for path, endpoint in {
        "/v2": server,
        "/v2/health/live": live,
        "/v2/health/ready": ready,
        "/v2/models/{name}": model,
        "/v2/models/{name}/ready": model_ready,
    }.items():
        app.add_api_route(path, endpoint, methods=["GET"])
    app.add_api_route("/v2/models/{name}/infer", infer, methods=["POST"])


def _json(value: object, status: int = 200) -> Response:
    return Response(encode(value), status_code=status, media_type="application/json")


def _named(service: Service, request: Request) -> Served:
    served = service.served
    if request.path_params["name"] != served.name:
        raise Refusal(
            404, "not_found", "There is no model of this name.", hint=f"The model is '{served.name}'."
        )
    return served


def _metadata(served: Served) -> dict[str, Any]:
    form = served.form
    return {
        "name": served.name,
        "versions": [served.run_id],
        "platform": f"mmp_{served.bundle.model.engine}",
        "inputs": [
            {"name": spec.name, "datatype": _DATATYPES[spec.kind], "shape": [-1]}
            for spec in (*form.required, *form.optional)
        ],
        "outputs": [
            {"name": tensor["name"], "datatype": tensor["datatype"], "shape": [-1]}
            for tensor in _tensors(served, [])
        ],
    }


def _rows(body: Any) -> list[dict[str, Any]]:
    """Return the rows that the tensors of a request are columns of."""
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list) or not inputs or not all(map(_is_tensor, inputs)):
        hint = (
            'Send {"inputs": [{"name", "shape": [rows], "datatype", "data": […]}, …]}, one for each column.'
        )
        raise Refusal(422, "data", "The body has no list of tensors 'inputs'.", hint=hint)
    names = [tensor["name"] for tensor in inputs]
    columns = [_flat(tensor["data"]) for tensor in inputs]
    if len(set(names)) < len(names) or len({len(column) for column in columns}) != 1:
        hint = "Send each column once, all of the same length."
        raise Refusal(422, "data", "The tensors are not the columns of one table.", hint=hint)
    n_rows = len(columns[0])
    for tensor in inputs:
        if tensor.get("shape", [n_rows]) not in ([n_rows], [n_rows, 1]):
            message = f"The tensor '{tensor['name']}' has {n_rows} values, and its shape says otherwise."
            raise Refusal(422, "data", message, hint=f"Send the shape [{n_rows}].")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _is_tensor(tensor: Any) -> bool:
    return (
        isinstance(tensor, dict)
        and isinstance(tensor.get("name"), str)
        and isinstance(tensor.get("data"), list)
    )


def _flat(data: Sequence[Any]) -> list[Any]:
    """Return the data of a tensor of shape (n,) or (n, 1)."""
    return [cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in data]


def _tensors(served: Served, predicted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    classes = served.bundle.classes
    tensors = [_tensor("prediction", _datatype(classes), [row["prediction"] for row in predicted])]
    if served.bundle.positive is not None:
        tensors.append(_tensor("probability", "FP64", [row["probability"] for row in predicted]))
    for name, label in zip(class_names(classes), classes, strict=True):
        shares = [row["probabilities"][str(label)] for row in predicted]
        tensors.append(_tensor(f"probability_{name}", "FP64", shares))
    if served.bundle.sets:
        sets = [encode(row[conformal.COLUMN]).decode() for row in predicted]
        tensors.append(_tensor(conformal.COLUMN, "BYTES", sets))
    for name in () if classes else served.bundle.model.columns:
        numbers = [{**row, **row.get("interval", {})}[name] for row in predicted]
        tensors.append(_tensor(name, "FP64", numbers))
    return tensors


def _datatype(classes: Sequence[Any]) -> str:
    kinds = {bool: "BOOL", int: "INT64", str: "BYTES"}
    return kinds.get(type(classes[0]), "FP64") if classes else "FP64"


def _tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
