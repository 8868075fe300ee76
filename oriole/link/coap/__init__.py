"""CoAP exchanges: retransmission, duplicates, acknowledgements, observations. Sans-I/O, with time as an argument."""

from oriole.link.coap.endpoint import Endpoint, Service
from oriole.link.coap.exchange import Exchange
from oriole.link.coap.observation import Observation
from oriole.link.coap.observe_order import Freshness, ObserveNumbers
from oriole.link.coap.parameters import Parameters
from oriole.link.coap.request import Receiver
from oriole.link.coap.transmission import Failure, Peer

__all__ = [
    "Endpoint",
    "Exchange",
    "Failure",
    "Freshness",
    "Observation",
    "ObserveNumbers",
    "Parameters",
    "Peer",
    "Receiver",
    "Service",
]
