"""Job changes for event streams: one poll of Redis per watched job, however many streams."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import anyio

from generator_service.jobs.reading import Look, Reader
from shared.errors import NotFound, Unavailable

POLL_SECONDS: Final = 0.25


@dataclass
class _Watch:
    """A job with followers."""

    changed: asyncio.Event
    """Set at the next change, when another one takes its place."""
    followers: int = 0
    look: Look | None = None
    """The latest; None before the first one."""


class JobWatcher:
    """Of one event loop."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._watches: dict[str, tuple[_Watch, asyncio.Task[None]]] = {}

    async def follow(self, job_id: str, stopping: anyio.Event) -> AsyncGenerator[Look, None]:
        """The job now and after each change, until it has ended, is deleted, or `stopping` is set.

        Lives through an outage of Redis.
        """
        if job_id not in self._watches:
            watch = _Watch(asyncio.Event())
            self._watches[job_id] = watch, asyncio.create_task(self._poll(job_id, watch))
        watch, polling = self._watches[job_id]
        watch.followers += 1
        seen: Look | None = None
        try:
            while not stopping.is_set():
                changed = watch.changed
                if watch.look is not None and watch.look != seen:
                    seen = watch.look
                    yield seen
                elif polling.done():
                    polling.result()  # raises what ended it early
                    return
                else:
                    with anyio.move_on_after(POLL_SECONDS):
                        await changed.wait()
        finally:
            watch.followers -= 1
            if not watch.followers:
                polling.cancel()
                del self._watches[job_id]

    async def _poll(self, job_id: str, watch: _Watch) -> None:
        while watch.look is None or not watch.look.record.status.is_terminal:
            try:
                look = await self._reader.look(job_id)
            except NotFound:
                return
            except Unavailable:
                pass  # the clients are kept waiting, as the job is
            else:
                if look != watch.look:
                    watch.look = look
                    watch.changed.set()
                    watch.changed = asyncio.Event()
            await asyncio.sleep(POLL_SECONDS)
