"""The `machine` module of the board that run.mjs makes: one UART, pins that remember, a thermometer that warms up."""


def UART(*_, **__):  # noqa: N802 - MicroPython's name
    """The line, whatever its number and speed."""
    return open("/dev/uart", "r+b")  # noqa: PTH123 - there is no pathlib


class Pin:
    """A pin with nothing behind it."""

    OUT = 1

    def __init__(self, *_, value=0):
        self._value = value

    def value(self, *value):
        """Sets it, if given; how it is."""
        if value:
            self._value = int(value[0])
        return self._value


class ADC:
    """Never reads the same twice, so that a reading which is lost or doubled shows."""

    def __init__(self, _):
        self._reading = 14000

    def read_u16(self):
        """One more than the last time."""
        self._reading += 1
        return self._reading
