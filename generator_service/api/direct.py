"""Routes that FastAPI documents, and does nothing else for.

Its way from a request to an answer costs more than a look at a job; the routes that nearly all requests go to do
without: they take the request, and answer a response.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from shared.errors import InvalidRequest, UnsupportedMediaType, invalid_request, validation_errors_as_invalid_request

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

MAXIMUM_COMMAS: Final = 80_000
"""In a body: they are counted at once, and each value that is wrong costs time and memory.  The largest plan, with 32
tracks of 241 boxes and as many phases, has some 63,000."""


Endpoint = Callable[[Request], Awaitable[Response]]


def add_direct_route(app: FastAPI, path: str, method: str, endpoint: Endpoint, **documented: Any) -> None:
    """Before all other routes, so that it is the first to be found."""
    app.router.add_api_route(path, endpoint, methods=[method], route_class_override=DirectRoute, **documented)


class DirectRoute(APIRoute):
    """What its dependencies take is documented, and is for the endpoint to read: they are never called."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # refuses it
            return
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


async def read_body(request: Request, model: type[M]) -> M:
    """The JSON body.  Raises UnsupportedMediaType and InvalidRequest."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise UnsupportedMediaType("send the body as JSON, with the header Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("send the body as it is, without Content-Encoding")
    try:
        body = await request.body()
    except ClientDisconnect:
        raise HTTPException(400) from None
    if (commas := body.count(b",")) > MAXIMUM_COMMAS:
        raise InvalidRequest(f"the body has {commas} commas, and may have {MAXIMUM_COMMAS}: it holds too many values")
    with validation_errors_as_invalid_request():
        return model.model_validate_json(body)


def read_header(request: Request, name: str, kind: TypeAdapter[T]) -> T | None:
    """Raises InvalidRequest."""
    text = request.headers.get(name)
    if text is None:
        return None
    try:
        return kind.validate_python(text)
    except ValidationError as error:
        raise invalid_request([{**each, "loc": ("header", name)} for each in error.errors()]) from error
