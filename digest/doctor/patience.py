"""A time for a piece of work as a whole: servers that answer a byte a second would have no end."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def in_time(work: Callable[[], _T], seconds: float) -> _T:
    """What *work* returns or raises; TimeoutError where it takes longer, and then it is left behind."""
    answers: queue.SimpleQueue[tuple[list[_T], Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(([work()], None))
        except Exception as error:  # noqa: BLE001  (raised again below, where it is awaited)
            answers.put(([], error))

    threading.Thread(target=run, daemon=True, name="doctor").start()
    try:
        results, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"was not done after {seconds:g} seconds") from None
    if error is not None:
        raise error
    return results[0]
