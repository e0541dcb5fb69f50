"""The API's client.

    with Client("http://127.0.0.1:8080") as client:  # and key="mfv_…" where the service requires one
        job = client.submit(prompt="a red car drives to the right", seed=7)
        job = client.wait(job.id, on_progress=lambda job: print(job.stage, job.step, job.steps))
        if job.status is JobStatus.SUCCEEDED:
            client.download(job.id, "car.mp4")

Errors of the API arrive as the classes of `shared.errors` that were raised there; an API that does not answer is
`Unavailable`.  That a job failed is no error of the API: it stands in the job's `error`.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import httpx
from pydantic import BaseModel, ValidationError

from generator_service.contract.answers import (
    BackboneList,
    BackboneView,
    Deliveries,
    Overview,
    UploadedImage,
    WebhookSecret,
)
from generator_service.contract.job import JobPage, JobStatus, JobView
from generator_service.contract.keys import ApiKey
from generator_service.contract.request import JobRequest
from generator_service.settings import BadSettings
from shared.errors import InvalidRequest, Problem, ServiceError, Unavailable, validation_errors_as_invalid_request
from shared.plan import Plan

DEFAULT_URL: Final = "http://127.0.0.1:8080"
TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
"""For each request; an event stream sends a keep-alive comment far more often."""
POLL_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 60.0
"""How long `wait` goes on while the API does not answer at all: a rolling restart takes less."""

M = TypeVar("M", bound=BaseModel)

OnProgress = Callable[[JobView], None]


def _with_subclasses(error: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield error
    for child in error.__subclasses__():
        yield from _with_subclasses(child)


ERRORS: Final = {
    error.code: error for error in _with_subclasses(ServiceError) if error.__module__ == ServiceError.__module__
}
"""Problem code -> exception class; an unknown code raises a plain ServiceError."""


class Client:
    """Thread-safe.  Use it as a context manager, or call `close`."""

    def __init__(self, base_url: str = DEFAULT_URL, key: str | None = None) -> None:
        """Raises Unauthenticated for a malformed key, and BadSettings for a malformed address."""
        # Results redirect to the object storage: httpx sends the header to the API's own origin only.
        headers = {} if key is None else {"Authorization": f"Bearer {ApiKey.parse(key).text}"}
        try:
            self._http = httpx.Client(base_url=base_url, headers=headers, timeout=TIMEOUT, follow_redirects=True)
        except httpx.InvalidURL as error:
            raise BadSettings(f"the API's address is none: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit(
        self, request: JobRequest | None = None, *, idempotency_key: str | None = None, **fields: Any
    ) -> JobView:
        """A new job, from a request or from a request's fields; with a key, one job however often it is sent.

        Raises InvalidRequest; KeyReused where the key came with another request, and Gone where its job is deleted;
        LimitReached, which may say in `retry_after` when to try again.
        """
        if request is None:
            with validation_errors_as_invalid_request():
                request = JobRequest(**fields)
        elif fields:
            raise TypeError("give either a request or its fields")
        body = request.model_dump_json(exclude_none=True, exclude_unset=True)
        headers = {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return _parse_answer(JobView, self._request("POST", "/jobs", content=body, headers=headers))

    def upload_image(self, path: str | Path) -> UploadedImage:
        """A PNG, JPEG or WebP; its id is the `image` of any number of jobs, until it expires.

        Raises InvalidRequest for anything else, BodyTooLarge, and LimitReached.
        """
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._request("POST", "/images", content=Path(path).read_bytes(), headers=headers)
        return _parse_answer(UploadedImage, answer)

    def delete_image(self, image_id: str) -> None:
        """Raises Conflict while a job that begins with it has not ended, and NotFound."""
        self._request("DELETE", f"/images/{image_id}")

    def get(self, job_id: str) -> JobView:
        """Raises NotFound."""
        return _parse_answer(JobView, self._request("GET", f"/jobs/{job_id}"))

    def jobs(self, *, status: JobStatus | None = None, after: str | None = None, limit: int = 20) -> JobPage:
        """Newest first; a page's `next` is the `after` of the following one."""
        asked = {"status": status, "after": after, "limit": limit}
        return _parse_answer(
            JobPage, self._request("GET", "/jobs", params={k: v for k, v in asked.items() if v is not None})
        )

    def wait(self, job_id: str, on_progress: OnProgress = lambda _: None, timeout: float | None = None) -> JobView:
        """The job as it ended, whichever way.  `on_progress` sees every change on the way, and the end.

        Raises TimeoutError after `timeout` seconds (the job goes on), and Unavailable where the API has not answered
        for `PATIENCE_SECONDS`.
        """
        deadline = _Deadline(timeout)
        seen: JobView | None = None
        try:
            with closing(self._events(job_id, deadline)) as events:
                for seen in events:
                    on_progress(seen)
        except Unavailable:
            pass  # poll instead: a proxy may block the stream, or the API restarts
        return seen if seen is not None and seen.status.is_terminal else self._poll(job_id, on_progress, deadline, seen)

    def download(self, job_id: str, path: str | Path) -> None:
        """The video.  `path` appears whole or not at all.  Raises Conflict while there is none."""
        self._save(f"/jobs/{job_id}/content", Path(path))

    def download_preview(self, job_id: str, path: str | Path) -> None:
        """The film strip, as PNG.  Raises Conflict while there is none."""
        self._save(f"/jobs/{job_id}/preview", Path(path))

    def plan(self, job_id: str) -> Plan:
        """Raises Conflict while there is none."""
        return _parse_answer(Plan, self._request("GET", f"/jobs/{job_id}/plan"))

    def cancel(self, job_id: str) -> JobView:
        """The job, canceled or canceling; as it was, if it had ended."""
        return _parse_answer(JobView, self._request("POST", f"/jobs/{job_id}/cancel"))

    def delete(self, job_id: str) -> None:
        """Forget an ended job and its files.  Raises Conflict while it has not ended."""
        self._request("DELETE", f"/jobs/{job_id}")

    def deliveries(self, job_id: str) -> Deliveries:
        """What came of the job's webhook."""
        return _parse_answer(Deliveries, self._request("GET", f"/jobs/{job_id}/deliveries"))

    def webhook_secret(self) -> str:
        """What webhooks to you are signed with.  Raises NotFound where the service sends none."""
        return _parse_answer(WebhookSecret, self._request("GET", "/webhooks/secret")).secret

    def backbones(self) -> tuple[BackboneView, ...]:
        return _parse_answer(BackboneList, self._request("GET", "/backbones")).backbones

    def overview(self) -> Overview:
        """The service at a glance."""
        return _parse_answer(Overview, self._request("GET", "/overview"))

    def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        with _errors_as_unavailable():
            response = self._http.request(method, path, **content)
        _raise_for_problem(response)
        return response

    @contextmanager
    def _stream(self, path: str, timeout: httpx.Timeout = TIMEOUT) -> Iterator[httpx.Response]:
        with _errors_as_unavailable(), self._http.stream("GET", path, timeout=timeout) as response:
            if not response.is_success:
                response.read()
            _raise_for_problem(response)
            yield response

    def _events(self, job_id: str, deadline: "_Deadline") -> Generator[JobView, None, None]:
        """The job now and after each change, until the stream ends."""
        with self._stream(f"/jobs/{job_id}/events", deadline.shorten(TIMEOUT)) as response:
            for line in _lines(response):
                deadline.check(job_id)  # at every keep-alive, too
                name, _, value = line.partition(b":")
                if name == b"data":
                    yield _parse(JobView, value, response.url)

    def _poll(self, job_id: str, on_progress: OnProgress, deadline: "_Deadline", seen: JobView | None) -> JobView:
        silent_since: float | None = None
        while True:
            try:
                job = self.get(job_id)
            except Unavailable:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > PATIENCE_SECONDS:
                    raise
            else:
                silent_since = None
                if seen is None or job.updated_at != seen.updated_at:
                    on_progress(job)
                if job.status.is_terminal:
                    return job
                seen = job
            deadline.check(job_id)
            time.sleep(POLL_SECONDS)

    def _save(self, url: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            with self._stream(url) as response, partial.open("xb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


class _Deadline:
    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def check(self, job_id: str) -> None:
        """Raises TimeoutError."""
        if self._end is not None and time.monotonic() >= self._end:
            raise TimeoutError(f"job '{job_id}' has not ended within {self._seconds:g} s")

    def shorten(self, timeout: httpx.Timeout) -> httpx.Timeout:
        """The same timeouts, none longer than what is left."""
        if self._end is None:
            return timeout
        left = max(0.1, self._end - time.monotonic())
        return httpx.Timeout(**{kind: min(left, limit) for kind, limit in timeout.as_dict().items() if limit})


def _lines(response: httpx.Response) -> Iterator[bytes]:
    """Split at newlines alone: `str.splitlines` also splits at separators that a prompt may contain."""
    rest = b""
    for chunk in response.iter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _parse_answer(model: type[M], response: httpx.Response) -> M:
    return _parse(model, response.content, response.url)


def _parse(model: type[M], content: bytes, url: httpx.URL) -> M:
    """Ignores fields that a newer API has added.  Raises ServiceError for anything else that does not fit."""
    try:
        return model.model_validate_json(content, extra="ignore")
    except ValidationError:
        raise ServiceError(f"{_redact(url)} answered with something that is no {model.__name__}") from None


@contextmanager
def _errors_as_unavailable() -> Iterator[None]:
    try:
        yield
    except httpx.RequestError as error:  # by the API, or by the storage that it redirects to
        address = _redact(error.request.url)
        raise Unavailable(f"{address} does not answer: {error or type(error).__name__}") from error
    except httpx.InvalidURL as error:  # whatever was given as a job's id
        raise InvalidRequest(str(error)) from error


def _redact(url: httpx.URL) -> httpx.URL:
    """Without query and password, which may be secret."""
    return url.copy_with(query=None, userinfo=b"")


def _raise_for_problem(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        problem = Problem.model_validate_json(response.content, extra="ignore")
    except ValidationError:  # a proxy's page, or the storage's XML
        error = Unavailable if response.status_code >= 500 else ServiceError
        raise error(f"{_redact(response.url)} answered {response.status_code}") from None
    wait = response.headers.get("Retry-After", "")
    retry_after = int(wait) if wait.isdigit() else None
    raise ERRORS.get(problem.code, ServiceError)(problem.detail, problem.violations, retry_after)
