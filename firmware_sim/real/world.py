"""A world in real time: nodes are programs, links are processes, devices real clients."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from firmware_sim.devices.clock import RealClock
from firmware_sim.devices.port import Access, Port
from firmware_sim.fleet.world import Glance, Usage, WorldError
from firmware_sim.links.model import LinkModel
from firmware_sim.links.network import NetworkError
from firmware_sim.load.process import allow_open_files
from firmware_sim.ports.real import Address, new_port
from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.nodes import Node, parse_address, scheme
from firmware_sim.scenario.plan import Action
from firmware_sim.scenario.roster import Member, roster
from oriole.typed_yaml import convert
from oriole.urls import Endpoint, SerialPort

from .carrier import BAUD_KBIT, Carrier, PacketCarrier, RelayCarrier
from .disk import Disks
from .programs import Program
from .wall_clock import WallClock

SCHEMES = ("mqtt", "coap")
CARRIES = {"mqtt": "tcp", "coap": "udp"}


class RealWorld:
    """See `firmware_sim.fleet.world.World`.

    Args:
        scenario: as it is to be run: compressed, where it is to be.
        seed: what links draw from.
        packets: whether links are networks of packets (root) rather than relays.
    """

    is_virtual = False

    def __init__(self, scenario: Scenario, seed: int, packets: bool = False) -> None:
        self._scenario = scenario
        self._seed = seed
        self.clock = RealClock()
        self.run = os.urandom(4).hex()
        self._members = {member.name: member for member in roster(scenario)}
        self._carrier: Carrier = PacketCarrier() if packets else RelayCarrier()
        self._stack = contextlib.AsyncExitStack()
        self.programs: dict[str, Program] = {}
        self._arguments: dict[str, list[str]] = {}
        self._cables: dict[str, tuple[str, str]] = {}
        self._addresses: dict[str, list[Address]] = {}  # by population, for those of one line each by device
        self._disks = Disks()
        self._clocks: dict[str, WallClock] = {}

    # ---- Its parts

    async def open(self) -> None:
        """See `World`."""
        allow_open_files()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="oriole-fleet-")))
        try:
            await self._carrier.open(self._stack)
            await self._open()
        except (NetworkError, OSError) as error:
            raise WorldError(str(error)) from error

    async def _open(self) -> None:
        scenario = self._scenario
        for name, model in scenario.links.items():
            await self._carrier.links.add(name, model, self._seed)
        for name, node in scenario.nodes.items():
            if node.kind != "foreign":
                await self._carrier.place(name)
        for member in self._members.values():
            if member.profile.speaks == "serial" and scenario.nodes[member.nodes[0]].kind == "edge":
                await self._lay_cable(member.name)
        for name in _from_the_top(scenario):
            await self._start_node(name)
        for name in scenario.populations:
            await self._find_addresses(name)

    async def _lay_cable(self, name: str) -> None:
        cable = f"cable {name}"
        await self._carrier.cables.add(cable, LinkModel(rate_kbit=BAUD_KBIT), self._seed)
        self._cables[name] = await self._carrier.cables.cable(cable)

    async def _start_node(self, name: str) -> None:
        node = self._scenario.nodes[name]
        folder = self._folder / name
        folder.mkdir()
        config = folder / "node.yaml"
        config.write_text(yaml.safe_dump(await self._config(name, node, folder)))
        self._arguments[name] = [node.kind, "--config", str(config)]
        if any(name in fault.targets for fault in self._scenario.faults if fault.verb == "fill_disk"):
            self._disks.make(folder / "data")
            self._stack.callback(self._disks.remove, folder / "data")
        if any(name in fault.targets for fault in self._scenario.faults if fault.verb == "jump_clock"):
            self._clocks[name] = WallClock(folder)
        program = self.programs[name] = Program(f"node {name}", folder / "log", self._carrier.settle(name))
        self._stack.push_async_callback(program.stop)
        await self._run(name)
        if node.kind == "edge" or node.kind == "broker":  # a next life has the same addresses
            arguments = [f"{scheme}://{self._carrier.listen_host}:{program.port(scheme)}" for scheme in SCHEMES]
            self._arguments[name] += [word for url in arguments for word in ("--listen", url)]

    async def _run(self, name: str) -> None:
        clock = self._clocks.get(name)
        await self.programs[name].start(self._arguments[name], clock.environment if clock is not None else None)

    async def _config(self, name: str, node: Node, folder: Path) -> dict[str, Any]:
        """What the node's configuration file says."""
        config: dict[str, Any] = {
            "listen": [f"{scheme}://{self._carrier.listen_host}:0" for scheme in SCHEMES],
            "allow_anonymous": True,
            "settlements": str(folder / "settlements"),
            **node.config,
        }
        if node.data:
            (folder / "data").mkdir()
            config["data"] = str(folder / "data")
        if node.kind == "edge":
            config["name"] = name
            config["serial"] = [
                f"serial://{self._cables[member.name][0]}"
                for member in self._members.values()
                if member.name in self._cables and member.nodes[0] == name
            ]
        if node.uplink:
            config["uplink"] = [await self._uplink(name, node)]
        return config

    async def _uplink(self, name: str, node: Node) -> str:
        above = self._scenario.nodes[node.uplink]
        if above.kind == "foreign":
            address = next(parse_address(url) for url in above.addresses if scheme(parse_address(url)) == "mqtt")
            assert isinstance(address, Endpoint)
            port = address.port
        else:
            port = self.programs[node.uplink].port("mqtt")
        host, port = await self._carrier.road(node.link, name, node.uplink, "tcp", port)
        return f"mqtt://{host}:{port}"

    async def _find_addresses(self, name: str) -> None:
        """Where the devices of a population connect to, node by node."""
        members = [member for member in self._members.values() if member.traits.population == name]
        first = members[0]
        if first.profile.speaks == "serial":
            for member in members:
                self._addresses[member.name] = [self._line(member)]
            return
        if first.population.link or len(first.nodes) > 1:
            await self._carrier.place(name)
        for node in first.nodes:
            self._addresses.setdefault(name, []).append(await self._address(first, node))

    def _line(self, member: Member) -> SerialPort:
        if member.name in self._cables:
            return SerialPort(self._cables[member.name][1])
        lines = [parse_address(url) for url in self._scenario.nodes[member.nodes[0]].addresses]
        return [line for line in lines if isinstance(line, SerialPort)][member.index]

    async def _address(self, member: Member, node: str) -> Endpoint:
        speaks, link = member.profile.speaks, member.population.link
        there = self._scenario.nodes[node]
        protocol: Any = CARRIES[speaks]
        if there.kind == "foreign":
            address = next(parse_address(url) for url in there.addresses if scheme(parse_address(url)) == speaks)
            assert isinstance(address, Endpoint)
            if not link:
                return address
            port = await self._carrier.cables.forward(link, protocol, address.host, address.port)
            return Endpoint(speaks, "127.0.0.1", port, address.username, address.password)
        port = self.programs[node].port(speaks)
        if not link and len(member.nodes) == 1:
            return Endpoint(speaks, "127.0.0.1", port)
        host, port = await self._carrier.road(link, member.traits.population, node, protocol, port)
        return Endpoint(speaks, host, port)

    # ---- What the fleet asks for

    def port(self, member: Member, access: Access) -> Port:
        """See `World`."""
        if member.profile.speaks == "serial":
            return new_port(access, self._addresses[member.name])
        addresses = self._addresses[member.traits.population]
        first = member.index % len(addresses)
        inside = self._carrier.inside(self._place(member))
        return new_port(access, addresses[first:] + addresses[:first], inside)

    def _place(self, member: Member) -> str:
        """Where the sockets of a device are: in its population's place, or at its node."""
        has_own = member.population.link or len(member.nodes) > 1
        return member.traits.population if has_own else member.nodes[0]

    def doors(self, population: str) -> list[tuple[str, int]]:
        """See `World`."""
        endpoints = [address for address in self._addresses[population] if isinstance(address, Endpoint)]
        return [(endpoint.host, endpoint.port) for endpoint in endpoints]

    def settle(self, population: str) -> Callable[[], None] | None:
        """See `World`."""
        member = next(each for each in self._members.values() if each.traits.population == population)
        return self._carrier.settle(self._place(member))

    async def act(self, action: Action) -> None:
        """See `World`."""
        try:
            await self._act(action)
        except (NetworkError, OSError) as error:
            raise WorldError(str(error)) from error

    async def _act(self, action: Action) -> None:
        links, cables, name = self._carrier.links, self._carrier.cables, action.to
        program = self.programs.get(name)
        match action.do:
            case "cut":
                await links.cut(name)
            case "heal":
                await links.heal(name)
            case "change":
                await links.change(name, convert(action.values["to"], LinkModel))
            case "restore":
                await links.change(name, self._scenario.links[name])
            case "readdress":
                await links.move(name)
            case "noise":
                await cables.disturb(f"cable {name}", action.values["share"])
            case "calm":
                await cables.disturb(f"cable {name}")
            case "unplug":
                await cables.unplug(f"cable {name}")
            case "plug":
                await cables.plug(f"cable {name}")
            case "fail" if program:
                if action.values["silently"]:
                    for link in self._links_of(name):
                        await links.move(link)
                await program.kill()
            case "power_on" if program:
                if not program.is_running:
                    await self._run(name)
            case "pause" | "go_on" if program:
                program.pause(action.do == "pause")
            case "fill_disk":
                self._disks.fill(self._folder / name / "data")
            case "free_disk":
                self._disks.free(self._folder / name / "data")
            case "jump_clock":
                self._clocks[name].jump(action.values["by_s"])
            case _:
                raise WorldError(f"nobody is called `{name}`, or it cannot {action.do}")

    def _links_of(self, node: str) -> list[str]:
        """The links that lead to a node and nowhere else: what others share is theirs too, and goes on."""
        roads: list[tuple[str, tuple[str, ...]]]
        roads = [(member.population.link, (end,)) for member in self._members.values() for end in member.nodes]
        roads += [(each.link, (name, each.uplink)) for name, each in self._scenario.nodes.items()]
        elsewhere = {link for link, ends in roads if node not in ends}
        return [link for link in dict.fromkeys(link for link, _ in roads) if link and link not in elsewhere]

    async def look(self) -> Glance:
        """See `World`."""
        try:
            counters = await self._carrier.links.count()
        except NetworkError:
            counters = {}
        return Glance({name: counters[name] for name in self._scenario.links if name in counters})

    def lags_ns(self) -> Sequence[int]:
        """See `World`."""
        return self.clock.lags_ns

    def usage(self) -> dict[str, Usage]:
        """See `World`."""
        return {name: program.usage() for name, program in self.programs.items()}

    def endings(self) -> list[str]:
        """See `World`."""
        programs = [ending for program in self.programs.values() for ending in program.endings()]
        networks = dict.fromkeys((*self._carrier.links.endings(), *self._carrier.cables.endings()))
        return [*programs, *networks]

    async def stop(self) -> dict[str, Path]:
        """See `World`. Those below end before those above."""
        for program in reversed(self.programs.values()):  # they were started from the top
            await program.stop()
        return {name: self._folder / name / "settlements" for name in self.programs}

    async def close(self) -> None:
        """See `World`."""
        await self._stack.aclose()


def _from_the_top(scenario: Scenario) -> list[str]:
    """Our nodes, each after the one above it."""

    def depth(name: str) -> int:
        return 1 + depth(scenario.nodes[name].uplink) if scenario.nodes[name].uplink else 0

    return sorted((name for name, node in scenario.nodes.items() if node.kind != "foreign"), key=depth)
