"""What `Retry-After` says, in seconds or as a date."""

import pytest

from planner_service.language_model.retry_after import Pause, retry_after

NOON, LATER = "Sun, 29 Nov 2026 12:00:00 GMT", "Sun, 29 Nov 2026 12:01:30 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": LATER, "date": NOON}, 90.0),  # whatever this machine's clock says
        ({"retry-after": NOON, "date": LATER}, 0.0),
        ({"retry-after": "Sun, 01 Nov 2020 12:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "9" * 5000}, 999999999.0),
        ({}, None),
    ],
)
def test_seconds_from_now(headers, seconds):
    assert retry_after(headers) == seconds


def test_the_longer_of_two_wishes_counts_and_no_more_than_the_longest():
    now = [100.0]
    pause = Pause(longest=60.0, clock=lambda: now[0])
    assert pause.remaining == 0.0
    pause.ask(10.0)
    pause.ask(5.0)
    assert pause.remaining == 10.0
    pause.ask(1000.0)
    assert pause.remaining == 60.0
    now[0] = 161.0
    assert pause.remaining == 0.0
