"""`oriole edge`: reads its configuration, opens what it names, says that it is ready, serves."""

from __future__ import annotations

from broker.app import serve
from edge_node.node import EdgeNode
from oriole.config import EdgeConfig, from_command_line


def main(argv: list[str]) -> int:
    """Run an edge with the command line `argv` until it is told to stop; the exit status."""
    config = from_command_line("oriole edge", argv, EdgeConfig)
    program = f"oriole edge {config.name}"
    return serve(program, config, lambda loop, data: EdgeNode(config, loop, data))
