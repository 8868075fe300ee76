"""Whatever becomes of lines and devices: what a device is owed ends once, and the book says how."""

from __future__ import annotations

from random import Random

import pytest
from unit.broker.book import End
from unit.edge_node.devices.harness import Node, Plug, relay

from broker.core.settlement import Outcome, Reason
from edge_node.devices.registry import DeviceLimits
from oriole.link.serial import Config, DeviceEndpoint

TOPICS = ("set", "state", "$SYS/x")


class Bench:
    """A node and two devices that come, go, reboot and fill up, by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        limits = DeviceLimits(max_queue_messages=3, absence_ms=20_000)
        self.node = Node(limits, Config(window=2, max_queue_bytes=2_000))
        self.plugs: dict[str, Plug] = {}
        self.said = 0

    def step(self) -> None:
        random = self.random
        name = random.choice(("relay-1", "relay-2"))
        random.choice((self.say, self.say, self.hear, self.hear, self.ask, self.go, self.block))(name)
        if random.random() < 0.2:
            self.node.run(random.choice((100, 3_000, 25_000)))
        self.node.book.check(self.node.devices.owed())

    def plug(self, name: str) -> Plug:
        """The device on its line, plugged in if it was not; perhaps it has forgotten everything, or takes less."""
        plug = self.plugs.get(name)
        if plug is None:
            random = self.random
            boot_id = b"boot-%d" % random.choice((1, self.said))
            endpoint = DeviceEndpoint(name, boot_id, "relay", Config(max_frame_bytes=random.choice((256, 1024))))
            plug = self.plugs[name] = Plug(self.node, endpoint, f"port of {name}")
        return plug

    def payload(self, *sizes: int) -> bytes:
        self.said += 1
        return b"%d" % self.said + b"x" * self.random.choice(sizes)

    def say(self, name: str) -> None:
        """A device publishes."""
        topic = self.random.choice(TOPICS)
        self.plug(name).publish(topic, self.payload(0, 50), self.random.randrange(2), topic == "state")

    def hear(self, name: str) -> None:
        """Somebody else publishes, perhaps a lot."""
        random = self.random
        for _ in range(random.choice((1, 1, 10))):
            topic = random.choice(TOPICS[:2])
            expires_at = self.node.now + 2_000 if random.random() < 0.3 else 0
            self.node.publish(topic, self.payload(0, 0, 400, 1_500), random.randrange(3), topic == "state", expires_at)

    def ask(self, name: str) -> None:
        self.plug(name).subscribe(self.random.choice(("set", "state", "#")), self.random.randrange(2))

    def go(self, name: str) -> None:
        plug = self.plugs.pop(name, None)
        if plug is not None:
            plug.pull()

    def block(self, name: str) -> None:
        """The line takes no bytes towards the device, or takes them again."""
        plug = self.plug(name)
        plug.wire.blocked = not plug.wire.blocked
        plug.wire.flush()
        self.node.run()


@pytest.mark.parametrize("seed", range(40))
def test_the_book_adds_up_whatever_happens(seed: int) -> None:
    bench = Bench(seed)
    for _ in range(60):
        bench.step()
    for plug in bench.plugs.values():
        plug.pull()
    bench.node.run(30_000)
    bench.node.book.check(())


def test_every_kind_of_end_is_met() -> None:
    """The test above means something."""
    met: set[tuple[Outcome, Reason | None]] = set()
    for seed in range(40):
        bench = Bench(seed)
        for _ in range(60):
            bench.step()
        met |= {(end.outcome, end.reason) for end in bench.node.book.ends}
    dropped = (Reason.OFFLINE, Reason.TOO_LARGE, Reason.QUEUE_FULL, Reason.SESSION_ENDED)
    assert met >= {
        (Outcome.ACKNOWLEDGED, None),
        (Outcome.SENT, None),
        (Outcome.EXPIRED, None),
        *((Outcome.DROPPED, reason) for reason in dropped),
    }


def test_what_a_device_no_longer_takes_when_it_is_back_did_not_arrive() -> None:
    node = Node()
    plug = Plug(node, relay())
    plug.subscribe("set")
    plug.wire.blocked = True
    node.publish("set", b"x" * 500)
    node.publish("set", b"short")
    plug.pull()
    back = Plug(node, DeviceEndpoint("relay-1", b"boot-2", "relay", Config(max_frame_bytes=256)))
    node.run()
    assert back.payloads == [b"short"]
    assert node.book.ends == [
        End(b"x" * 500, "serial:relay-1", Outcome.DROPPED, Reason.TOO_LARGE),
        End(b"short", "serial:relay-1", Outcome.ACKNOWLEDGED),
    ]
    node.book.check(node.devices.owed())
