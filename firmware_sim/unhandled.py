"""What a callback raises and nobody handles: asyncio would log it and go on, and a verdict would say nothing of it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def or_raise(work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work`. What a callback raises meanwhile, or a task that nobody awaits, cancels it and is raised here."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    raised: list[Exception] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Exception):
            loop.default_exception_handler(context)
        elif not raised:  # while `work` cleans up it is not to be disturbed
            raised.append(error)
            task.cancel()

    loop.set_exception_handler(note)
    try:
        result = await task
    except (asyncio.CancelledError, Exception):
        if not raised:
            raise
    finally:
        loop.set_exception_handler(None)
    if raised:
        raise raised[0]
    return result


def tell(task: asyncio.Task[None]) -> None:
    """To be called when a task is done that nobody awaits: what it raised is heard of now, not when it is collected."""
    if not task.cancelled():
        task.result()
