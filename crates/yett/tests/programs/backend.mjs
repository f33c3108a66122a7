// A backend: Node's http server. What it serves is listed in `matrix/origins.rs`.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";

const PAGE = "<p>a page</p>\n";
const LARGE = readFileSync(process.argv[2]);
const DIES_AFTER = 64 * 1024;
const PROMISED = 1024 * 1024;
const PIECE = 64 * 1024;

const held = new Map();

const tell = (...words) => process.stdout.write(`${words.join(" ")}\n`);

const pages = {
  "/page.html": page,
  "/large": (_, answer) => whole(answer, LARGE),
  "/chunked": (_, answer) => Readable.from(["one\n", "two\n", "three\n"]).pipe(answer),
  "/large-chunked": (_, answer) => Readable.from(pieces(LARGE)).pipe(answer),
  "/empty": (_, answer) => whole(answer, ""),
  "/none": (_, answer) => answer.writeHead(204).end(),
  "/cookies": (_, answer) => whole(answer, "ok", { "set-cookie": ["a=1", "b=2"] }),
  "/trailers": trailers,
  "/hints": hints,
  "/headers": (request, answer) => report(request, answer, {}),
  "/dies/length": (_, answer) => die(answer, "length"),
  "/dies/chunked": (_, answer) => die(answer, "chunked"),
};

function* pieces(content) {
  for (let at = 0; at < content.length; at += PIECE) yield content.subarray(at, at + PIECE);
}

function whole(answer, content, headers = {}, status = 200) {
  answer.writeHead(status, { ...headers, "content-length": Buffer.byteLength(content) }).end(content);
}

function page(request, answer) {
  if (request.headers["if-none-match"] === '"page"') answer.writeHead(304, { etag: '"page"' }).end();
  else whole(answer, PAGE, { etag: '"page"', "content-type": "text/html" });
}

function trailers(_, answer) {
  answer.writeHead(200, { trailer: "x-sum" });
  answer.write("summed\n");
  answer.addTrailers({ "x-sum": "7" });
  answer.end();
}

function hints(_, answer) {
  const link = "</style.css>; rel=preload; as=style";
  answer.writeEarlyHints({ link }, () => whole(answer, "hinted\n"));
}

function die(answer, how) {
  if (how === "length") answer.writeHead(200, { "content-length": PROMISED });
  answer.write(LARGE.subarray(0, DIES_AFTER), () => {
    tell("died", how);
    answer.socket.destroy();
  });
}

function store(request, answer, kind, name) {
  const digest = createHash("sha256");
  let length = 0;
  request.on("data", (piece) => {
    if (kind === "hold" && length === 0) {
      request.pause();
      held.set(name, request);
      tell("began", name);
    }
    digest.update(piece);
    length += piece.length;
  });
  request.on("end", () => {
    tell("whole", name, length);
    report(request, answer, { length, sha256: digest.digest("hex"), trailers: pairs(request.rawTrailers) });
  });
  request.on("close", () => request.complete || tell("broken", name, length));
  request.on("error", () => {});
}

function early(request, answer) {
  whole(answer, "early\n", {}, 413);
  // Else whoever sends could not read the answer.
  request.resume();
}

function report(request, answer, more) {
  const { headers } = request;
  const framing = headers["transfer-encoding"] ? "chunked" : headers["content-length"] ? "length" : "none";
  whole(answer, JSON.stringify({ headers: pairs(request.rawHeaders), framing, ...more }));
}

function pairs(flat) {
  const found = [];
  for (let at = 0; at < flat.length; at += 2) found.push(flat.slice(at, at + 2));
  return found;
}

function serve(request, answer) {
  if (request.method === "PUT") {
    const [, kind, name] = request.url.split("/");
    return kind === "early" ? early(request, answer) : store(request, answer, kind, name);
  }
  const answering = pages[request.url];
  return answering ? answering(request, answer) : answer.writeHead(404, { "content-length": 0 }).end();
}

function expected(request, answer) {
  const [, kind, name] = request.url.split("/");
  if (kind !== "refuse") {
    answer.writeContinue();
    return serve(request, answer);
  }
  whole(answer, "refused\n", {}, 403);
  tell("refused", name);
  // Whoever gets this answer must not send the body any more.
  request.on("data", () => tell("leaked", name));
  request.on("error", () => {});
}

const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, serve);
server.on("checkContinue", expected);
server.listen(0, "127.0.0.1", () => tell("serving", server.address().port));

createInterface({ input: process.stdin })
  .on("line", (name) => held.get(name)?.resume())
  // It ends when the test does.
  .on("close", () => process.exit());
