"""Errors of the API as problem details (RFC 9457), and how OpenAPI tells of them."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from newsletter.core.errors import NewsletterError, QueryError, StoreBusyError, StoreError
from newsletter.web.access import AccessError
from newsletter.web.api.models import Problem
from newsletter.web.signing_in import challenge

MEDIA_TYPE = "application/problem+json"


def status_of(error: NewsletterError) -> int:
    """404 what is not there, 409 what cannot be done now, 422 what does not fit, 503 what may go through later."""
    match error:
        case StoreBusyError():
            return 503
        case StoreError():
            return 404 if str(error).startswith(("there is no", "no issue")) else 409
        case QueryError():
            return 422
        case _:
            return 404 if str(error).startswith("there is no") else 422


def answer_problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """A problem document."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, **more)
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers, media_type=MEDIA_TYPE)


def handle_problems(api: FastAPI) -> None:
    """Turn every error of the API into a problem document."""

    @api.exception_handler(NewsletterError)
    async def tell(_: Request, error: NewsletterError) -> Response:
        return answer_problem(status_of(error), str(error))

    @api.exception_handler(AccessError)
    async def refuse(_: Request, error: AccessError) -> Response:
        return answer_problem(error.status, str(error), challenge(error))

    @api.exception_handler(RequestValidationError)
    async def misfit(_: Request, error: RequestValidationError) -> Response:
        errors = [
            {"place": ".".join(str(part) for part in found["loc"]), "message": found["msg"]} for found in error.errors()
        ]
        return answer_problem(422, "the request does not fit what this address takes", errors=errors)

    @api.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        return answer_problem(error.status_code, str(error.detail), dict(error.headers or {}))


RESPONSES = {
    401: "Neither the operator's session nor a valid token.",
    403: "A request that a page of another site made.",
    404: "There is no such thing.",
    409: "It cannot be done now.",
    413: "The body is too long.",
    422: "Something in the request does not fit.",
    429: "Too many wrong tries from this network.",
    503: "The database is busy: try again.",
}


def describe_api(api: FastAPI, *, open_to_loopback: bool) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's, with our problems in place of its own, and bearer tokens."""
    told = get_openapi(title=api.title, version=api.version, description=api.description, routes=api.routes)
    told["servers"] = [{"url": "/api"}]
    parts = told.setdefault("components", {})
    parts["schemas"] = {
        name: schema for name, schema in parts.get("schemas", {}).items() if "ValidationError" not in name
    }
    parts["schemas"]["Problem"] = Problem.model_json_schema()
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    parts["responses"] = {
        str(status): {"description": meaning, "content": content} for status, meaning in RESPONSES.items()
    }
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "Made by `newsletter tokens create`."}
    }
    told["security"] = [{"token": []}, *([{}] if open_to_loopback else [])]
    for operations in told["paths"].values():
        for method, operation in operations.items():
            wanted = {401, 429, 503}
            wanted |= {404, 422} if operation.get("parameters") or operation.get("requestBody") else set()
            wanted |= {403, 409, 413} if method == "post" else set()
            wanted |= {409} & {int(status) for status in operation["responses"]}
            operation["responses"].pop("422", None)
            operation["responses"] |= {
                str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(wanted)
            }
    return told
