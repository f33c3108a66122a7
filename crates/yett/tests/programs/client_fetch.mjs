// A client: fetch, as Node has it.

import { Readable } from "node:stream";
import { PATIENCE_MS, body, contentOf, listen, pieces, untilToldToLeave } from "./talk.mjs";

async function exchange(order, signal = AbortSignal.timeout(PATIENCE_MS)) {
  const { method, headers } = order;
  const answer = await fetch(order.url, { method, headers, signal, ...sent(order), redirect: "manual" });
  const content = Buffer.from(await answer.arrayBuffer());
  return { status: answer.status, headers: [...answer.headers], ...body(content) };
}

function sent(order) {
  if (!order.body) return {};
  const content = contentOf(order);
  // A body in pieces may be sent while the answer comes: the standard wants that said.
  const inPieces = () => Readable.toWeb(Readable.from(pieces(content)));
  return order.body.chunked ? { body: inPieces(), duplex: "half" } : { body: content };
}

async function leave(order) {
  const leaving = new AbortController();
  const exchanged = exchange(order, leaving.signal).catch(() => {});
  await untilToldToLeave();
  leaving.abort();
  await exchanged;
  return { error: "left" };
}

listen((order) => (order.leave ? leave(order) : exchange(order)));
