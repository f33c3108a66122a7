//! Requests over HTTP/1.

/// Content-Length, alone and beside Transfer-Encoding.
mod lengths;
/// Transfer-Encoding.
mod codings;
/// Chunks and trailers.
mod chunks;
/// Where lines end and fields begin.
mod lines;
/// Control characters wherever they can stand.
mod controls;
/// Request lines, and what else a connection may begin with.
mod first_lines;
/// Who is asked for.
mod hosts;
/// The forms of a target.
mod targets;
/// Spellings of paths.
pub(crate) mod paths;
/// What only a gateway may say, and what stays on one connection.
pub(crate) mod identity;
/// Other protocols, and expectations.
mod upgrades;
/// More than there is room for.
mod floods;
/// Connections that end too early.
mod ends;

use crate::it::hostile::row::{Class, Row, Then};
use crate::it::hostile::talk::{GOOD, Stage};
use crate::it::hostile::trial::{self, Plan, Protocol};
use crate::it::kit::brief;

pub(crate) const CLASSES: &[Class] = &[
    Class { title: "Content-Length beside Transfer-Encoding", rows: lengths::beside },
    Class { title: "Content-Length", rows: lengths::alone },
    Class { title: "Transfer-Encoding", rows: codings::rows },
    Class { title: "Chunks", rows: chunks::rows },
    Class { title: "Trailers", rows: chunks::trailers },
    Class { title: "Line ends", rows: lines::ends },
    Class { title: "Fields", rows: lines::fields },
    Class { title: "Control characters", rows: controls::rows },
    Class { title: "Versions and request lines", rows: first_lines::rows },
    Class { title: "Methods", rows: first_lines::methods },
    Class { title: "Other protocols on the port", rows: first_lines::others },
    Class { title: "Host", rows: hosts::rows },
    Class { title: "Forms of the target", rows: targets::rows },
    Class { title: "Paths that climb into what is guarded", rows: paths::guarded },
    Class { title: "Paths that are passed on", rows: paths::passed },
    Class { title: "Paths that are refused", rows: paths::refused },
    Class { title: "Identity that a client claims", rows: identity::claims },
    Class { title: "Fields of one connection", rows: identity::hops },
    Class { title: "Upgrade", rows: upgrades::rows },
    Class { title: "Expect", rows: upgrades::expectations },
    Class { title: "Floods", rows: floods::rows },
    Class { title: "Early ends", rows: ends::rows },
];

/// What follows a row on its connection.
const TAIL: &[u8] = b"GET /tail HTTP/1.1\r\nhost: a.test\r\n\r\n";

/// Tries rows of this protocol.
fn check(rows: &[Row]) {
    trial::check(rows, Protocol { bytes, speak, ahead: "200", tail: "200", step: 1, room: 0 });
}

/// All of it on one connection, and in one write unless it is cut.
fn bytes(row: &Row, case: &[u8], plan: Plan) -> Vec<u8> {
    let ahead: &[u8] = if plan == Plan::Behind { GOOD } else { b"" };
    let tail: &[u8] = if row.then == Then::Asks { TAIL } else { b"" };
    [ahead, case, tail].concat()
}

fn speak(stage: &Stage, row: &Row, bytes: &[u8], plan: Plan) -> Result<String, String> {
    let heard = stage.says(&plan.pieces(bytes), row.then);
    let found = brief(&heard);
    if found.ends_with(", closed") && row.then != Then::Ends {
        let last = heard.rsplit("HTTP/1.1 ").next().unwrap_or_default();
        if !last.contains("\r\nconnection: close\r\n") {
            return Err(format!("closed without saying so (RFC 9112, 9.6)\n{heard}"));
        }
    }
    Ok(found)
}
