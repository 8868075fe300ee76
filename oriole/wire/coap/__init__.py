"""CoAP messages and options as values (RFC 7252 and its extensions): bytes in, bytes out, no clock."""

from oriole.wire.coap.blocks import Block
from oriole.wire.coap.codes import Code, Type, dotted, is_request, is_response
from oriole.wire.coap.errors import CoapError, Remedy
from oriole.wire.coap.message import Message, decode, encode_tail
from oriole.wire.coap.options import Option, Options, decode_uint, encode_uint, recognised

__all__ = [
    "Block",
    "CoapError",
    "Code",
    "Message",
    "Option",
    "Options",
    "Remedy",
    "Type",
    "decode",
    "decode_uint",
    "dotted",
    "encode_tail",
    "encode_uint",
    "is_request",
    "is_response",
    "recognised",
]
