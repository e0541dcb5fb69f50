"""What the API's documentation says beside its routes and models; a test sends each of the examples."""

from typing import Any, Final

from fastapi import FastAPI

from shared.errors import PROBLEM_MEDIA_TYPE

DESCRIPTION = """
A prompt becomes a plan (what moves how, and where), the plan steers a video diffusion model, the video is an MP4.

1. `POST /jobs` with a prompt; the answer is a job.
2. `GET /jobs/{id}` until its `status` is `succeeded`, `failed` or `canceled`; or follow `GET /jobs/{id}/events`; or
   give a `webhook` to be told.
3. `GET /jobs/{id}/content` is the video.

Every error is `application/problem+json` (RFC 9457) with a `code` to act on and, where fields are wrong, `violations`.

Every answer has an `X-Request-Id`: yours, where you sent one, else a new one.  By it the services' logs tell
what became of the request and of its job.

Where the service requires keys, give yours as `Authorization: Bearer mfv_<id>_<secret>`; without one there are
`/health`, `/ready`, `/metrics`, `/load` and this documentation.  A key sees its owner's jobs: another's is `404`.
"""

HEADERS: Final[dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The request's own, where it had a good one, else a new one: the services' logs have it.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Retry-After": {
        "description": "After so many seconds the same request makes sense again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
}

_FRAMES: Final = 9

_CAR: Final = [[round(0.05 + 0.07 * frame, 2), 0.5, round(0.35 + 0.07 * frame, 2), 0.8] for frame in range(_FRAMES)]
_TREE: Final = [[0.7, 0.1, 0.95, 0.8]] * _FRAMES

_PLAN: Final[dict[str, Any]] = {
    "prompt": "a red car drives to the right while a tree stands still",
    "graph": {
        "instances": [
            {
                "id": "car",
                "name": "red car",
                "description": "a red car",
                "attributes": ["drives to the right"],
                "label": "rigid",
            },
            {"id": "tree", "name": "tree", "description": "a tree", "label": "motionless"},
        ],
        "relations": [{"source": "car", "target": "tree", "kind": "dynamic", "phrase": "drives toward"}],
    },
    "background": "a plain",
    "tracks": [
        {"instance": "car", "phases": [{"label": "rigid", "start": 0, "end": _FRAMES - 1}], "boxes": _CAR},
        {"instance": "tree", "phases": [{"label": "motionless", "start": 0, "end": _FRAMES - 1}], "boxes": _TREE},
    ],
    "depth_order": ["car", "tree"],
}

REQUESTS: Final[dict[str, Any]] = {
    "prompt": {
        "summary": "A prompt, and nothing else",
        "value": {"prompt": "a red car drives to the right while a tree stands still"},
    },
    "settings": {
        "summary": "The same video again, with labels of your own",
        "value": {
            "prompt": "a butterfly flutters above a flower",
            "backbone": "emoji-world",
            "seed": 7,
            "steps": 25,
            "fps": 8,
            "guidance_scale": 3.0,
            "metadata": {"order": "1234"},
        },
    },
    "guidance": {
        "summary": "Guidance of one's own: rigid things only, more strongly",
        "value": {
            "prompt": "a red car drives to the right while a tree stands still",
            "guidance": {"branches": ["gig"], "strength": 0.3},
        },
    },
    "plain": {
        "summary": "The same without guidance",
        "value": {"prompt": "a red car drives to the right while a tree stands still", "guidance": "off"},
    },
    "plan": {"summary": "A plan of your own: planning is skipped", "value": {"plan": _PLAN, "seed": 7}},
}


def document_answers(app: FastAPI) -> None:
    """What handlers and middleware make of them: errors are problem+json, where FastAPI documents every model as
    application/json; and the headers that are the same everywhere."""
    document = app.openapi

    def as_they_are() -> dict[str, Any]:
        schema = document()
        schema["components"]["headers"] = HEADERS
        for operations in schema["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    told = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
                    response["headers"] = response.get("headers", {}) | told
                    if int(status) >= 400 and "application/json" in response["content"]:
                        response["content"][PROBLEM_MEDIA_TYPE] = response["content"].pop("application/json")
        return schema

    app.openapi = as_they_are  # type: ignore[method-assign]


def document_that_keys_are_optional(app: FastAPI) -> None:
    document = app.openapi

    def without_need() -> dict[str, Any]:
        schema = document()
        for operations in schema["paths"].values():
            for operation in operations.values():
                if "security" in operation:
                    operation["security"] = [{}, {"key": []}]
        return schema

    app.openapi = without_need  # type: ignore[method-assign]
