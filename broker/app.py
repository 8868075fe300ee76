"""`oriole broker`: reads its configuration, opens what it names, says that it is ready, serves."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import ExitStack

from broker.listeners.loop import Loop
from broker.node import ListenError, Node
from oriole.config import BrokerConfig, ProgramConfig, from_command_line
from oriole.data_dir import DataDir, DataDirError
from oriole.logging import Log, set_up

SWITCH_S = 0.0005
"""How long the loop may keep the journal's thread waiting, which has a commit to begin: the interpreter's 5 ms would be
most of what a publisher waits for its acknowledgement."""


def main(argv: list[str]) -> int:
    """Run a broker with the command line `argv` until it is told to stop; the exit status."""
    config = from_command_line("oriole broker", argv, BrokerConfig)
    return serve("oriole broker", config, lambda loop, data: Node(config, loop, data))


def serve(program: str, config: ProgramConfig, make_node: Callable[[Loop, DataDir | None], Node]) -> int:
    """Run the node that `make_node` makes, from its data folder to its last byte; the exit status.

    A folder or an address that cannot be had is a line on stderr and exit status 2.
    """
    set_up(config.log_level)
    with ExitStack() as stack:
        try:
            data = stack.enter_context(DataDir(config.data)) if config.data is not None else None
            loop = Loop()
            stack.callback(loop.close)
            loop.run_until_complete(_serve(program, config, lambda: make_node(loop, data), data))
        except (DataDirError, ListenError) as error:
            print(f"{program}: {error}", file=sys.stderr)
            return 2
    return 0


async def _serve(program: str, config: ProgramConfig, make_node: Callable[[], Node], data: DataDir | None) -> None:
    node = make_node()
    node.obey_signals()
    try:
        node.open()
    except ListenError:
        await node.leave()
        raise
    if node.journal is not None:
        sys.setswitchinterval(SWITCH_S)
    Log("node").info(node.durability, data=data.path if data is not None else "none")
    print(f"{program} ready: {' '.join(map(str, node.addresses))}", flush=True)
    gc.freeze()  # what start-up made lives as long as the process: the collector need not walk it again
    await node.run()
