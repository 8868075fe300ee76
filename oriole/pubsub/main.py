"""The two commands: options in, exit status out, and every failure a sentence on standard error."""

import asyncio
import sys
from collections.abc import Coroutine

from oriole.pubsub import mqtt
from oriole.pubsub.failure import INTERRUPTED, TIMED_OUT, Failure
from oriole.pubsub.options import Connection, read_pub, read_sub
from oriole.pubsub.printing import Printer, PrintError
from oriole.stdout import abandon


def main_pub(argv: list[str]) -> int:
    """`oriole pub`: 0 when everything is published (with QoS 1 and 2: acknowledged), 1 when refused or not connected,
    2 for bad usage, 27 when `-W` has passed.
    """
    try:
        options = read_pub(argv, sys.stdin.buffer)
        if options.connection.endpoint.scheme == "coap":
            from oriole.pubsub import coap

            return _run(options.connection, coap.publish(options))
        return _run(options.connection, mqtt.publish(options, sys.stdin.buffer))
    except Failure as failure:
        return _report("pub", failure)


def main_sub(argv: list[str]) -> int:
    """`oriole sub`: 0 after `-C` messages or when nobody reads the output any more, 1 when refused or not connected,
    2 for bad usage, 27 when `-W` has passed.
    """
    try:
        options = read_sub(argv)
        printer = Printer(sys.stdout.buffer, with_topic=options.verbose, as_json=options.json)
        if options.connection.endpoint.scheme == "coap":
            from oriole.pubsub import coap

            return _run(options.connection, coap.subscribe(options, printer))
        return _run(options.connection, mqtt.subscribe(options, printer))
    except PrintError as failure:
        abandon(sys.stdout.buffer)
        return _report("sub", failure)
    except Failure as failure:
        return _report("sub", failure)
    except BrokenPipeError:
        abandon(sys.stdout.buffer)
        return 0


def _run(connection: Connection, work: Coroutine[None, None, None]) -> int:
    async def in_time() -> None:
        async with asyncio.timeout(connection.timeout_s):
            await work

    try:
        asyncio.run(in_time())
    except TimeoutError:
        return TIMED_OUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _report(command: str, failure: Failure) -> int:
    print(f"oriole {command}: {failure}", file=sys.stderr)
    return failure.status
