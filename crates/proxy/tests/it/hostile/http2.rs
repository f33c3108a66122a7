//! Requests over HTTP/2. Rows stand on stream 3 of a connection that has begun well; what is asked behind them
//! stands on stream 101.

/// The length of a body.
mod lengths;
/// Pseudo-headers.
mod pseudo;
/// Names and values.
mod fields;
/// Paths, and what only a gateway may say.
mod routing;
/// What would be two messages in HTTP/1.
mod downgrade;
/// Frames.
mod framing;
/// More than there is room for.
mod floods;

use crate::it::hostile::row::{Class, Row, Then};
use crate::it::hostile::talk::Stage;
use crate::it::hostile::trial::{self, Plan, Protocol};
use crate::it::http2::frames::{Client, END_HEADERS, HEADERS, WHOLE, block, frame};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

pub(crate) const CLASSES: &[Class] = &[
    Class { title: "Lengths of bodies", rows: lengths::rows },
    Class { title: "Trailers", rows: lengths::trailers },
    Class { title: "Pseudo-headers", rows: pseudo::rows },
    Class { title: "Methods, schemes and targets", rows: pseudo::values },
    Class { title: "`:authority` and Host", rows: pseudo::authorities },
    Class { title: "`CONNECT`", rows: pseudo::connect },
    Class { title: "Names and values", rows: fields::rows },
    Class { title: "Fields of one connection", rows: fields::hops },
    Class { title: "Paths", rows: routing::paths },
    Class { title: "Identity that a client claims", rows: routing::claims },
    Class { title: "One message that would be two in HTTP/1", rows: downgrade::rows },
    Class { title: "Prefaces and frames", rows: framing::rows },
    Class { title: "Early ends", rows: framing::ends },
    Class { title: "Floods", rows: floods::rows },
];

/// What a stream is told whose request is malformed (RFC 9113, 8.1.1).
const MALFORMED: &str = "3:PROTOCOL_ERROR";
/// What a connection is told.
const GONE: &str = "goaway PROTOCOL_ERROR, closed";

/// What is counted for it, and for the stream if one had begun.
const PROTOCOL: &str = "http2_protocol|http2_stream";
/// What a client of the kit reads into.
const ROOM: u64 = 64 << 10;

/// Tries rows of this protocol.
fn check(rows: &[Row]) {
    let bytes = |_: &Row, case: &[u8], _| case.to_vec();
    trial::check(
        rows,
        Protocol { bytes, speak, ahead: "1:200", tail: "101:200", step: 5, room: ROOM },
    );
}

/// A whole `GET` of this path.
fn whole(stream: u32, path: &str) -> Vec<u8> {
    let lines = format!(":method: GET\n:scheme: http\n:path: {path}\n:authority: a.test\n");
    frame(HEADERS, WHOLE, stream, &block(&lines))
}

/// A whole `GET` with these lines besides.
fn get(lines: &str) -> Vec<u8> {
    let start = ":method: GET\n:scheme: http\n:path: /\n:authority: a.test\n";
    frame(HEADERS, WHOLE, 3, &block(&format!("{start}{lines}")))
}

/// The head of a `POST` whose body is to come.
fn post(lines: &str) -> Vec<u8> {
    let start = ":method: POST\n:scheme: http\n:path: /\n:authority: a.test\n";
    frame(HEADERS, END_HEADERS, 3, &block(&format!("{start}{lines}")))
}

fn speak(stage: &Stage, row: &Row, bytes: &[u8], plan: Plan) -> Result<String, String> {
    stage.run(async {
        let mut client = Client::ready(&stage.gateway).await;
        let mut story = Vec::new();
        if plan == Plan::Behind {
            story.push(client.say(&whole(1, "/good")).await);
        }
        for piece in plan.pieces(bytes) {
            client.tell(piece).await;
            sleep(Duration::from_millis(1)).await;
        }
        if row.then == Then::Ends {
            drop(client.io.shutdown().await);
        }
        story.push(client.story().await);
        if row.then == Then::Asks && !client.is_closed {
            story.push(client.say(&whole(101, "/tail")).await);
        }
        story.retain(|told| !told.is_empty());
        Ok(story.join(", "))
    })
}
