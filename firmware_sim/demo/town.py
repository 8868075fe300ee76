"""The demo's town: a broker, and in each of two houses an edge behind a link, with cables to its relays."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.fleet.scenario import Scenario
from firmware_sim.links.network import Network
from firmware_sim.links.orders import LinkModel
from oriole.urls import Endpoint

from .processes import Program

HOUSES_WITH_EDGE = ("a", "b")
CABLE = LinkModel(rate_kbit=92)  # 115,200 baud: ten bits on the line for each byte


@dataclass(slots=True, frozen=True)
class Town:
    """What runs, and where the scenario's addresses are."""

    programs: list[Program]
    addresses: dict[str, str | list[str]]


@contextlib.asynccontextmanager
async def town(scenario: Scenario, network: Network) -> AsyncIterator[Town]:
    """Start everything, and stop it in the end. Raises `ProgramError` and `NetworkError`."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oriole-demo-")))
        built = Town([], {})

        async def start(title: str, *arguments: str) -> Program:
            program = Program(title, folder / f"{title.replace(' ', '-')}.log")
            stack.push_async_callback(program.stop)
            await program.start(*arguments)
            built.programs.append(program)
            return program

        listen = ("--listen", "mqtt://127.0.0.1:0", "--listen", "coap://127.0.0.1:0")
        broker = await start("broker", "broker", *listen)
        built.addresses["centre"] = broker.address("mqtt")
        built.addresses["centre_coap"] = broker.address("coap")
        centre = Endpoint.parse(broker.address("mqtt"))
        for house in HOUSES_WITH_EDGE:
            link = f"dsl_{house}"
            await network.add(link, scenario.links[link])
            port = await network.forward(link, "tcp", centre.host, centre.port)
            cables = [
                await _cable(network, f"cable_{house}{n}") for n in range(scenario.populations[f"relay_{house}"].count)
            ]
            lines = [argument for gateway, _ in cables for argument in ("--serial", f"serial://{gateway}")]
            edge = await start(
                f"edge {house}", "edge", "--name", house, "--uplink", f"mqtt://127.0.0.1:{port}", *listen, *lines
            )
            built.addresses[f"edge_{house}"] = edge.address("mqtt")
            built.addresses[f"edge_{house}_coap"] = edge.address("coap")
            built.addresses[f"edge_{house}_serial"] = [f"serial://{device}" for _, device in cables]
        yield built


async def _cable(network: Network, name: str) -> tuple[str, str]:
    await network.add(name, CABLE)
    return await network.cable(name)
