"""Routes that FastAPI documents, and does nothing else for.

Its way from a request to an answer costs more than a look at a job; the routes that nearly all requests go to do
without: they take the request, and answer a response.
"""

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """What its dependencies take is documented, and is for the endpoint to read: they are never called."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # refuses it
            return
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
