// A client: a page in headless Chromium that fetches, or says something on a WebSocket. Its argument is a folder for the
// browser's profile.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { PATIENCE_MS, TEXT_MAX, listen, untilToldToLeave } from "./talk.mjs";

const browser = spawn(
  "chromium",
  [
    "--headless",
    // Only pages of the test are opened, and a sandbox is not to be had in every container.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    // Nobody looks at the page; even so it is not to wait until nothing else wants the processor.
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
    "--no-proxy-server",
    // The test's own authority is in no store, and its names are in no zone.
    "--ignore-certificate-errors",
    "--host-resolver-rules=MAP yett.test 127.0.0.1",
    `--user-data-dir=${process.argv[2]}`,
    "--remote-debugging-pipe",
    "about:blank",
  ],
  { stdio: ["ignore", "ignore", "inherit", "pipe", "pipe"] },
);
browser.on("error", (fault) => {
  console.error(`${fault}; \`make needs\` installs Chromium`);
  process.exit(1);
});
browser.on("exit", (code) => {
  console.error(`chromium ended with ${code}`);
  process.exit(1);
});
process.on("exit", () => browser.kill("SIGKILL"));

const waiting = new Map();
const events = new Map();
let last = 0;
let session;
let origin;

let unread = "";
browser.stdio[4].setEncoding("utf8").on("data", (text) => {
  const messages = (unread + text).split("\0");
  unread = messages.pop();
  for (const message of messages) take(JSON.parse(message));
});

function take(message) {
  if (message.id) waiting.get(message.id)(message);
  else events.get(message.method)?.(message.params);
}

/** Gives the browser a command; they are those of the DevTools protocol. */
function command(method, params = {}) {
  last += 1;
  const id = last;
  browser.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: session })}\0`);
  const done = new Promise((resolve, reject) => {
    waiting.set(id, ({ result, error }) => {
      waiting.delete(id);
      if (error) reject(new Error(`${method}: ${error.message}`));
      else resolve(result);
    });
  });
  return soon(done, `${method} ${params.url ?? ""}`);
}

/** What comes of a promise, unless that takes too long. */
function soon(promise, what) {
  let late;
  const limit = new Promise((_, reject) => {
    // A little later than the page itself gives up, which knows more.
    late = setTimeout(() => reject(new Error(`${what}: timed out`)), PATIENCE_MS + 5_000);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(late));
}

async function open(page) {
  if (!session) {
    const { targetInfos } = await command("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }) => type === "page");
    session = (await command("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    await command("Page.enable");
  }
  const loaded = new Promise((resolve) => events.set("Page.loadEventFired", resolve));
  const { errorText } = await command("Page.navigate", { url: page });
  if (errorText) throw new Error(`${page}: ${errorText}`);
  await soon(loaded, `the load of ${page}`);
}

/** Runs a function within the page, and returns what it does. */
async function within(run, ...values) {
  const expression = `(${run})(${values.map((value) => JSON.stringify(value)).join(", ")})`;
  const parameters = { expression, awaitPromise: true, returnByValue: true };
  const { result, exceptionDetails } = await command("Runtime.evaluate", parameters);
  if (exceptionDetails) throw new Error(exceptionDetails.exception.description);
  return result.value;
}

// Runs in the page.
async function exchange(order, { patienceMs, textMax }) {
  const leaving = new AbortController();
  window.leaving = leaving;
  const late = setTimeout(() => leaving.abort(new Error("timed out")), patienceMs);
  const { signal } = leaving;
  const fetched = async (path) => new Uint8Array(await (await fetch(path, { signal })).arrayBuffer());
  const sent = async () => {
    if (!order.body) return {};
    const { from, length, chunked } = order.body;
    // What the test sends is what it serves; what only has to be long is made up.
    const content = from ? (await fetched(from)).slice(0, length) : new Uint8Array(length);
    return chunked ? { body: new Blob([content]).stream(), duplex: "half" } : { body: content };
  };
  try {
    const { method, headers } = order;
    const common = { method, headers, signal, cache: "no-store", redirect: "manual" };
    const answer = await fetch(order.url, { ...common, ...(await sent()) });
    const content = await answer.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    // Scripts are not shown `Set-Cookie`, only what became of it.
    const cookies = document.cookie.split("; ").filter(Boolean).map((cookie) => ["set-cookie", cookie]);
    const timing = performance.getEntriesByName(order.url).at(-1);
    return {
      status: answer.status,
      version: { "http/1.1": "HTTP/1.1", h2: "HTTP/2" }[timing?.nextHopProtocol],
      headers: [...answer.headers, ...cookies],
      length: content.byteLength,
      sha256,
      text: content.byteLength <= textMax ? new TextDecoder("latin1").decode(content) : undefined,
    };
  } catch (fault) {
    return { error: String(fault) };
  } finally {
    clearTimeout(late);
    performance.clearResourceTimings();
  }
}

// Runs in the page.
async function converse({ url, say }, patienceMs) {
  const socket = new WebSocket(url, ["chat.v2"]);
  socket.binaryType = "arraybuffer";
  const heard = [];
  const ended = new Promise((resolve) => {
    const late = setTimeout(() => resolve({ error: "timed out" }), patienceMs);
    const end = (found) => {
      clearTimeout(late);
      resolve(found);
    };
    socket.onopen = () => socket.send(say[0]);
    socket.onmessage = ({ data }) => {
      heard.push(typeof data === "string" ? data : `${data.byteLength} bytes`);
      if (heard.length === say.length) socket.close(4000, "all is said");
      else socket.send(say[heard.length]);
    };
    socket.onclose = ({ code, reason, wasClean }) => end({ code, reason, clean: wasClean });
  });
  return { heard, ...(await ended), protocol: socket.protocol, compressed: socket.extensions.startsWith("permessage-deflate") };
}

async function perform(order) {
  const url = new URL(order.url);
  if (url.origin !== origin) {
    await open(`${url.origin}/page.html`);
    origin = url.origin;
  }
  if (order.say) {
    const to = { say: order.say, url: order.url.replace("http", "ws") };
    return within(converse, to, PATIENCE_MS);
  }
  const limits = { patienceMs: PATIENCE_MS, textMax: TEXT_MAX };
  const exchanged = within(exchange, order, limits);
  if (!order.leave) return exchanged;
  await untilToldToLeave();
  await within(() => window.leaving.abort());
  await exchanged;
  return { error: "left" };
}

await once(browser, "spawn");
listen(perform);
