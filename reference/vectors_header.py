"""docs/serial-vectors.h, written from docs/serial-vectors.json: `python reference/vectors_header.py`.

The header has the vectors as arrays and tables, and what a decoder must find in each frame as a list of CBOR items, so
that a test in C needs no JSON. No compound literals: firmware is often C++. It knows nothing of frames: the JSON names
the fields in the order of the line.
"""

import json
import sys
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parents[1] / "docs" / "serial-vectors.json"

_BEGINNING = """\
/* Test vectors of serial.md for C and C++, the same as in serial-vectors.json, which this file is written from by
 * reference/vectors_header.py.
 *
 * oriole_serial_frames: `wire` is COBS(body CRC-32) and the zero behind it. Decode it and find type, sequence number
 * and items; encode these and find `wire`, unless `decode_only` is set. oriole_serial_noise: between the zeros is no
 * frame. oriole_serial_malformed: a whole frame, to be refused with this reason and this sequence number.
 */
#ifndef ORIOLE_SERIAL_VECTORS_H
#define ORIOLE_SERIAL_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum oriole_item_type { ORIOLE_UINT, ORIOLE_BYTES, ORIOLE_TEXT, ORIOLE_BOOL };

struct oriole_item {
    const char *name;
    enum oriole_item_type type;
    uint64_t number;     /* of ORIOLE_UINT; 0 or 1 of ORIOLE_BOOL; else the number of bytes */
    const uint8_t *data; /* of ORIOLE_BYTES and ORIOLE_TEXT */
};

struct oriole_bytes {
    const uint8_t *data;
    size_t size;
};

struct oriole_frame_vector {
    const char *name;
    uint8_t type;
    uint64_t sequence;
    const struct oriole_item *items; /* behind type and sequence number */
    size_t item_count;
    struct oriole_bytes body, wire;
    bool decode_only;
};

struct oriole_noise_vector {
    const char *name;
    const char *damage;
    struct oriole_bytes wire;
};

struct oriole_malformed_vector {
    const char *name;
    uint8_t reason;
    uint64_t sequence;
    struct oriole_bytes body, wire;
};
"""

_BYTES_PER_LINE = 16


def header(vectors: dict[str, Any]) -> str:
    """The whole file."""
    parts = [_BEGINNING]
    rows = []
    for vector in vectors["frames"]:
        fields = dict(vector["fields"])
        sequence = fields.pop("sequence", 0)
        array = _array("frame", vector)
        parts.append(f"/* {vector['name']} */")
        items = "0"
        if fields:
            items = f"{array}_items"
            parts += _items(items, fields)
        parts += _both(array, vector)
        type_ = int(vector["body"][:2], 16)  # types are below 24, so one byte
        row = f"{_text(vector['name'])}, {type_}, {_number(sequence)}, {items}, {len(fields)}"
        rows.append(f"{row}, {_ref(array, vector, 'body')}, {_ref(array, vector, 'wire')}, {_flag(vector)}")
    parts += _table("frame", "frames", rows)
    rows = []
    for vector in vectors["noise"]:
        array = _array("noise", vector)
        parts += _bytes(f"{array}_wire", vector["wire"])
        rows.append(f"{_text(vector['name'])}, {_text(vector['damage'])}, {_ref(array, vector, 'wire')}")
    parts += ["", *_table("noise", "noise", rows)]
    rows = []
    for vector in vectors["malformed"]:
        array = _array("malformed", vector)
        parts += _both(array, vector)
        row = f"{_text(vector['name'])}, {vector['reason']}, {_number(vector['sequence'])}"
        rows.append(f"{row}, {_ref(array, vector, 'body')}, {_ref(array, vector, 'wire')}")
    parts += ["", *_table("malformed", "malformed", rows)]
    return "\n".join([*parts, "#endif", ""])


def _array(group: str, vector: dict[str, Any]) -> str:
    """A name in C for what belongs to the vector."""
    words = "".join(character if character.isalnum() else " " for character in vector["name"].lower()).split()
    return "_".join(("oriole", group, *words))


def _items(name: str, fields: dict[str, Any]) -> list[str]:
    lines = [f"static const struct oriole_item {name}[] = {{"]
    before = []
    for field, value in fields.items():
        if isinstance(value, bool):
            lines.append(f'    {{"{field}", ORIOLE_BOOL, {int(value)}, 0}},')
        elif isinstance(value, int):
            lines.append(f'    {{"{field}", ORIOLE_UINT, {_number(value)}, 0}},')
        else:
            data = bytes.fromhex(value["hex"]) if isinstance(value, dict) else value.encode()
            kind = "BYTES" if isinstance(value, dict) else "TEXT"
            array = f"{name.removesuffix('_items')}_{field}" if data else "0"
            if data:
                before += _bytes(array, data.hex())
            lines.append(f'    {{"{field}", ORIOLE_{kind}, {len(data)}, {array}}},')
    return [*before, *lines, "};"]


def _both(array: str, vector: dict[str, Any]) -> list[str]:
    return _bytes(f"{array}_body", vector["body"]) + _bytes(f"{array}_wire", vector["wire"])


def _bytes(name: str, digits: str) -> list[str]:
    data = bytes.fromhex(digits)
    rows = [data[start : start + _BYTES_PER_LINE] for start in range(0, len(data), _BYTES_PER_LINE)]
    lines = ["    " + ", ".join(f"0x{byte:02x}" for byte in row) + "," for row in rows]
    return [f"static const uint8_t {name}[] = {{", *lines, "};"]


def _table(kind: str, group: str, rows: list[str]) -> list[str]:
    begin = f"static const struct oriole_{kind}_vector oriole_serial_{group}[] = {{"
    return [begin, *(f"    {{{row}}}," for row in rows), "};", ""]


def _ref(array: str, vector: dict[str, Any], what: str) -> str:
    return f"{{{array}_{what}, {len(vector[what]) // 2}}}"


def _text(text: str) -> str:
    return json.dumps(text)


def _number(number: int) -> str:
    return f"UINT64_C({number})" if number >= 1 << 31 else str(number)


def _flag(vector: dict[str, Any]) -> str:
    return "true" if vector.get("decode_only") else "false"


if __name__ == "__main__":
    sys.stdout.write(header(json.loads(VECTORS.read_text(encoding="utf-8"))))
