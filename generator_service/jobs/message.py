"""RQ's job, of which whoever can write to Redis chooses no code: by itself RQ imports and calls whatever a message
names, and sends requests wherever it says.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rq.exceptions import NoSuchJobError
from rq.job import Job

PLAN_FUNCTION: Final = "generator_service.workers.plan_worker.plan"
RENDER_FUNCTION: Final = "generator_service.workers.render_worker.render"

_IGNORED: Final = frozenset({b"success_callback_name", b"failure_callback_name", b"stopped_callback_name", b"webhooks"})


class Message(Job):  # type: ignore[misc]  # RQ is not typed
    """Has one of two functions called, and nothing else."""

    @property
    def func(self) -> Callable[..., Any]:
        """Raises ValueError for any other: RQ then takes the message for failed."""
        if self.func_name not in (PLAN_FUNCTION, RENDER_FUNCTION) or self.instance is not None:
            raise ValueError("the message names a function that is none of this service's")
        function: Callable[..., Any] = super().func
        return function

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Raises NoSuchJobError, which RQ passes over, for what cannot be read; RQ's own errors would end a worker."""
        try:
            super().restore({name: value for name, value in raw_data.items() if name not in _IGNORED})
        except NoSuchJobError:
            raise
        except Exception as error:
            raise NoSuchJobError(f"message '{self.id}' cannot be read: {error}") from error
