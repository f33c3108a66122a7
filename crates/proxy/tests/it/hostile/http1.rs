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
mod paths;
/// What only a gateway may say, and what stays on one connection.
mod identity;
/// Other protocols, and expectations.
mod upgrades;
/// More than there is room for.
mod floods;
/// Connections that end too early.
mod ends;

use crate::it::hostile::row::{Class, Cut, Row, Then, head};
use crate::it::hostile::talk::{GOOD, Stage, growth};
use crate::it::hostile::text::{expected, merged, shown};
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
/// Bytes up to which a row is sent byte by byte.
const SHORT_BYTES: usize = 1 << 10;
/// Bytes up to which a row is cut in two at each place; of several spellings, the first.
const CUT_BYTES: usize = 160;

/// Runs all rows, and tells of all that do not keep their promise.
pub(crate) fn check(rows: &[Row]) {
    let failures: Vec<String> = rows.iter().flat_map(check_row).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n\n"));
}

fn check_row(row: &Row) -> Vec<String> {
    let mut failures = Vec::new();
    for case in &row.cases {
        let found = Trial { row, case, stage: Stage::new() }.run().err();
        failures.extend(found.into_iter().map(|what| {
            format!("{} ({})\n  bytes: {}\n  {what}", row.name, row.clause, shown(case))
        }));
    }
    failures
}

/// One spelling of one row.
struct Trial<'a> {
    row: &'a Row,
    case: &'a [u8],
    stage: Stage,
}

impl Trial<'_> {
    fn run(&self) -> Result<(), String> {
        let tail: &[u8] = if self.row.then == Then::Asks { TAIL } else { b"" };
        let whole = [self.case, tail].concat();
        let before = self.counted();
        let (heard, growth) = growth(|| self.stage.says(&[&whole], self.row.then));
        self.judge(&heard, "", false).map_err(|what| format!("whole: {what}"))?;
        if growth > self.row.growth_max {
            return Err(format!("memory grew by {growth} bytes"));
        }
        let counted = self.check_count(&before);
        self.check_next()?;
        self.say(&[&[GOOD, &whole].concat()], "200, ", false)
            .map_err(|what| format!("behind a good request: {what}"))?;
        if self.row.cut == Cut::Nowhere {
            return counted;
        }
        if self.case.len() <= SHORT_BYTES {
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            self.say(&bytes, "", true).map_err(|what| format!("byte by byte: {what}"))?;
        }
        let is_first = self.row.cases.first().is_some_and(|first| first == self.case);
        if is_first && self.case.len() <= CUT_BYTES {
            for at in 1..=self.case.len() {
                let (first, second) = whole.split_at(at);
                self.say(&[first, second], "", true)
                    .map_err(|what| format!("in two, cut at {at}: {what}"))?;
            }
        }
        counted
    }

    /// Says something and compares what comes of it, `ahead` standing before the row's own outcome. Where
    /// pieces are cut, so are chunks.
    fn say(&self, pieces: &[&[u8]], ahead: &str, is_cut: bool) -> Result<(), String> {
        self.judge(&self.stage.says(pieces, self.row.then), ahead, is_cut)
    }

    fn judge(&self, heard: &str, ahead: &str, is_cut: bool) -> Result<(), String> {
        let found = brief(heard);
        let outcome = self.outcome(ahead);
        if found != outcome {
            return Err(format!("outcome `{found}`, not `{outcome}`\n{}", heard.replace('\r', "")));
        }
        if found.ends_with(", closed") && self.row.then != Then::Ends {
            let last = heard.rsplit("HTTP/1.1 ").next().unwrap_or_default();
            if !last.contains("\r\nconnection: close\r\n") {
                return Err(format!("closed without saying so\n{heard}"));
            }
        }
        let form = |text: String| if is_cut { merged(&text) } else { text };
        let saw: Vec<String> = self.stage.recorder.take().into_iter().map(form).collect();
        let should: Vec<String> = self.should_see(ahead).into_iter().map(form).collect();
        if saw != should {
            return Err(format!("the backend saw {saw:#?}\n  and not {should:#?}"));
        }
        Ok(())
    }

    fn outcome(&self, ahead: &str) -> String {
        let outcome = &self.row.outcome;
        match (self.row.then, self.row.goes_on()) {
            (Then::Asks, true) => format!("{ahead}{outcome}, 200"),
            _ => format!("{ahead}{outcome}"),
        }
    }

    fn should_see(&self, ahead: &str) -> Vec<String> {
        let mut messages = self.row.saw.clone();
        if !ahead.is_empty() {
            messages.insert(0, head("GET /good", "", ""));
        }
        if self.row.then == Then::Asks && self.row.goes_on() {
            messages.push(head("GET /tail", "", ""));
        }
        messages.iter().map(|message| expected(message)).collect()
    }

    /// Another client is served as if nothing had been.
    fn check_next(&self) -> Result<(), String> {
        let heard = self.stage.says(&[GOOD], Then::Waits);
        let saw = self.stage.recorder.take();
        if brief(&heard) != "200" || saw != [expected(&head("GET /good", "", ""))] {
            return Err(format!("the next client heard {heard}\n  and the backend saw {saw:#?}"));
        }
        Ok(())
    }

    /// What was refused so far, by reason.
    fn counted(&self) -> Vec<(String, u64)> {
        let text = self.stage.gateway.metrics.encode();
        let lines = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("yett_protocol_errors_total{reason=\"")?;
            let (reason, count) = rest.split_once("\"} ")?;
            Some((reason.to_owned(), count.parse().unwrap()))
        });
        lines.collect()
    }

    /// One refusal was counted, or none.
    fn check_count(&self, before: &[(String, u64)]) -> Result<(), String> {
        let after = self.counted();
        let more: Vec<&str> =
            after.iter().filter(|count| !before.contains(count)).map(|(name, _)| &**name).collect();
        let is_right = match (more.as_slice(), self.row.reason) {
            ([], "") => true,
            ([counted], reason) => reason.split('|').any(|reason| reason == *counted),
            _ => false,
        };
        if is_right { Ok(()) } else { Err(format!("counted {more:?}, not `{}`", self.row.reason)) }
    }
}
