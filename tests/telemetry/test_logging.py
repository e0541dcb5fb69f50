"""What a log line looks like, ours and the libraries'."""

import json
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest
import structlog

from telemetry.logging import set_up_logging


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "rq.worker")}
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def lines(capture: pytest.CaptureFixture[str]) -> list[str]:
    output, errors = capture.readouterr()
    assert output == ""
    return errors.splitlines()


def test_an_event_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json")
    with structlog.contextvars.bound_contextvars(job_id="abc"):
        structlog.get_logger("workers").info("job_started", attempt=1)
    (line,) = lines(capsys)
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "job_started", "attempt": 1, "job_id": "abc", "level": "info", "logger": "workers"}


def test_a_librarys_event_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json")
    with structlog.contextvars.bound_contextvars(job_id="abc"):
        logging.getLogger("uvicorn").info("%d clients", 3)
    (line,) = lines(capsys)
    assert json.loads(line).items() >= {"event": "3 clients", "job_id": "abc", "logger": "uvicorn"}.items()


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("console")
    structlog.get_logger("workers").info("job_started", attempt=1)
    (line,) = lines(capsys)
    assert "job_started" in line
    assert "attempt=1" in line
    assert "\x1b" not in line  # no colours into a file


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_tracebacks_keep_variables_to_themselves(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json" if log_format == "json" else "console")
    password = "".join(["hunter", "2"])
    try:
        raise KeyError(len(password))
    except KeyError as error:
        structlog.get_logger("workers").warning("job_failed", exc_info=error)
    text = "\n".join(lines(capsys))
    assert "KeyError: 7" in text
    assert "test_logging.py" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("name", ["httpx", "rq.worker"])
def test_talkative_libraries_are_heard_when_something_is_wrong(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json")
    logging.getLogger(name).info("every call")
    logging.getLogger(name).warning("something is wrong")
    (line,) = lines(capsys)
    assert json.loads(line)["event"] == "something is wrong"


def test_libraries_with_handlers_of_their_own_speak_like_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("transformers")
    library.addHandler(logging.StreamHandler(sys.stderr))
    set_up_logging("json")
    logging.getLogger("transformers.tokenization").warning("truncated")
    (line,) = lines(capsys)
    assert json.loads(line)["event"] == "truncated"


def test_warnings_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        set_up_logging("json")
        warnings.warn("use something newer", DeprecationWarning, stacklevel=1)
    (line,) = lines(capsys)
    assert "use something newer" in json.loads(line)["event"]


def test_setting_up_twice_says_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("console")
    set_up_logging("json")
    structlog.get_logger("workers").info("once")
    (line,) = lines(capsys)
    assert json.loads(line)["event"] == "once"
