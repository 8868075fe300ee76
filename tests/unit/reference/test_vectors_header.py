"""docs/serial-vectors.h says what docs/serial-vectors.json says: as text, and to programs in C and C++."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from vectors_header import header

DOCS = Path(__file__).parents[3] / "docs"
VECTORS = json.loads((DOCS / "serial-vectors.json").read_text())

PROGRAM = """
#include "serial-vectors.h"
#include <inttypes.h>
#include <stdio.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void hex(const uint8_t *data, size_t size) {
    for (size_t index = 0; index < size; index++) printf("%02x", data[index]);
}

int main(void) {
    for (size_t index = 0; index < COUNT(oriole_serial_frames); index++) {
        const struct oriole_frame_vector *vector = &oriole_serial_frames[index];
        printf("frame|%s|%u|%" PRIu64 "|%d|", vector->name, vector->type, vector->sequence, vector->decode_only);
        for (size_t which = 0; which < vector->item_count; which++) {
            const struct oriole_item *item = &vector->items[which];
            printf("%s=%d:", item->name, (int)item->type);
            if (item->type == ORIOLE_BYTES || item->type == ORIOLE_TEXT) hex(item->data, (size_t)item->number);
            else printf("%" PRIu64, item->number);
            printf(" ");
        }
        printf("|");
        hex(vector->body.data, vector->body.size);
        printf("|");
        hex(vector->wire.data, vector->wire.size);
        printf("\\n");
    }
    for (size_t index = 0; index < COUNT(oriole_serial_noise); index++) {
        const struct oriole_noise_vector *vector = &oriole_serial_noise[index];
        printf("noise|%s|%s|", vector->name, vector->damage);
        hex(vector->wire.data, vector->wire.size);
        printf("\\n");
    }
    for (size_t index = 0; index < COUNT(oriole_serial_malformed); index++) {
        const struct oriole_malformed_vector *vector = &oriole_serial_malformed[index];
        printf("malformed|%s|%u|%" PRIu64 "|", vector->name, vector->reason, vector->sequence);
        hex(vector->body.data, vector->body.size);
        printf("|");
        hex(vector->wire.data, vector->wire.size);
        printf("\\n");
    }
    return 0;
}
"""

TYPES = "hello welcome bye ping ack nak error publish subscribe unsubscribe deliver skip".split()


def item(value: object) -> str:
    """A field as the program prints it."""
    if isinstance(value, bool):
        return f"3:{int(value)}"
    if isinstance(value, int):
        return f"0:{value}"
    return f"1:{value['hex']}" if isinstance(value, dict) else f"2:{str(value).encode().hex()}"


def expected() -> list[str]:
    lines = []
    for vector in VECTORS["frames"]:
        fields = dict(vector["fields"])
        begin = f"frame|{vector['name']}|{TYPES.index(vector['type']) + 1}|{fields.pop('sequence', 0)}"
        items = "".join(f"{name}={item(value)} " for name, value in fields.items())
        lines.append(f"{begin}|{int(vector.get('decode_only', False))}|{items}|{vector['body']}|{vector['wire']}")
    lines += [f"noise|{vector['name']}|{vector['damage']}|{vector['wire']}" for vector in VECTORS["noise"]]
    for vector in VECTORS["malformed"]:
        lines.append("|".join(str(vector[key]) for key in ("name", "reason", "sequence", "body", "wire")))
        lines[-1] = f"malformed|{lines[-1]}"
    return lines


def test_the_header_is_what_the_vectors_are() -> None:
    written = (DOCS / "serial-vectors.h").read_text(encoding="utf-8")
    assert written == header(VECTORS), "python reference/vectors_header.py > docs/serial-vectors.h"


@pytest.mark.parametrize("compiler", ["cc -std=c99", "c++ -std=c++11"])
def test_a_program_reads_it(compiler: str, tmp_path: Path) -> None:
    command = compiler.split()
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs a compiler, {command[0]}")
    language = {"cc": "c", "c++": "c++"}[command[0]]
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    program = tmp_path / "program"
    subprocess.run(
        [*command, *warnings, f"-I{DOCS}", "-x", language, "-", "-o", str(program)],
        input=PROGRAM,
        text=True,
        check=True,
        timeout=30,
    )
    printed = subprocess.run([program], capture_output=True, text=True, check=True, timeout=10).stdout
    assert printed.splitlines() == expected()
