"""What a client finds when it looks around: links in CoRE Link Format (RFC 6690)."""

from __future__ import annotations

from collections.abc import Iterable

LINKS: dict[str, dict[str, str | None]] = {
    "/ps": {"rt": "core.ps"},
    "/ps/data": {"rt": "core.ps.data", "obs": None},
}
"""Targets and attributes, None for one without a value. Topics are below `/ps/data`."""


def links(queries: Iterable[str]) -> bytes:
    """The links that match every query, `rt=core.ps*` for example (RFC 6690 §4.1)."""
    wanted = [query.partition("=") for query in queries]
    found = [
        target
        for target, attributes in LINKS.items()
        if all(_matches(target if name == "href" else attributes.get(name), value) for name, _, value in wanted)
    ]
    return ",".join(_link(target, LINKS[target]) for target in found).encode()


def _matches(attribute: str | None, value: str) -> bool:
    if attribute is None:
        return False
    return attribute.startswith(value[:-1]) if value.endswith("*") else attribute == value


def _link(target: str, attributes: dict[str, str | None]) -> str:
    parts = [name if value is None else f'{name}="{value}"' for name, value in attributes.items()]
    return ";".join([f"<{target}>", *parts])
