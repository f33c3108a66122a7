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
  if (order.body && isGranted) await send(asked, order);
  if (isGranted) asked.end();
  const answer = await answered;
  const found = await read(answer);
  if (!isGranted) asked.destroy();
  return { ...found, interim };
}

/** Whether the body is asked for, rather than answered before it is sent. */
function granted(asked, answered) {
  asked.setHeader("expect", "100-continue");
  asked.flushHeaders();
  return Promise.race([once(asked, "continue").then(() => true), answered.then(() => false)]);
}

async function send(asked, order) {
  for (const piece of pieces(contentOf(order))) {
    // Whoever answers early may not read the rest.
    if (asked.destroyed) return;
    if (!asked.write(piece)) await Promise.race([once(asked, "drain"), once(asked, "close")]);
  }
  if (order.trailers.length) asked.addTrailers(order.trailers);
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
