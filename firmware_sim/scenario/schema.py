"""The JSON Schema of a scenario file, made from its types: editors complete keys and show what they mean."""

import ast
import inspect
import textwrap
from typing import Any

import msgspec

from firmware_sim.devices.kinds import KINDS
from firmware_sim.energy import RADIOS
from firmware_sim.links.model import Differences, DirectionModel, LinkModel

from .expectation import Expectation
from .file import Scenario
from .happenings import Event, Fault
from .nodes import Node
from .population import Population, Profile
from .values import Duration, schema_hook

PARTS = (Scenario, Node, Profile, Population, Event, Fault, Expectation, LinkModel, DirectionModel, Differences)


def schema() -> dict[str, Any]:
    """The whole schema, JSON Schema 2020-12."""
    made: dict[str, Any] = msgspec.json.schema(Scenario, schema_hook=schema_hook)
    for part in PARTS:
        if definition := made["$defs"].get(part.__name__):
            properties = definition["properties"]
            for key, sentence in sentences(part).items():
                if key in properties:
                    properties[key]["description"] = sentence
            for key, default in _durations(part).items():
                properties[key]["default"] = str(default)
    made["$defs"]["Profile"]["properties"]["kind"]["enum"] = list(KINDS)
    made["$defs"]["Profile"]["properties"]["radio"]["enum"] = ["", *RADIOS]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Oriole fleet scenario", **made}


def _durations(part: type[msgspec.Struct]) -> dict[str, Duration]:
    """The durations that keys have by default."""
    made = {
        field.name: field.default_factory()
        for field in msgspec.structs.fields(part)
        if field.default_factory is not msgspec.NODEFAULT
    }
    return {key: default for key, default in made.items() if isinstance(default, Duration)}


def sentences(part: type) -> dict[str, str]:
    """The sentence below each key of a structure, those of its bases included."""
    found: dict[str, str] = {}
    for kind in reversed(part.__mro__):
        if kind.__module__.startswith("firmware_sim"):
            body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
            assert isinstance(body, ast.ClassDef)
            for key, below in zip(body.body, body.body[1:], strict=False):
                match key, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(sentence))):
                        found[name] = " ".join(sentence.split())
    return found
