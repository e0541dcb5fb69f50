"""What Prometheus asks the planner for.  One process, one registry."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from planner_service.explanation import Explained
from planner_service.language_model.completion import Completion
from planner_service.reasoning import Planner, Rejected

PLAN_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0)
"""Seconds: the parser takes hundredths, a language model's four completions minutes."""


class PlannerMetrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._plans = Counter(
            "planner_plans", "Plans asked for, by planner and outcome.", ["planner", "outcome"], registry=self._registry
        )
        self._seconds = Histogram(
            "planner_plan_seconds", "Time to a plan.", ["planner"], buckets=PLAN_BUCKETS, registry=self._registry
        )
        self._repairs = Counter(
            "planner_repairs",
            "Answers that broke a rule and were asked for again.",
            ["planner"],
            registry=self._registry,
        )
        self._fallbacks = Counter(
            "planner_fallbacks", "Plans by the parser in place of the language model.", registry=self._registry
        )
        self._completions = Histogram(
            "planner_language_model_seconds",
            "Time to a completion, retries included.",
            ["outcome"],
            buckets=PLAN_BUCKETS,
            registry=self._registry,
        )
        self._tokens = Counter(
            "planner_language_model_tokens", "Tokens, as its server counts them.", ["kind"], registry=self._registry
        )

    def count_plan(self, planner: str, outcome: str, seconds: float) -> None:
        self._plans.labels(planner, outcome).inc()
        self._seconds.labels(planner).observe(seconds)

    def count_fallback(self) -> None:
        self._fallbacks.inc()

    def count_completion(self, completion: Completion) -> None:
        self._completions.labels(completion.outcome).observe(completion.seconds)
        self._tokens.labels("prompt").inc(completion.prompt_tokens)
        self._tokens.labels("completion").inc(completion.completion_tokens)

    def watch(self, planner: Planner) -> Planner:
        """The same planner, its repairs counted."""
        return _Watched(planner, self._repairs)

    def expose(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self._registry)


class _Watched:
    def __init__(self, planner: Planner, repairs: Counter) -> None:
        self.name, self.model, self.version = planner.name, planner.model, planner.version
        self._planner = planner
        self._repairs = repairs.labels(planner.name)

    def read(self, prompt: str, seed: int, rejected: Rejected | None) -> Explained:
        if rejected is not None:
            self._repairs.inc()
        return self._planner.read(prompt, seed, rejected)

    def check(self) -> None:
        self._planner.check()
