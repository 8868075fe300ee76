"""A relay with a thermometer on a serial line, for a Raspberry Pi Pico: copy it there with oriole_serial.py
and oriole_frames.py.

It publishes `relay-1/temperature` every ten seconds, obeys `on` and `off` on `relay-1/set`, and confirms with
`relay-1/state`, which is retained.
"""

from time import ticks_diff, ticks_ms

from machine import ADC, UART, Pin
from oriole_serial import Device

NAME = "relay-1"
REPORT_MS = 10000

relay = Pin(15, Pin.OUT, value=0)
thermometer = ADC(4)  # inside the RP2040


def obey(topic, payload):
    """`on` and `off`; anything else changes nothing, and the confirmation says so."""
    if payload in (b"on", b"off"):
        relay.value(payload == b"on")
    print("relay is", relay.value())
    confirm()


def confirm():
    global unconfirmed
    unconfirmed = not device.publish(NAME + "/state", b"on" if relay.value() else b"off", retain=True)


def report():
    volts = thermometer.read_u16() * 3.3 / 65535
    return device.publish(NAME + "/temperature", b"%.2f" % (27 - (volts - 0.706) / 0.001721))


def step():
    """What the board does for ever."""
    global reported_at
    device.step()
    if unconfirmed:  # too much was waiting
        confirm()
    if ticks_diff(ticks_ms(), reported_at) >= REPORT_MS and report():
        reported_at = ticks_ms()


device = Device(UART(0, 115200, timeout=5, rxbuf=1024), NAME, "relay", obey)
device.subscribe(NAME + "/set")
confirm()
reported_at = ticks_ms()

if __name__ == "__main__":
    while True:
        step()
