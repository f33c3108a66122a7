//! What a row of the table is, and how tables write rows.

/// Bytes by which memory may grow in all for a row: in the gateway, in the pipes and in the test itself.
pub(crate) const GROWTH_MAX: u64 = 128 << 10;
/// The same for rows that try to make it grow.
pub(crate) const FLOOD_GROWTH_MAX: u64 = 512 << 10;

/// Rows that belong together.
#[derive(Clone, Copy)]
pub(crate) struct Class {
    pub(crate) title: &'static str,
    pub(crate) rows: fn() -> Vec<Row>,
}

/// What the client does after the bytes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Asks something else on the same connection, which must be served if the row leaves it in step, and
    /// must not even be read otherwise.
    Asks,
    /// Closes its sending side.
    Ends,
    /// Nothing: the row's bytes are not the whole of something.
    Waits,
}

/// How a row may be cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Anywhere,
    /// It is about bytes that come together.
    Nowhere,
}

/// One row of the request side.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) clause: &'static str,
    /// Bytes in. Several are several spellings of one thing, with one outcome.
    pub(crate) cases: Vec<Vec<u8>>,
    pub(crate) then: Then,
    pub(crate) cut: Cut,
    /// Statuses and fault codes of all answers, and whether the connection is closed.
    pub(crate) outcome: String,
    /// What the gateway counts; nothing if it is one word of `|`.
    pub(crate) reason: &'static str,
    /// Messages that the backend saw, `{added}` standing for the fields that the gateway adds.
    pub(crate) saw: Vec<String>,
    /// What it may see instead, this much or less of it and then the end of the connection, when the bytes
    /// come in pieces: the head was passed on before the fault came.
    pub(crate) late: Option<String>,
    pub(crate) growth_max: u64,
    /// Compared with other servers, and why they differ or do not.
    pub(crate) peers: Option<&'static str>,
}

impl Row {
    pub(crate) fn new(
        name: &'static str,
        clause: &'static str,
        bytes: impl Into<Vec<u8>>,
        outcome: impl Into<String>,
    ) -> Self {
        Self {
            name,
            clause,
            cases: vec![bytes.into()],
            then: Then::Asks,
            cut: Cut::Anywhere,
            outcome: outcome.into(),
            reason: "",
            saw: Vec::new(),
            late: None,
            growth_max: GROWTH_MAX,
            peers: None,
        }
    }

    /// A row of several spellings.
    pub(crate) fn each(
        name: &'static str,
        clause: &'static str,
        cases: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        outcome: impl Into<String>,
    ) -> Self {
        let cases = cases.into_iter().map(Into::into).collect();
        Self { cases, ..Self::new(name, clause, "", outcome) }
    }

    /// The reason that is counted; `a|b` where it is one of several, or more than one of them.
    pub(crate) fn counted(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// Another message that the backend saw.
    pub(crate) fn saw(mut self, message: impl Into<String>) -> Self {
        self.saw.push(message.into());
        self
    }

    /// The most that the backend may see of a message that is cut, when the bytes come in pieces.
    pub(crate) fn late(self, message: impl Into<String>) -> Self {
        Self { late: Some(message.into()), ..self }
    }

    pub(crate) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub(crate) fn uncut(self) -> Self {
        Self { cut: Cut::Nowhere, ..self }
    }

    pub(crate) fn grows(self, growth_max: u64) -> Self {
        Self { growth_max, ..self }
    }

    pub(crate) fn peers(self, why: &'static str) -> Self {
        Self { peers: Some(why), ..self }
    }

    /// Whether the connection serves on.
    pub(crate) fn goes_on(&self) -> bool {
        !self.outcome.ends_with("closed")
    }
}

/// What stands for the fields that the gateway adds.
pub(crate) const ADDED: &str = "{added}\n";

/// The head of a request as the backend sees it: this line, the host `a.test`, these lines, and what the
/// gateway adds; `framing` comes last.
pub(crate) fn head(line: &str, lines: &str, framing: &str) -> String {
    format!("{line} HTTP/1.1\nhost: a.test\n{lines}{ADDED}{framing}\n")
}

/// A `POST` of five bytes as the backend sees it.
pub(crate) fn hello(lines: &str) -> String {
    head("POST /", lines, "content-length: 5\n") + "hello"
}

/// A `GET` with these lines, CR LF at the end of each, over HTTP/1.
pub(crate) fn get(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nhost: a.test\r\n{lines}\r\n").into_bytes()
}

/// A `POST` with these lines and this body.
pub(crate) fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nhost: a.test\r\n{lines}\r\n{body}").into_bytes()
}
