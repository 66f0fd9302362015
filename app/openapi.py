"""The OpenAPI document: what FastAPI derives from the routes, and what it can't know: names, keys, every error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

OPENAI_DOOR = "/v1"
KEYED = ("/v1/", "/api/")
ERRORS = {
    400: "The request is malformed, or names what is not supported here.",
    401: "No API key, or a wrong one.",
    403: "Known, but not allowed.",
    404: "No such thing, or not the caller's.",
    409: "It exists already, or something else is under way.",
    412: "`If-Match` names an older revision.",
    413: "The body is over a limit; the message names it.",
    415: "The body is of a media type that is not read here.",
    422: "Well-formed, but its content can't be used.",
    428: "`If-Match` is missing.",
    429: "Too many requests, tokens or streams for this key; `Retry-After` tells the seconds.",
    500: "Something broke on our side; the log has it under `x-request-id`.",
    502: "The language model's server answered with something that can't be used.",
    503: "Not now: loading, full, or the language model is down; `Retry-After` tells the seconds.",
}
ABOUT_KEYS = (
    "Every write takes an `Idempotency-Key` header, 1 to 255 printable ASCII characters: a retry by it is done "
    "once and answered as the first try was."
)
_CLIENT_PARAMETERS = ("query", "path", "header")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


class OpenAIFault(BaseModel):
    """What went wrong. `param` is the request's field, `code` a stable name for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """An error under /v1, in the shape that OpenAI's clients read."""

    error: OpenAIFault


class FieldFault(BaseModel):
    """A field of the request and what is wrong with it."""

    field: str
    message: str


class Problem(BaseModel):
    """An error under /api, an RFC 9457 problem. `title` is a stable name for programs, `detail` says what to do."""

    type: str = Field(pattern="^urn:moodline:", examples=["urn:moodline:not_found"])
    title: str
    status: int
    detail: str
    param: str | None = None
    errors: list[FieldFault] = Field(default=[], description="Every field that could not be read.")


def operation_id(route: APIRoute) -> str:
    """A name that generated clients can use and that does not change with the path: `sessions_read`."""
    return f"{str(route.tags[0]).lower()}_{route.name}"


def describe(app: FastAPI, *, key_required: bool) -> None:
    """Let `app.openapi()` tell of the key and of every error too."""
    derive = app.openapi

    def openapi() -> dict[str, Any]:
        known = app.openapi_schema is not None
        document = derive()
        if not known:
            _complete(document, [{"key": []}] if key_required else [{"key": []}, {}])
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any], security: list[dict[str, list[str]]]) -> None:
    document["info"]["description"] = ABOUT_KEYS
    components = document["components"]
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "`moodline keys create NAME` makes one."}
    }
    schemas = components["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for kind in (OpenAIError, Problem):
        schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[kind.__name__] = schema
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith(KEYED):
                operation["security"] = security
                _add_errors(path, method, operation)
    _write_bounds(document)


def _write_bounds(part: Any) -> None:
    """Whole numbers as such: FastAPI makes floats of them, and the shortest form of 2.0**63 reads as another number."""
    if isinstance(part, dict):
        for name in _BOUNDS:
            if isinstance(bound := part.get(name), float) and bound.is_integer():
                part[name] = int(bound)
    if isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            _write_bounds(inner)


def _add_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for parameter in operation.get("parameters", []):
        if parameter["name"] == "If-Match":
            # To FastAPI it is optional, so that its absence is a 428 of ours.
            parameter["required"] = True
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for status in sorted(_statuses(path, method, operation)):
        error = _error(path, status)
        responses.setdefault(str(status), error).setdefault("content", error["content"])


def _statuses(path: str, method: str, operation: dict[str, Any]) -> set[int]:
    """The errors that a route may answer with, by what it reads. A route adds rarer ones itself."""
    statuses = {400, 401, 403, 429, 500, 503}
    parameters = operation.get("parameters", [])
    by_name = {parameter["name"] for parameter in parameters}
    has_body = "requestBody" in operation
    openai = path.startswith(OPENAI_DOOR)
    if "{" in path or has_body or any(parameter["in"] == "query" for parameter in parameters):
        statuses.add(404)
    if has_body:
        statuses |= {413, 415}
    if not openai and (has_body or any(parameter["in"] in _CLIENT_PARAMETERS for parameter in parameters)):
        statuses.add(422)
    if method != "get":
        statuses.add(409)
        statuses.add(400 if openai else 422)
    if "If-Match" in by_name:
        statuses |= {412, 428}
    if has_body and (openai or path.endswith("/turns")):
        statuses.add(502)
    return statuses


def _error(path: str, status: int) -> dict[str, Any]:
    openai = path.startswith(OPENAI_DOOR)
    media = "application/json" if openai else "application/problem+json"
    schema = {"$ref": f"#/components/schemas/{OpenAIError.__name__ if openai else Problem.__name__}"}
    return {"description": ERRORS[status], "content": {media: {"schema": schema}}}
