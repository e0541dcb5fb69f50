"""The error tree and its table in the docstring agree; problems say what they are."""

import re

import pytest
from pydantic import BaseModel, Field, ValidationError

from shared import errors
from shared.errors import InvalidRequest, PlanningFailed, ServiceError, Violation, invalid_request, violations_of


def all_errors(kind=ServiceError):
    """Of the services' common tree; a part's own kinds are its own business."""
    shared = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(error for child in shared for error in all_errors(child))]


@pytest.mark.parametrize("error", all_errors())
def test_every_error_stands_in_the_docstring_with_status_and_code(error):
    assert re.search(rf"\b{error.__name__}\s+{error.status}\s+{error.code}\b", errors.__doc__)


def test_codes_are_unique():
    codes = [error.code for error in all_errors()]
    assert len(codes) == len(set(codes))


def test_a_problem_carries_the_violations():
    problem = PlanningFailed("no", [Violation(field="prompt", message="empty")]).problem
    assert (problem.status, problem.code, problem.retryable) == (422, "planning_failed", False)
    assert problem.violations[0].field == "prompt"


class Body(BaseModel):
    frames: int = Field(le=241)


def test_validation_errors_name_field_and_limit():
    with pytest.raises(ValidationError) as caught:
        Body(frames=300)
    error = invalid_request(caught.value)
    assert isinstance(error, InvalidRequest)
    assert error.detail == "frames: Input should be less than or equal to 241"
    (violation,) = violations_of([{"loc": ("body", "plan", 0), "msg": "Value error, too thin"}])
    assert (violation.field, violation.message) == ("plan.0", "too thin")


def test_what_a_client_made_up_is_told_in_short_and_can_be_written():
    names = ["x" * 5000, "half \ud800", *map(str, range(100))]
    error = invalid_request([{"loc": ("body", name), "msg": "Extra inputs are not permitted"} for name in names])
    assert [violation.field for violation in error.violations[:2]] == ["x" * 100, "half ?"]
    assert len(error.violations) == 50
    assert len(error.problem.model_dump_json().encode()) < 6000
