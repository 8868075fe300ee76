"""Schedules are values that a seed stands for."""

from __future__ import annotations

from faults.schedule import CLIENT_FAULTS, LINK_FAULTS, NODE_FAULTS, SUBSCRIBER_FAULTS, Means, draw

SEEDS = range(80)
LITTLE = Means(has_small_disks=False, has_packets=False)


def test_a_seed_stands_for_a_schedule() -> None:
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_every_kind_of_fault_comes_up() -> None:
    kinds = {fault.kind for seed in SEEDS for fault in draw(seed).faults}
    to_nodes = {kind for kinds in NODE_FAULTS.values() for kind in kinds}
    assert kinds == {*to_nodes, *CLIENT_FAULTS, *SUBSCRIBER_FAULTS, *LINK_FAULTS, "death", "clock jump", "sleep"}


def test_everybody_is_somewhere() -> None:
    for plan in map(draw, SEEDS):
        names = {node.name for node in plan.nodes} | {link.name for link in plan.links} | {""}
        for peer in (*plan.publishers, *plan.subscribers, *plan.testators):
            assert {peer.node, peer.link} <= names
        assert {node.above for node in plan.nodes} | {link.node for link in plan.links} <= names


def test_nothing_is_drawn_for_which_there_are_no_means() -> None:
    for plan in (draw(seed, LITTLE) for seed in SEEDS):
        assert not plan.has_packets
        assert not any("small" in node.disk for node in plan.nodes)


def test_where_there_are_fewer_means_the_rest_is_the_same() -> None:
    for seed in SEEDS:
        little, all_of_it = draw(seed, LITTLE), draw(seed)
        assert little.publishers == all_of_it.publishers
        assert [node.name for node in little.nodes] == [node.name for node in all_of_it.nodes]
