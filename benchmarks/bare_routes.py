"""The least that a service can do about a job: read one hash, write one hash.  `load.py` compares the API with it.

python benchmarks/bare_routes.py fastapi|starlette h11|httptools PORT REDIS_URL
"""

import json
import sys
from typing import Any
from uuid import uuid4

import redis.asyncio
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from generator_service.api.server import HttpProtocol

CONNECTIONS = 32


class Body(BaseModel):
    prompt: str
    planner: str = "auto"


def bare_fastapi(client: redis.asyncio.Redis) -> FastAPI:
    app = FastAPI()

    @app.get("/jobs/{job_id}")
    async def get(job_id: str) -> dict[str, str]:
        fields: dict[str, str] = await client.hgetall(f"job:{job_id}")
        if not fields:
            raise HTTPException(404)
        return fields

    @app.post("/jobs", status_code=202)
    async def post(body: Body) -> dict[str, str]:
        return await _create(client, body.prompt, body.planner)

    return app


def bare_starlette(client: redis.asyncio.Redis) -> Starlette:
    async def get(request: Request) -> JSONResponse:
        fields = await client.hgetall(f"job:{request.path_params['job_id']}")
        return JSONResponse(fields, 200 if fields else 404)

    async def post(request: Request) -> JSONResponse:
        body = json.loads(await request.body())
        return JSONResponse(await _create(client, body["prompt"], body["planner"]), 202)

    return Starlette(routes=[Route("/jobs/{job_id}", get), Route("/jobs", post, methods=["POST"])])


async def _create(client: redis.asyncio.Redis, prompt: str, planner: str) -> dict[str, str]:
    job = {"id": uuid4().hex, "status": "queued", "prompt": prompt}
    await client.hset(f"bare:{job['id']}", mapping={**job, "planner": planner})
    return job


def main() -> None:
    kind, parser, port, url = sys.argv[1:]
    pool: Any = redis.asyncio.BlockingConnectionPool.from_url(url, decode_responses=True, max_connections=CONNECTIONS)
    app = {"fastapi": bare_fastapi, "starlette": bare_starlette}[kind](redis.asyncio.Redis.from_pool(pool))
    app.router.routes.append(Route("/health", lambda _: JSONResponse({})))
    uvicorn.run(
        app, port=int(port), http=HttpProtocol if parser == "httptools" else "h11", log_config=None, access_log=False
    )


if __name__ == "__main__":
    main()
