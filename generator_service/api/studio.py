"""The studio: a page that calls this API.  `make studio` builds it into the folder `studio_files` beside this file."""

import html
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from generator_service.api.parts import UseParts
from shared.errors import NotFound

FOLDER: Final = FilePath(__file__).parent / "studio_files"
"""`index.html`, and what it loads in `studio/assets`."""
NOT_BUILT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Motion-Factorized Video</title>
<h1>The studio is not built here</h1>
<p>Run <code>make studio</code> in the repository, and load this page again.
The API is here all the same: see <a href="docs">its documentation</a>.</p>
</html>
"""

POLICY: Final = (
    "default-src 'none'; connect-src 'self'; style-src 'self'; script-src 'self'; img-src 'self'{storage} data:; "
    "media-src 'self'{storage}; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
"""A page that calls this very service, which may lead it on to the storage for videos and pictures."""

router = APIRouter(include_in_schema=False)


@router.get("/", response_class=HTMLResponse)
@router.get("/studio/jobs/{job_id}", response_class=HTMLResponse)
def page(request: Request, parts: UseParts) -> HTMLResponse:
    """The same page for every job: its script reads the address."""
    base = html.escape(request.scope["root_path"] + "/")
    storage = parts.objects.signs_for
    policy = POLICY.format(storage="" if storage is None else f" {storage}")
    return HTMLResponse(
        _index().replace('<base href="/"', f'<base href="{base}"'),
        headers={"Cache-Control": "no-cache", "Content-Security-Policy": policy},
    )


@router.get("/studio/assets/{name}", response_class=FileResponse)
def asset(name: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]+\.(js|css|svg)$")]) -> Response:
    """Names hold a hash of what is in the file."""
    path = FOLDER / "studio" / "assets" / name
    if not path.is_file():
        raise NotFound(f"there is nothing at /studio/assets/{name}")
    return FileResponse(path, headers={"Cache-Control": "public, max-age=31536000, immutable"})


def _index() -> str:
    path = FOLDER / "index.html"
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else NOT_BUILT


@cache
def _read(path: FilePath, _changed: int) -> str:
    return path.read_text()
