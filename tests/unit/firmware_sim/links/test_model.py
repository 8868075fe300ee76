"""What a person may write about a link, and what is refused in which words."""

import msgspec
import pytest

from firmware_sim.links.model import Differences, DirectionModel, LinkModel
from oriole import typed_yaml


def read(text: str) -> LinkModel:
    return typed_yaml.decode(text, LinkModel, "link.yaml")


def test_both_directions_are_alike_unless_it_says_otherwise() -> None:
    model = read("{delay_ms: 40, rate_kbit: 10000, loss: 0.01, up: {rate_kbit: 1000, loss: 0}}")
    assert model.direction("down") == DirectionModel(delay_ms=40, rate_kbit=10_000, loss=0.01)
    assert model.direction("up") == DirectionModel(delay_ms=40, rate_kbit=1000)


def test_differences_have_the_keys_of_a_direction() -> None:
    assert Differences.__struct_fields__ == DirectionModel.__struct_fields__


def test_a_model_survives_its_way_to_the_process() -> None:
    model = read("{delay_ms: 40, up: {loss: 0.5}, down: {}}")
    assert msgspec.json.decode(msgspec.json.encode(model), type=LinkModel) == model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{delay: 4}", "unknown key `delay`"),
        ("{up: {delay: 4}}", "unknown key `up.delay`"),
        ("{delay_ms: -1}", "`delay_ms`: expected a number of at least 0"),
        ("{delay_ms: 3600001}", "`delay_ms`: expected a number of at most 3600000"),
        ("{jitter_ms: .nan}", "`jitter_ms`: expected a number of at least 0"),
        ("{loss: 1.5}", "`loss`: expected a number of at most 1"),
        ("{down: {loss: 50}}", "`down.loss`: expected a number of at most 1"),
        ("{burst: 0}", "`burst`: expected a number of at least 1"),
        ("{buffer_kib: 0}", "`buffer_kib`: expected a whole number of at least 1"),
        ("{rate_kbit: 0.5}", "`rate_kbit`: expected a whole number, got a number with a point"),
        ("{up: 3}", "`up`: expected a mapping"),
    ],
)
def test_what_cannot_be_is_refused_by_key(text: str, message: str) -> None:
    with pytest.raises(typed_yaml.ConfigError) as refusal:
        read(text)
    assert message in str(refusal.value)
