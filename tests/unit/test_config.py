"""The configuration: defaults < file < command line, and what a person reads when it is wrong."""

from pathlib import Path

import pytest

from oriole.config import BrokerConfig, ConfigError, EdgeConfig, Limits, ProgramConfig, from_command_line, keys, load
from oriole.urls import Listener, SerialPort, Uplink


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "oriole.yaml"
    file.write_text(
        "listen: [mqtt://0.0.0.0, coap://0.0.0.0]\ndata: /var/lib/oriole\nusers: {alice: secret}\n"
        "limits: {max_connections: 5}\n"
    )
    return file


def refusal(capsys: pytest.CaptureFixture[str], *argv: str, program: str = "oriole broker") -> str:
    with pytest.raises(SystemExit) as stopped:
        from_command_line(program, list(argv), BrokerConfig if program == "oriole broker" else EdgeConfig)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err.splitlines()[-1]


def test_defaults() -> None:
    assert from_command_line("oriole broker", [], BrokerConfig) == BrokerConfig()
    assert BrokerConfig().listen == (Listener("mqtt", "127.0.0.1", 1883),)
    assert from_command_line("oriole edge", [], EdgeConfig) == EdgeConfig()


def test_the_file_overrides_the_defaults(file: Path) -> None:
    config = from_command_line("oriole broker", ["--config", str(file)], BrokerConfig)
    assert config == load(file, BrokerConfig)
    assert config.users == {"alice": "secret"}
    assert config.limits == Limits(max_connections=5)


def test_the_command_line_overrides_the_file(file: Path) -> None:
    argv = ["--listen", "mqtt://127.0.0.1:0", "--listen=coap://[::1]", "--data", "x", "--allow-anonymous"]
    config = from_command_line("oriole broker", ["--config", str(file), *argv, "--log-level", "debug"], BrokerConfig)
    assert config == BrokerConfig(
        listen=(Listener("mqtt", "127.0.0.1", 0), Listener("coap", "::1", 5683)),
        data=Path("x"),
        allow_anonymous=True,
        users={"alice": "secret"},
        limits=Limits(max_connections=5),
        log_level="debug",
    )


def test_the_options_of_an_edge() -> None:
    argv = [
        "--name",
        "attic",
        "--uplink",
        "mqtt://u:p@broker",
        "--uplink",
        "mqtt://spare",
        "--serial",
        "serial:///dev/ttyUSB0",
    ]
    assert from_command_line("oriole edge", argv, EdgeConfig) == EdgeConfig(
        name="attic",
        uplink=(Uplink("mqtt", "broker", 1883, "u", "p"), Uplink("mqtt", "spare", 1883)),
        serial=(SerialPort("/dev/ttyUSB0"),),
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--listen mqtt://host:99999", "argument --listen: `mqtt://host:99999`: port `99999` is no number"),
        ("--listen wss://host", "argument --listen: `wss://host`: wss:// is not yet spoken"),
        ("--log-level loud", "argument --log-level: invalid choice: 'loud' (choose from"),
        ("--lis mqtt://host", "unrecognized arguments: --lis mqtt://host"),
        ("--name attic", "unrecognized arguments: --name attic"),
        ("extra", "unrecognized arguments: extra"),
        ("--data", "argument --data: expected one argument"),
    ],
)
def test_refuses_an_option(capsys: pytest.CaptureFixture[str], argv: str, message: str) -> None:
    assert refusal(capsys, *argv.split()).startswith(f"oriole broker: error: {message}")


def test_refuses_a_name_that_is_no_topic_level(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("", "a/b", "+", "a b", "x" * 65, "-a", "a\n"):
        assert "argument --name: " in refusal(capsys, f"--name={name}", program="oriole edge")


def test_refuses_a_file_by_key_and_line(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    file.write_text("limits:\n  max_packet_bytes: 1\n")
    message = f"oriole broker: {file}, line 2: `limits.max_packet_bytes`: expected a whole number of at least 128"
    assert refusal(capsys, "--config", str(file)) == message


def test_a_key_of_the_edge_is_unknown_to_the_broker(file: Path) -> None:
    file.write_text("uplink: [mqtt://host]\n")
    assert load(file, EdgeConfig).uplink
    with pytest.raises(ConfigError, match="line 1: unknown key `uplink`"):
        load(file, BrokerConfig)


@pytest.mark.parametrize("kind", [BrokerConfig, EdgeConfig, Limits])
def test_every_key_has_a_default_and_a_sentence(kind: type[EdgeConfig]) -> None:
    for key in keys(kind):
        assert key.default is not ..., key
        assert key.description.endswith("."), key


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        from_command_line("oriole edge", ["--help"], EdgeConfig)
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--config FILE", "--listen URL", "--name NAME", "docs/configuration.md"))


@pytest.mark.parametrize(("name", "kind"), [("simple", BrokerConfig), ("broker", BrokerConfig), ("edge", EdgeConfig)])
def test_the_examples_can_be_read_and_let_in_whom_they_listen_for(name: str, kind: type[ProgramConfig]) -> None:
    """CoAP clients have no names: a CoAP listener that others reach is of use only with allow_anonymous."""
    config = load(Path(__file__).parents[2] / "deploy" / "examples" / f"{name}.yaml", kind)
    reachable = {endpoint.scheme for endpoint in config.listen if not endpoint.is_loopback}
    assert "coap" not in reachable or config.allow_anonymous
    assert "mqtt" not in reachable or config.allow_anonymous or config.users


def test_a_broker_that_nobody_can_reach_is_refused(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    file.write_text("listen: []")
    assert "`listen` names no address" in refusal(capsys, "--config", str(file))
    file.write_text("listen: []\nname: attic")
    assert from_command_line("oriole edge", ["--config", str(file)], EdgeConfig).listen == ()


def test_an_empty_path_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "argument --data: an empty path" in refusal(capsys, "--data=")
