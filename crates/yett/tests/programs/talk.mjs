// How a client is told what to ask, and tells what it got: a line of JSON each, on standard input and output.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

// How long a client waits for anything.
export const PATIENCE_MS = 30_000;
// Bodies longer than this are told by their digest only.
export const TEXT_MAX = 8 * 1024;
const PIECE = 64 * 1024;
// So much of a body is sent by a client that then leaves: less than what fits on the way.
export const BEGINNING = 2 * PIECE;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Answers every order by `perform`, until there are no more. */
export async function listen(perform) {
  for (;;) {
    const { done, value } = await lines.next();
    if (done) break;
    const order = JSON.parse(value);
    const found = await perform(order).catch((fault) => ({ error: why(fault) }));
    process.stdout.write(`${JSON.stringify({ id: order.id, ...found })}\n`);
  }
  process.exit();
}

/** Waits for the one word that is said amid an order. */
export async function untilToldToLeave() {
  const { value } = await lines.next();
  if (value !== "leave") throw new Error(`expected \`leave\`, not \`${value}\``);
}

export const why = (fault) => [fault, fault.cause].filter(Boolean).map(String).join(": ");

export const contentOf = (order) => readFileSync(order.body.file);

export function* pieces(content) {
  for (let at = 0; at < content.length; at += PIECE) yield content.subarray(at, at + PIECE);
}

/** What is told about a body. */
export function body(content) {
  const told = { length: content.length, sha256: createHash("sha256").update(content).digest("hex") };
  return content.length <= TEXT_MAX ? { ...told, text: content.toString("latin1") } : told;
}

/** A list of names and values in turn, as pairs. */
export function pairs(flat) {
  const found = [];
  for (let at = 0; at < flat.length; at += 2) found.push(flat.slice(at, at + 2));
  return found;
}
