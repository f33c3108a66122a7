use crate::refusal::Refusal;
use base::caps::ADMIN_QUERY_VALUE_BYTES_MAX;
use base::report::did_you_mean;
use control::page::Ask;
use percent_encoding::percent_decode_str;

/// Items of a page, unless the client says otherwise.
const PAGE: i64 = 50;
/// Items of a page at most.
pub(crate) const PAGE_MAX: i64 = 200;

/// A query parameter that an operation knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// What it does, in a sentence.
    pub(crate) about: &'static str,
    /// Whether it is a number of items; else it is a text.
    pub(crate) is_count: bool,
}

const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "How many items to answer with: 1 to 200, 50 unless said otherwise.",
    is_count: true,
};
const AFTER: Parameter = text("after", "Where to go on: `next` of the page before.");

const fn text(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, about, is_count: false }
}

/// The parameters of every list.
pub(crate) const PAGED: &[Parameter] = &[LIMIT, AFTER];
/// The parameters of lists that can be searched.
pub(crate) const SEARCHED: &[Parameter] = &[
    LIMIT,
    AFTER,
    text("q", "A part of the name or title, in small or large letters."),
    text("name", "What the name begins with."),
    text("plan", "The plan that was chosen for it itself."),
    text("group", "A group that it is in."),
];

/// The parameters of the audit trail.
pub(crate) const AUDITED: &[Parameter] = &[
    LIMIT,
    AFTER,
    text("actor", "Who did it."),
    text("noun", "To which kind of thing."),
    text("subject", "To what: an id."),
    text("from", "Not before this time (RFC 3339)."),
    text("until", "Before this time (RFC 3339)."),
];

/// The parameters by which the audit trail is exported.
pub(crate) const EXPORTED: &[Parameter] = &[
    LIMIT,
    AFTER,
    text("actor", "Who did it."),
    text("from", "Not before this time (RFC 3339)."),
    text("until", "Before this time (RFC 3339)."),
];

/// What was asked for behind the `?`.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads a query, all of whose parameters must be known and stand there once.
    pub(crate) fn read(text: &str, known: &[Parameter]) -> Result<Self, Refusal> {
        let mut read: Vec<(&'static str, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            let Some(parameter) = known.iter().find(|known| known.name == name) else {
                let names = || known.iter().map(|known| known.name);
                let help = match did_you_mean(&name, names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if known.is_empty() => "this operation takes none".to_owned(),
                    None => format!("known here: {}", names().collect::<Vec<_>>().join(", ")),
                };
                let message = format!("unknown query parameter: {help}");
                return Err(Refusal::malformed("?", message));
            };
            let pointer = format!("?{}", parameter.name);
            if read.iter().any(|(name, _)| *name == parameter.name) {
                return Err(Refusal::malformed(pointer, "it stands there twice"));
            }
            if value.len() > ADMIN_QUERY_VALUE_BYTES_MAX || value.chars().any(char::is_control) {
                let message =
                    format!("a text of up to {ADMIN_QUERY_VALUE_BYTES_MAX} bytes in one line");
                return Err(Refusal::malformed(pointer, message));
            }
            read.push((parameter.name, value));
        }
        Ok(Self(read))
    }

    /// The value of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// How many items a page has.
    pub(crate) fn limit(&self) -> Result<i64, Refusal> {
        let Some(text) = self.text("limit") else { return Ok(PAGE) };
        match text.parse() {
            Ok(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
            _ => Err(Refusal::malformed("?limit", format!("a whole number from 1 to {PAGE_MAX}"))),
        }
    }

    /// What `control` is asked of a list.
    pub(crate) fn ask(&self) -> Result<Ask<'_>, Refusal> {
        let text = |name| self.text(name).unwrap_or_default();
        let (q, name, plan, group) = (text("q"), text("name"), text("plan"), text("group"));
        Ok(Ask { q, name, plan, group, after: self.after(), limit: self.limit()? })
    }

    /// Where to go on; empty at the beginning.
    pub(crate) fn after(&self) -> &str {
        self.text("after").unwrap_or_default()
    }
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    let bytes = percent_decode_str(&spaced).decode_utf8();
    bytes.map(Into::into).map_err(|_| Refusal::malformed("?", "the query is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::{PAGED, Query};

    #[test]
    fn queries_are_read_strictly() {
        let query = Query::read("limit=7&after=a%2Fb+c", PAGED).unwrap();
        assert_eq!((query.limit().unwrap(), query.after()), (7, "a/b c"));
        for (wrong, pointer) in [
            ("limti=7", "?"),
            ("limit=1&limit=2", "?limit"),
            ("after=%00", "?after"),
            ("after=%ff", "?"),
        ] {
            assert_eq!(Query::read(wrong, PAGED).unwrap_err().findings[0].pointer, pointer);
        }
        for wrong in ["0", "201", "-1", "x", "", "1.5"] {
            let query = Query::read(&format!("limit={wrong}"), PAGED).unwrap();
            assert_eq!(query.limit().unwrap_err().status, 400, "{wrong}");
        }
    }
}
