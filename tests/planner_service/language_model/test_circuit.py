"""The circuit breaker's table, row by row, on a clock that is turned by hand."""

import pytest

from planner_service.language_model.circuit import Circuit, CircuitOpen


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(threshold=3, rest=10.0, clock=clock)


def fail(circuit: Circuit, times: int) -> None:
    for _ in range(times):
        circuit.enter()
        circuit.record_failure()


def test_closed_it_lets_calls_through_until_the_third_failure_in_a_row(circuit):
    fail(circuit, 2)
    circuit.enter()
    circuit.record_success()
    fail(circuit, 3)
    with pytest.raises(CircuitOpen, match="3 failures in a row, next attempt within 10 s"):
        circuit.enter()


def test_open_it_refuses_until_it_has_rested(circuit, clock):
    fail(circuit, 3)
    clock.now = 109.9
    with pytest.raises(CircuitOpen):
        circuit.enter()
    clock.now = 110.0
    circuit.enter()


def test_half_open_it_lets_one_through(circuit, clock):
    fail(circuit, 3)
    clock.now = 110.0
    circuit.enter()
    with pytest.raises(CircuitOpen):
        circuit.enter()


def test_half_open_a_success_closes_it(circuit, clock):
    fail(circuit, 3)
    clock.now = 110.0
    circuit.enter()
    circuit.record_success()
    fail(circuit, 2)
    circuit.enter()


def test_half_open_a_failure_opens_it_again(circuit, clock):
    fail(circuit, 3)
    clock.now = 110.0
    circuit.enter()
    clock.now = 112.0
    circuit.record_failure()
    clock.now = 121.9
    with pytest.raises(CircuitOpen):
        circuit.enter()
    clock.now = 122.0
    circuit.enter()


def test_a_trial_that_never_ends_is_followed_by_another(circuit, clock):
    fail(circuit, 3)
    clock.now = 110.0
    circuit.enter()
    clock.now = 120.0
    circuit.enter()
