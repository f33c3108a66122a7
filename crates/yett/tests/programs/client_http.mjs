// A client: Node's http module, with one connection that is kept.

import { Agent, request } from "node:http";
import { once } from "node:events";
import { BEGINNING, PATIENCE_MS, body, contentOf, listen, pairs, pieces, untilToldToLeave } from "./talk.mjs";

const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function begin(order) {
  const asked = request(order.url, { agent, method: order.method, timeout: PATIENCE_MS });
  asked.on("timeout", () => asked.destroy(new Error("timed out")));
  for (const [name, values] of grouped(order.headers)) asked.setHeader(name, values);
  if (order.body && !order.body.chunked) asked.setHeader("content-length", order.body.length);
  if (order.body?.chunked) asked.setHeader("transfer-encoding", "chunked");
  return asked;
}

function grouped(headers) {
  const found = new Map();
  for (const [name, value] of headers) found.set(name, [...(found.get(name) ?? []), value]);
  return found;
}

async function exchange(order) {
  const interim = [];
  const asked = begin(order);
  asked.on("information", ({ statusCode, rawHeaders }) => {
    interim.push({ status: statusCode, headers: pairs(rawHeaders) });
  });
  const answered = once(asked, "response").then(([answer]) => answer);
  // It is awaited below, after the body.
  answered.catch(() => {});
  const isGranted = order.expect ? await granted(asked, answered) : true;
  const isSent = isGranted && (!order.body || (await send(asked, answered, order)));
  if (isSent) asked.end();
  const found = await read(await answered);
  // What was not sent cannot be made up for on this connection.
  if (!isSent) asked.destroy();
  return { ...found, interim };
}

/** Whether the body is asked for, rather than answered before it is sent. */
function granted(asked, answered) {
  asked.setHeader("expect", "100-continue");
  asked.flushHeaders();
  return Promise.race([once(asked, "continue").then(() => true), answered.then(() => false)]);
}

/** Whether all of the body is sent, rather than answered before. */
async function send(asked, answered, order) {
  for (const piece of pieces(contentOf(order))) {
    if (asked.write(piece)) continue;
    const drained = once(asked, "drain").then(() => true);
    // Nobody may be waiting any more when the connection breaks.
    drained.catch(() => {});
    if (!(await Promise.race([drained, answered.then(() => false)]))) return false;
  }
  if (order.trailers.length) asked.addTrailers(order.trailers);
  return true;
}

async function read(answer) {
  const received = [];
  for await (const piece of answer) received.push(piece);
  return {
    status: answer.statusCode,
    version: `HTTP/${answer.httpVersion}`,
    headers: pairs(answer.rawHeaders),
    trailers: pairs(answer.rawTrailers),
    ...body(Buffer.concat(received)),
  };
}

async function leave(order) {
  const asked = begin(order);
  asked.on("error", () => {});
  for (const piece of pieces(contentOf(order).subarray(0, BEGINNING))) asked.write(piece);
  await untilToldToLeave();
  asked.destroy();
  return { error: "left" };
}

listen((order) => (order.leave ? leave(order) : exchange(order)));
