"""Work over processes, of one thread each, so that the results do not depend on how many there are."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import diffusers
import torch
import transformers

Part = TypeVar("Part")
Result = TypeVar("Result")


def over_processes(
    function: Callable[[Part], Result], parts: Sequence[Part], processes: int
) -> Iterator[tuple[Part, Result]]:
    """Each part and function(part), in the order of the parts; in this very process where one is enough."""
    if processes == 1:
        threads = torch.get_num_threads()
        _start()
        try:
            yield from ((part, function(part)) for part in parts)
        finally:
            torch.set_num_threads(threads)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_start) as pool:
        yield from zip(parts, pool.map(function, parts), strict=True)


def _start() -> None:
    torch.set_num_threads(1)
    quiet()


def quiet() -> None:
    """No progress bars while models load."""
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
