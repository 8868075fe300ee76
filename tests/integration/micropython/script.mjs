// A board runs what it gets on standard input: node script.mjs < script.py

import { readFileSync } from "node:fs";
import { fail, load } from "./board.mjs";

const board = await load(console.log);
try {
  board.runPython(readFileSync(0, "utf8"));
} catch (error) {
  fail(error);
}
