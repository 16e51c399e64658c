"""Work on many items at once, with results in the order of the items."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def map_ordered(function: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """Apply ``function`` in ``workers`` threads and yield the results in order; 0 works in the caller's thread.

    Threads, not processes: decoding and resizing release the interpreter lock, and nothing has to be copied between
    processes. At most four items a worker are under way, so that memory stays bounded however long ``items`` is.
    """
    if workers == 0:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
