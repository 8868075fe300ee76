"""An end of a relayed connection whose peer is gone before anybody has noticed."""

import asyncio
import select
import socket

from firmware_sim.links.link import Link
from firmware_sim.links.model import LinkModel
from firmware_sim.links.tcp import Connection
from firmware_sim.ports.silence import abort


def test_the_end_of_a_connection_comes_to_a_peer_that_has_reset_it() -> None:
    async def scene() -> bool:
        with socket.create_server(("127.0.0.1", 0)) as server:
            connection = Connection(Link("dsl", LinkModel(), seed=1), *server.getsockname()[:2], {})
            far = connection.far
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: far, *server.getsockname()[:2])
            peer, _ = server.accept()
            abort(peer)
            select.select([transport.get_extra_info("socket")], [], [], 5)  # the system knows, the loop does not
            far.deliver(b"", 0)
            await asyncio.sleep(0)
            return transport.is_closing()

    assert asyncio.run(scene())
