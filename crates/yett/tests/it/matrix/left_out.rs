//! Cells that cannot be, each with its reason.

use super::clients::Client;
use super::origins::Origin;

/// Rows, columns and why nothing is there.
pub(crate) struct LeftOut {
    pub(crate) clients: &'static [Client],
    pub(crate) origins: &'static [Origin],
    pub(crate) cases: &'static [&'static str],
    pub(crate) reason: &'static str,
}

const fn of_clients(
    clients: &'static [Client],
    cases: &'static [&'static str],
    reason: &'static str,
) -> LeftOut {
    LeftOut { clients, origins: &Origin::ALL, cases, reason }
}

const fn of_origins(
    origins: &'static [Origin],
    cases: &'static [&'static str],
    reason: &'static str,
) -> LeftOut {
    LeftOut { clients: &Client::ALL, origins, cases, reason }
}

const CHUNKED_UPLOADS: &[&str] = &[
    "upload in chunks",
    "empty upload in chunks",
    "large upload in chunks",
    "client leaves, in chunks",
];
const EXPECTATIONS: &[&str] = &["100-continue granted", "100-continue refused"];

pub(crate) const LEFT_OUT: &[LeftOut] = &[
    of_clients(&[Client::Curl10], CHUNKED_UPLOADS, "HTTP/1.0 has no chunks"),
    of_clients(&[Client::Curl10], EXPECTATIONS, "HTTP/1.0 has no expectations"),
    of_clients(
        &[Client::Curl10],
        &["trailers of the answer"],
        "HTTP/1.0 has no chunks, and so nowhere to put trailers",
    ),
    of_clients(
        &[Client::Curl10, Client::Curl11, Client::Curl2],
        &["trailers of the request"],
        "curl's command line cannot send trailers",
    ),
    of_clients(
        &[Client::Curl2],
        &["keep-alive"],
        "curl 7.88 fails at its second request by HTTP/2 without negotiation, whoever it asks",
    ),
    of_clients(
        &[Client::Curl2],
        &["answer amid the upload", "100-continue refused"],
        "curl 7.88 loses an answer by HTTP/2 before a reset that only ends the upload (RFC 9113, 8.1), \
         whoever it asks",
    ),
    of_clients(
        &[Client::Httpx2],
        &["answer amid the upload"],
        "httpx looks for an answer by HTTP/2 only when all is sent, whoever it asks",
    ),
    of_clients(&[Client::Wrk], CHUNKED_UPLOADS, "wrk writes bodies by their length only"),
    of_clients(&[Client::Wrk], &["HEAD"], "wrk waits for a body that an answer to HEAD has not"),
    of_clients(
        &[Client::Wrk],
        &["repeated headers of the answer", "repeated headers of the request"],
        "wrk's scripts see and send one header of a name",
    ),
    of_clients(
        &[Client::Wrk, Client::PythonHttp],
        &["103"],
        "the client takes the first head for the answer, whatever its status",
    ),
    of_clients(
        &[
            Client::Wrk,
            Client::PythonHttp,
            Client::Httpx11,
            Client::Httpx2,
            Client::NodeFetch,
            Client::Chromium11,
            Client::Chromium2,
        ],
        &["trailers of the answer"],
        "the client does not show trailers",
    ),
    of_clients(
        &[
            Client::Wrk,
            Client::Httpx11,
            Client::Httpx2,
            Client::NodeFetch,
            Client::Chromium11,
            Client::Chromium2,
        ],
        &["trailers of the request"],
        "the client cannot send trailers",
    ),
    of_clients(
        &[
            Client::Wrk,
            Client::PythonHttp,
            Client::Httpx11,
            Client::Httpx2,
            Client::NodeFetch,
            Client::Chromium11,
            Client::Chromium2,
        ],
        EXPECTATIONS,
        "the client does not wait before it sends a body",
    ),
    of_clients(
        &[Client::Chromium11],
        CHUNKED_UPLOADS,
        "browsers send streams by HTTP/2 and newer only",
    ),
    of_origins(
        &[Origin::Nginx],
        &["103"],
        "nginx before 1.29 takes the 103 of the server behind it for the answer",
    ),
    of_origins(
        &[Origin::Nginx, Origin::Caddy],
        &["trailers of the request"],
        "it does not pass them on to who could tell of them",
    ),
    of_origins(
        &[Origin::Caddy],
        &["100-continue refused"],
        "Caddy sends no refusal before the body comes",
    ),
];

/// Why there is no such cell; nothing if there is.
pub(crate) fn reason(client: Client, origin: Origin, case: &str) -> Option<&'static str> {
    let is_it = |out: &&LeftOut| {
        out.clients.contains(&client) && out.origins.contains(&origin) && out.cases.contains(&case)
    };
    LEFT_OUT.iter().find(is_it).map(|out| out.reason)
}
