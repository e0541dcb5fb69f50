"""The error tree and how it travels."""

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from shared import errors
from shared.errors import Problem, ServiceError, Violation, WeightsMissing, invalid_request


def tree(root: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = re.findall(r"^[ │├└─]*(\w+) +(\d{3})  (\w+)", errors.__doc__ or "", flags=re.MULTILINE)
    assert drawn == [(error.__name__, str(error.status), error.code) for error in tree(ServiceError)]


def test_codes_are_unique_and_outages_are_retryable() -> None:
    codes = [error.code for error in tree(ServiceError)]
    assert len(set(codes)) == len(codes)
    assert all(error.retryable == (error.status == 503) for error in tree(ServiceError))


def test_an_error_travels_as_problem_json() -> None:
    error = WeightsMissing("no weights in /models", [Violation(field="backbone", message="not here")])
    problem = Problem.model_validate_json(error.problem.model_dump_json())
    assert problem.status == 500
    assert problem.code == "weights_missing"
    assert problem.detail == "no weights in /models"
    assert problem.violations == (Violation(field="backbone", message="not here"),)


class Body(BaseModel):
    seed: int
    names: list[str]


def test_pydantics_errors_become_violations_that_name_the_fields() -> None:
    with pytest.raises(ValidationError) as refusal:
        Body.model_validate({"seed": "x", "names": ["a", 3]})
    error = invalid_request(refusal.value)
    assert [violation.field for violation in error.violations] == ["seed", "names.1"]
    assert error.detail.startswith("seed: Input should be a valid integer")


def test_fastapis_leading_body_is_no_part_of_a_field() -> None:
    error = invalid_request([{"loc": ("body", "plan", "frames"), "msg": "Value error, too many"}])
    assert error.violations == (Violation(field="plan.frames", message="too many"),)
