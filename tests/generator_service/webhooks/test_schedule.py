"""Nine attempts in about 22 hours."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from generator_service.webhooks.schedule import JITTER, PAUSES, next_attempt

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 5), (2, 30), (3, 120), (4, 600), (5, 3600), (6, 10800), (7, 21600), (8, 43200)]
)
def test_pauses_grow_and_vary_by_a_fifth(attempts: int, seconds: int) -> None:
    assert next_attempt(attempts, NOW, lambda: 0.5) == NOW + timedelta(seconds=seconds)
    assert next_attempt(attempts, NOW, lambda: 0.0) == NOW + timedelta(seconds=0.8 * seconds)
    assert next_attempt(attempts, NOW, lambda: 1.0) == NOW + timedelta(seconds=1.2 * seconds)


def test_the_ninth_attempt_is_the_last() -> None:
    assert next_attempt(9, NOW) is None


def test_the_documentation_has_the_same_pauses(repository: Path) -> None:
    text = (repository / "docs" / "webhooks.md").read_text()
    assert "after 5 s, 30 s, 2 min, 10 min, 1 h, 3 h, 6 h and 12 h, each a fifth more or less" in text
    assert [pause.total_seconds() for pause in PAUSES] == [5, 30, 120, 600, 3600, 10800, 21600, 43200]
    assert JITTER == 1 / 5
