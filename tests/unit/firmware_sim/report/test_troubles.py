"""Incidents become troubles: each with its end, those of one population together."""

from firmware_sim.report.story import Cut, Incident, Story
from firmware_sim.report.troubles import Trouble, troubles

SECOND = 1_000_000_000


def story(*incidents: tuple[float, str, str], cuts: tuple[Cut, ...] = ()) -> Story:
    return Story(
        0, 300 * SECOND, [], [*cuts], {}, [Incident(round(at * SECOND), what, who) for at, what, who in incidents]
    )


def test_an_incident_lasts_until_what_ended_it() -> None:
    told = story(
        (10, "kill", "house"),
        (12, "change", "dsl"),
        (15, "power_on", "house"),
        (20, "restore", "dsl"),
        (30, "kill", "house"),
        (40, "power_on", "house"),
        cuts=(Cut("dsl", 50 * SECOND, 60 * SECOND),),
    )
    assert troubles(told) == [
        Trouble("house", "kill", 10 * SECOND, 15 * SECOND, 0),
        Trouble("dsl", "change", 12 * SECOND, 20 * SECOND, 0),
        Trouble("house", "kill", 30 * SECOND, 40 * SECOND, 0),
        Trouble("dsl", "cut", 50 * SECOND, 60 * SECOND, 0),
    ]


def test_what_nothing_ended_lasts_until_the_end_and_a_moment_no_time() -> None:
    told = story((10, "pause", "centre"), (20, "readdress", "dsl"), (25, "power_on", "lamp-1"))
    assert troubles(told) == [
        Trouble("centre", "pause", 10 * SECOND, 300 * SECOND, 0),
        Trouble("dsl", "readdress", 20 * SECOND, 20 * SECOND, 0),
    ]


def test_devices_of_a_population_are_one_trouble_while_they_overlap() -> None:
    told = story(
        (10, "power_cut", "lamp-1"),
        (11, "power_cut", "lamp-2"),
        (20, "power_on", "lamp-1"),
        (25, "power_on", "lamp-2"),
        (100, "power_cut", "lamp-1"),
        (110, "power_on", "lamp-1"),
        (11, "pause", "lamp-3"),
        (12, "go_on", "lamp-3"),
        (15, "power_cut", "lock-1"),
        (16, "power_on", "lock-1"),
    )
    assert troubles(told) == [
        Trouble("lamp", "power_cut", 10 * SECOND, 25 * SECOND, 2),
        Trouble("lamp", "pause", 11 * SECOND, 12 * SECOND, 1),
        Trouble("lock", "power_cut", 15 * SECOND, 16 * SECOND, 1),
        Trouble("lamp", "power_cut", 100 * SECOND, 110 * SECOND, 1),
    ]
    assert [each.words for each in troubles(told)][:2] == ["2 × lamp without power", "lamp stood still"]


def test_many_short_ones_can_still_be_told_apart_by_a_plot() -> None:
    told = story(*((n / 10, "roam", f"tracker-{n}") for n in range(3000)))
    assert len(troubles(told)) <= 300
