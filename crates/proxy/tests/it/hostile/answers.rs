//! Answers of backends that lie, to clients of HTTP/1 and of HTTP/2. Each row is answered once; whatever is
//! asked after that, by whomever, is answered well, and nothing of the row may show in it.

/// How an answer is tried.
mod trial;
/// What an HTTP/2 client gets.
mod streams;
/// How long an answer is.
mod lengths;
/// Chunks and trailers.
mod chunks;
/// Status lines.
mod first_lines;
/// Fields.
mod fields;
/// Informational answers.
mod interim;
/// What comes when nothing should.
mod after;
/// Connections that end too early.
mod ends;

use crate::it::hostile::row::GROWTH_MAX;

/// Answers that belong together.
#[derive(Clone, Copy)]
pub(crate) struct Class {
    pub(crate) title: &'static str,
    pub(crate) rows: fn() -> Vec<Answer>,
}

pub(crate) const CLASSES: &[Class] = &[
    Class { title: "Lengths", rows: lengths::rows },
    Class { title: "Lengths that contradict themselves", rows: lengths::contradictions },
    Class { title: "Answers without a body", rows: lengths::bodiless },
    Class { title: "Chunks", rows: chunks::rows },
    Class { title: "Trailers", rows: chunks::trailers },
    Class { title: "Status lines", rows: first_lines::rows },
    Class { title: "Header injection and other malformed fields", rows: fields::injected },
    Class { title: "Fields that are passed on, and that are not", rows: fields::passed },
    Class { title: "Floods", rows: fields::floods },
    Class { title: "Informational answers", rows: interim::rows },
    Class { title: "Bytes after an answer", rows: after::rows },
    Class { title: "Answers before their time", rows: after::early },
    Class { title: "Early ends", rows: ends::rows },
];

/// What a backend does after its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Stays,
    Closes,
    /// Stays, and says this when all is quiet.
    Adds(&'static str),
}

/// When a backend answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// When it has the whole request.
    Whole,
    /// As soon as the request begins.
    AtOnce,
}

/// One row of the response side.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) name: &'static str,
    pub(crate) clause: &'static str,
    /// What is asked: a method, lines and a body, as an HTTP/1 client writes them.
    pub(crate) asked: Asked,
    /// What the backend sends; several are several spellings of one thing, with one outcome.
    pub(crate) cases: Vec<Vec<u8>>,
    pub(crate) when: When,
    pub(crate) then: Then,
    /// What an HTTP/1 client gets, without date and request id: all of it, with plain line breaks, or of
    /// faults the status and the code in one line.
    pub(crate) gets: String,
    pub(crate) growth_max: u64,
    /// The kit's reader of HTTP/2 knows ASCII only.
    pub(crate) is_only_http1: bool,
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    /// Further fields, each with a plain line break.
    pub(crate) lines: &'static str,
    pub(crate) body: &'static str,
}

impl Asked {
    /// Whether the client has not sent all of its body.
    pub(crate) fn owes(self) -> bool {
        self.lines.contains("content-length: 1000000\n")
    }
}

pub(crate) const GET: Asked = Asked { method: "GET", lines: "", body: "" };
pub(crate) const HEAD: Asked = Asked { method: "HEAD", lines: "", body: "" };
/// The fault of an answer that is none.
pub(crate) const INVALID: &str = "502 upstream_invalid";
/// The fault of an answer that does not come.
pub(crate) const RESET: &str = "502 upstream_reset";

impl Answer {
    pub(crate) fn new(
        name: &'static str,
        clause: &'static str,
        bytes: impl Into<Vec<u8>>,
        gets: impl Into<String>,
    ) -> Self {
        Self::each(name, clause, [bytes], gets)
    }

    pub(crate) fn each(
        name: &'static str,
        clause: &'static str,
        cases: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        gets: impl Into<String>,
    ) -> Self {
        Self {
            name,
            clause,
            asked: GET,
            cases: cases.into_iter().map(Into::into).collect(),
            when: When::Whole,
            then: Then::Stays,
            gets: gets.into(),
            growth_max: GROWTH_MAX,
            is_only_http1: false,
        }
    }

    pub(crate) fn asked(self, asked: Asked) -> Self {
        Self { asked, ..self }
    }

    pub(crate) fn at_once(self) -> Self {
        Self { when: When::AtOnce, ..self }
    }

    pub(crate) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub(crate) fn only_http1(self) -> Self {
        Self { is_only_http1: true, ..self }
    }

    pub(crate) fn closes(self) -> Self {
        self.then(Then::Closes)
    }

    pub(crate) fn grows(self, growth_max: u64) -> Self {
        Self { growth_max, ..self }
    }
}

/// Whether an answer breaks off.
pub(crate) fn is_broken(gets: &str) -> bool {
    streams::over_http2(gets).ends_with(streams::BROKEN)
}

/// Tries all rows, and tells of all that do not keep their promise.
fn check(rows: &[Answer]) {
    let failures: Vec<String> = rows.iter().flat_map(trial::check).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n\n"));
}
