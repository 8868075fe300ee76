"""Where a link takes packets, with time as an argument and lists for devices."""

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.links.model import Differences, LinkModel
from firmware_sim.links.packets.link import PacketLink

MILLISECOND_NS = 1_000_000
NEAR, FAR, OTHER = "10.1.0.1", "10.1.0.2", "10.1.0.3"


class Place:
    """An end that keeps what it got, or refuses it like a device that was taken down."""

    def __init__(self, is_down: bool = False) -> None:
        self.is_down = is_down
        self.packets: list[bytes] = []

    def write(self, packet: bytes) -> None:
        if self.is_down:
            raise OSError("down")
        self.packets.append(packet)


def packet(target: str, size_bytes: int = 100, version: int = 4) -> bytes:
    header = bytes([version << 4 | 5]) + bytes(15) + IPv4Address(target).packed
    return header.ljust(size_bytes, b".")


def joined(link: PacketLink) -> tuple[Place, Place]:
    near, far = Place(), Place()
    link.down.ends[IPv4Address(NEAR).packed] = near
    link.up.ends[IPv4Address(FAR).packed] = far
    return near, far


def test_a_packet_arrives_at_its_address_in_its_time() -> None:
    link = PacketLink("dsl", LinkModel(delay_ms=20, down=Differences(delay_ms=5)), 1)
    near, far = joined(link)
    assert link.deadline() is None
    link.up.push(packet(FAR), 0)
    link.down.push(packet(NEAR), 0)
    assert link.deadline() == 5 * MILLISECOND_NS
    link.deliver(5 * MILLISECOND_NS)
    assert (near.packets, far.packets) == ([packet(NEAR)], [])
    assert link.deadline() == 20 * MILLISECOND_NS
    link.deliver(21 * MILLISECOND_NS)
    assert far.packets == [packet(FAR)]
    assert (link.down.lag_ns, link.up.lag_ns) == (0, MILLISECOND_NS)
    assert link.deadline() is None


def test_what_is_for_nobody_takes_no_room() -> None:
    link = PacketLink("dsl", LinkModel(rate_kbit=1, buffer_kib=1), 1)
    near, far = joined(link)
    for stray in (packet(OTHER), packet(NEAR), packet(FAR, version=6), packet(FAR, 20)[:19], b""):
        link.up.push(stray, 0)
    assert link.deadline() is None
    assert link.up.pipe.queued_bytes(0) == 0
    assert (near.packets, far.packets) == ([], [])


def test_what_is_under_way_to_an_address_given_up_is_for_nobody() -> None:
    link = PacketLink("dsl", LinkModel(delay_ms=1), 1)
    near, _ = joined(link)
    link.down.push(packet(NEAR), 0)
    del link.down.ends[IPv4Address(NEAR).packed]
    link.down.ends[IPv4Address(OTHER).packed] = near
    link.deliver(MILLISECOND_NS)
    assert near.packets == []
    link.down.push(packet(OTHER), MILLISECOND_NS)
    link.deliver(2 * MILLISECOND_NS)
    assert near.packets == [packet(OTHER)]


def test_a_cut_can_be_one_way() -> None:
    link = PacketLink("dsl", LinkModel(), 1)
    near, far = joined(link)
    link.cut(["up"], 0)
    link.up.push(packet(FAR), 0)
    link.down.push(packet(NEAR), 0)
    link.deliver(0)
    assert (len(near.packets), len(far.packets)) == (1, 0)
    link.heal(["up"])
    link.up.push(packet(FAR), 0)
    link.deliver(0)
    assert len(far.packets) == 1


def test_a_change_is_for_both_ways() -> None:
    link = PacketLink("dsl", LinkModel(), 1)
    joined(link)
    link.change(LinkModel(delay_ms=3, up=Differences(delay_ms=4)), 0)
    link.up.push(packet(FAR), 0)
    assert link.deadline() == 4 * MILLISECOND_NS
    link.down.push(packet(NEAR), 0)
    assert link.deadline() == 3 * MILLISECOND_NS


def test_a_device_that_is_down_stops_nobody_else() -> None:
    link = PacketLink("dsl", LinkModel(), 1)
    _, far = joined(link)
    link.up.ends[IPv4Address(OTHER).packed] = Place(is_down=True)
    link.up.push(packet(OTHER), 0)
    link.up.push(packet(FAR), 0)
    link.deliver(0)
    assert far.packets == [packet(FAR)]


@given(st.lists(st.booleans(), max_size=200), st.integers(0, 3))
def test_one_seed_and_name_decide_alike_in_each_direction(ways: list[bool], seed: int) -> None:
    """What the other direction carries changes nothing."""

    def fates(name: str, ways: list[bool]) -> list[int]:
        link = PacketLink(name, LinkModel(loss=0.3, duplicate=0.3), seed)
        _, far = joined(link)
        for number, is_up in enumerate(ways):
            (link.up if is_up else link.down).push(packet(FAR if is_up else NEAR, 40 + number), 0)
        link.deliver(0)
        return [sizes.index(len(each)) for each in far.packets]

    sizes = [40 + number for number, is_up in enumerate(ways) if is_up]
    mixed = fates("dsl", ways)
    sizes = [40 + number for number in range(ways.count(True))]
    assert mixed == fates("dsl", [True] * ways.count(True))
