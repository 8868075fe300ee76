"""What the CoAP client's errors are called for people."""

import aiocoap
import aiocoap.error
import pytest

from firmware_sim.ports.coap import _words


def network_error(cause: OSError | None) -> aiocoap.error.NetworkError:
    error = aiocoap.error.NetworkError()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (network_error(ConnectionRefusedError(111, "received through errqueue")), "Connection refused"),
        (network_error(None), "the network failed"),
        (aiocoap.error.ConRetransmitsExceeded(), "no answer"),
        (TimeoutError(), "no answer"),
        (aiocoap.error.ObservationCancelled(), "the server ended the observation"),
        (aiocoap.error.MessageError(), "the peer refused the message (RST)"),
        (aiocoap.error.ResponseWrappingError(aiocoap.Message(code=aiocoap.FORBIDDEN)), "the answer is 4.03 Forbidden"),
    ],
)
def test_errors_in_words(error: Exception, words: str) -> None:
    assert _words(error) == words
