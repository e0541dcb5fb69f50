"""Whose id a request has."""

import pytest

from telemetry.request_id import request_id


@pytest.mark.parametrize(
    "given",
    [
        "7",
        "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
        "Root=1-67891233-abcdef012345",
        "a" * 128,
        "a/b+c@d:e_f.g",
    ],
)
def test_a_well_formed_one_is_the_callers(given: str) -> None:
    assert request_id(given) == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "two words", "line\nbreak", '{"job_id": 1}', "é", "٣"])
def test_any_other_is_replaced_by_one_of_our_own(given: str | None) -> None:
    ours = request_id(given)
    assert ours != given
    assert request_id(ours) == ours
    assert request_id(given) != ours
