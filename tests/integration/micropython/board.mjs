// A board without anything around it: MicroPython with the files of reference/micropython on it.

import { readFileSync } from "node:fs";
import { loadMicroPython } from "@micropython/micropython-webassembly-pyscript";

const reference = new URL("../../../reference/micropython/", import.meta.url);

export async function load(print) {
  const board = await loadMicroPython({ heapsize: 64 * 1024, linebuffer: true, stdout: print });
  for (const name of ["oriole_frames.py", "oriole_serial.py", "main.py"]) {
    board.FS.writeFile(`/${name}`, readFileSync(new URL(name, reference)));
  }
  board.FS.writeFile("/machine.py", readFileSync(new URL("machine.py", import.meta.url)));
  return board;
}

// Without the source of the interpreter, which Node would print with the traceback.
export function fail(error) {
  console.error(error.message);
  process.exitCode = 1;
}
