// A board with a tty for its UART runs main.py: node run.mjs TTY REPORT_MS
// What main.py prints goes to the tty too, as on a board whose console is the UART.

import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { fail, load } from "./board.mjs";

const EAGAIN = 11; // MicroPython's number for it
const [tty, reportMs] = process.argv.slice(2);
const line = openSync(tty, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
const board = await load((text) => writeSync(line, `${text}\r\n`));

const { FS } = board;
const unlessBusy = (operation) => {
  try {
    return operation();
  } catch (error) {
    throw error.code === "EAGAIN" ? new FS.ErrnoError(EAGAIN) : error;
  }
};
const uart = FS.makedev(64, 0);
FS.registerDevice(uart, {
  open: (stream) => {
    stream.seekable = false;
  },
  read: (stream, buffer, offset, length) => unlessBusy(() => readSync(line, buffer, offset, length, null)),
  write: (stream, buffer, offset, length) => unlessBusy(() => writeSync(line, buffer, offset, length)),
});
FS.mkdev("/dev/uart", uart);

try {
  board.runPython(`import main; main.REPORT_MS = ${Number(reportMs)}`);
  const { step } = board.pyimport("main");
  for (;;) {
    step();
    await setTimeout(5);
  }
} catch (error) {
  closeSync(line);
  fail(error);
}
