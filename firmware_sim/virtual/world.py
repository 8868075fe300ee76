"""A world in virtual time: nodes, links and clients in this process, all on one timeline."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from firmware_sim.devices.port import Access, Port
from firmware_sim.fleet.world import Decision, Glance, Usage, WorldError
from firmware_sim.links.model import LinkModel
from firmware_sim.links.pipe import Decided, Fate
from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.nodes import Node
from firmware_sim.scenario.plan import Action
from firmware_sim.scenario.roster import Member, roster
from oriole.config import BrokerConfig, EdgeConfig, NodeName
from oriole.typed_yaml import convert
from oriole.urls import Listener, SerialPort, Uplink

from .coap import CoapPort
from .loop import Timeline, VirtualLoop
from .mqtt import MqttPort
from .network import CableEnd, Network, Route, cable
from .nodes import VirtualNode
from .serial import SerialPort as DevicePort

BAUD = 115_200
PORTS = {"mqtt": 1883, "coap": 5683}


class VirtualWorld:
    """See `firmware_sim.fleet.world.World`.

    Args:
        scenario: at full length.
        seed: what links and clients draw from.
        loop: whose time it is.
        decided: told of what links decide.
    """

    is_virtual = True

    def __init__(self, scenario: Scenario, seed: int, loop: VirtualLoop, decided: Decision | None = None) -> None:
        self._scenario = scenario
        self._seed = seed
        self._loop = loop
        self._decided = decided
        self.clock: Timeline = loop.timeline
        self.run = f"{seed & 0xFFFF_FFFF:08x}"
        self.network = Network(self.clock, seed, self._told if decided is not None else None)
        self.nodes: dict[str, VirtualNode] = {}
        self._device_ends: dict[str, CableEnd] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="oriole-fleet-")

    def _told(self, link: str, way: str) -> Decided:
        decided = self._decided
        assert decided is not None

        def tell(fate: Fate, size_bytes: int, now_ns: int) -> None:
            decided(link, way, fate.value, size_bytes, now_ns)

        return tell

    async def open(self) -> None:
        """See `World`."""
        for name, node in self._scenario.nodes.items():
            if node.kind == "foreign":
                raise WorldError(f"node `{name}` is foreign: what runs elsewhere has no virtual time")
        for name, model in self._scenario.links.items():
            self.network.add(name, model)
        members = [member for member in roster(self._scenario) if member.profile.speaks == "serial"]
        for name, node in self._scenario.nodes.items():
            gateways: dict[str, CableEnd] = {}
            for member in members:
                if member.nodes[0] == name:
                    gateway, device = cable(self.clock, BAUD, Random(f"{self._seed}/{member.name}/cable"))
                    gateways[f"/dev/{member.name}"] = gateway
                    self._device_ends[member.name] = device
            place = VirtualNode(
                self._loop, self.network, _config(name, node, gateways, self._settlements(name)), name, self._seed
            )
            place.joined(Route(node.link, node.uplink, "mqtt") if node.uplink else None, gateways)
            self.nodes[name] = place
        for place in self.nodes.values():
            place.start()

    def port(self, member: Member, access: Access) -> Port:
        """See `World`."""
        speaks = member.profile.speaks
        if speaks == "serial":
            return DevicePort(self._device_ends[member.name], self.clock, access)
        routes = [Route(member.population.link, node, speaks) for node in member.nodes]
        if speaks == "coap":
            return CoapPort(self.network, self.clock, access, routes, Random(f"{self._seed}/{member.name}/port"))
        return MqttPort(self.network, self.clock, access, routes, self._seed)

    def doors(self, population: str) -> list[tuple[str, int]]:
        """Here every device is carried in the same way."""
        raise NotImplementedError

    def settle(self, population: str) -> None:
        """There are no other processes."""

    async def act(self, action: Action) -> None:
        """See `World`."""
        link, node = self.network.links.get(action.to), self.nodes.get(action.to)
        match action.do:
            case "cut" if link:
                link.cut()
            case "heal" if link:
                link.heal()
            case "change" if link:
                link.change(convert(action.values["to"], LinkModel))
            case "restore" if link:
                link.change(link.model)
            case "readdress" if link:
                link.readdress()
            case "fail" if node:
                node.kill(action.values["silently"])
            case "power_on" if node:
                node.start()
            case "pause" | "go_on" if node:
                node.pause(action.do == "pause")
            case "fill_disk" | "free_disk" | "jump_clock" if node:
                pass  # nodes in virtual time have neither disk nor wall clock, and read neither: nothing to see
            case "noise":
                self._set_noise(action.to, action.values["share"])
            case "calm":
                self._set_noise(action.to, 0.0)
            case "unplug" | "plug":
                self._device_ends[action.to].plug(action.do == "plug")
            case _:
                raise WorldError(f"nobody is called `{action.to}`, or it cannot {action.do}")

    def _set_noise(self, name: str, share: float) -> None:
        end = self._device_ends[name]
        end.set_noise(share)
        end.other.set_noise(share)

    async def look(self) -> Glance:
        """See `World`."""
        links = {name: link.count() for name, link in self.network.links.items()}
        return Glance(links, {name: node.queued() for name, node in self.nodes.items()})

    def lags_ns(self) -> Sequence[int]:
        """In virtual time nothing is late."""
        return []

    def usage(self) -> dict[str, Usage]:
        """Nodes of one process have no figures of their own."""
        return {}

    def endings(self) -> list[str]:
        """A node that fails here ends the run."""
        return []

    async def stop(self) -> dict[str, Path]:
        """See `World`. Those below end before those above."""
        for node in reversed(self.nodes.values()):
            await node.stop()
        return {name: self._settlements(name) for name in self.nodes}

    async def close(self) -> None:
        """See `World`."""
        self._folder.cleanup()

    def _settlements(self, name: str) -> Path:
        return Path(self._folder.name) / name


def _config(name: str, node: Node, cables: dict[str, CableEnd], settlements: Path) -> BrokerConfig | EdgeConfig:
    listen = tuple(Listener(scheme, name, port) for scheme, port in PORTS.items())
    common: dict[str, Any] = {"allow_anonymous": True} | node.config
    if node.kind == "broker":
        config: BrokerConfig = convert(common, BrokerConfig)
        return msgspec.structs.replace(config, listen=listen, settlements=settlements)
    edge: EdgeConfig = convert(common, EdgeConfig)
    uplink = (Uplink("mqtt", node.uplink, PORTS["mqtt"]),) if node.uplink else ()
    ports = tuple(SerialPort(device) for device in cables)
    return msgspec.structs.replace(
        edge, listen=listen, settlements=settlements, name=NodeName(name), uplink=uplink, serial=ports
    )
