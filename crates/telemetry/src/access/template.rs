//! Lines as an operator wants them: text with fields in braces, read once and written many times.

use super::escape;
use super::line::{self, without_query};
use super::stamp::Stamp;
use super::{AccessLine, StageTimes};
use base::report::did_you_mean;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Characters that divide fields from each other. Those that a template makes use of are escaped in its
/// values, so that no value can end its field.
const DIVIDERS: &str = "\"'`|,;=&#()[]<>{}";

/// Headers that hold what nobody must read in a log.
const SECRET_HEADERS: &[&str] =
    &["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"];

/// A format of access lines: `{client} {method} {path} {status} {duration_ms}ms`. `{{` and `}}` stand for
/// braces. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Arc<[Part]>,
    /// Of [`DIVIDERS`], those that stand in the template.
    dividers: Arc<str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    /// A field; between quotes its spaces may stay.
    Field(Field, bool),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Plain(Plain),
    RequestHeader(Box<str>),
    AnswerHeader(Box<str>),
    /// Microseconds of a stage, by its position in [`StageTimes::named`].
    Stage(usize),
}

/// The fields of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Time,
    RequestId,
    TraceId,
    Revision,
    Listener,
    Client,
    Protocol,
    Method,
    Host,
    Path,
    Status,
    GrpcStatus,
    Fault,
    Cause,
    Api,
    Route,
    Consumer,
    Application,
    Credential,
    Upstream,
    Target,
    Attempts,
    BytesIn,
    BytesOut,
    DurationMs,
    UpstreamDurationMs,
    UserAgent,
    Complete,
    Sample,
}

const PLAIN: &[(&str, Plain)] = &[
    ("time", Plain::Time),
    ("request_id", Plain::RequestId),
    ("trace_id", Plain::TraceId),
    ("revision", Plain::Revision),
    ("listener", Plain::Listener),
    ("client", Plain::Client),
    ("protocol", Plain::Protocol),
    ("method", Plain::Method),
    ("host", Plain::Host),
    ("path", Plain::Path),
    ("status", Plain::Status),
    ("grpc_status", Plain::GrpcStatus),
    ("fault", Plain::Fault),
    ("cause", Plain::Cause),
    ("api", Plain::Api),
    ("route", Plain::Route),
    ("consumer", Plain::Consumer),
    ("application", Plain::Application),
    ("credential", Plain::Credential),
    ("upstream", Plain::Upstream),
    ("target", Plain::Target),
    ("attempts", Plain::Attempts),
    ("bytes_in", Plain::BytesIn),
    ("bytes_out", Plain::BytesOut),
    ("duration_ms", Plain::DurationMs),
    ("upstream_duration_ms", Plain::UpstreamDurationMs),
    ("user_agent", Plain::UserAgent),
    ("complete", Plain::Complete),
    ("sample", Plain::Sample),
];

/// Why a template cannot be used, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// What to write in its place.
    pub help: String,
}

fn wrong(message: impl Into<String>, help: impl Into<String>) -> TemplateError {
    TemplateError { message: message.into(), help: help.into() }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A field nobody knows, a header that holds secrets, braces that do not match, a line break.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.chars().any(|c| c.is_control() && c != '\t') {
            let help = "write one line; the gateway ends it";
            return Err(wrong("a format of access lines has no control characters", help));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.next_if_eq(&c).is_some() => literal.push(c),
                '{' => {
                    let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    }
                    parts.push(Part::Field(field(name.trim())?, false));
                }
                '}' => {
                    let help = "write `}}` for a brace that is no field";
                    return Err(wrong("a `}` without its `{`", help));
                }
                c => literal.push(c),
            }
        }
        if !text.contains('}') {
            return Err(wrong("the format has no field", "write fields in braces: `{status}`"));
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        mark_quoted(&mut parts);
        let written = |c: &char| {
            parts.iter().any(|part| matches!(part, Part::Literal(text) if text.contains(*c)))
        };
        let dividers: String = DIVIDERS.chars().filter(written).collect();
        Ok(Self { parts: parts.into(), dividers: dividers.into() })
    }

    /// Whether it has a field that stages must be measured for.
    #[must_use]
    pub fn wants_stages(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(Field::Stage(_), _)))
    }

    /// The headers of the answer that it shows, in lower case.
    pub fn answer_headers(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(Field::AnswerHeader(name), _) => Some(&**name),
            _ => None,
        })
    }

    /// Appends a line and a line feed. What is empty or does not apply becomes `-`.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        stamp: &mut Stamp,
        line: &AccessLine<'_>,
        rate: Option<&str>,
    ) {
        for part in &*self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Field(Field::Plain(Plain::Time), _) => stamp.write(out, line.time),
                Part::Field(Field::Plain(Plain::Client), _) => line::address(out, line.client),
                Part::Field(field, is_quoted) => match value(field, line, rate) {
                    Shown::Text(text) => escape::divided(out, &text, *is_quoted, &self.dividers),
                    Shown::Number(number) => line::number(out, number),
                    Shown::Ms(duration) => line::milliseconds(out, duration),
                    Shown::Nothing => out.push(b'-'),
                },
            }
        }
        out.push(b'\n');
    }
}

/// Fields that stand between double quotes, with nothing else between these.
fn mark_quoted(parts: &mut [Part]) {
    let is_quote = |part: Option<&Part>, at_end: bool| match part {
        Some(Part::Literal(text)) if at_end => text.ends_with('"'),
        Some(Part::Literal(text)) => text.starts_with('"'),
        _ => false,
    };
    for at in 0..parts.len() {
        let before = at.checked_sub(1).and_then(|before| parts.get(before));
        let between = is_quote(before, true) && is_quote(parts.get(at + 1), false);
        if let Some(Part::Field(_, is_quoted)) = parts.get_mut(at) {
            *is_quoted = between;
        }
    }
}

fn field(name: &str) -> Result<Field, TemplateError> {
    if let Some((_, plain)) = PLAIN.iter().find(|(known, _)| *known == name) {
        return Ok(Field::Plain(*plain));
    }
    if let Some(header) = name.strip_prefix("request.header.") {
        return header_name(header).map(Field::RequestHeader);
    }
    if let Some(header) = name.strip_prefix("response.header.") {
        return header_name(header).map(Field::AnswerHeader);
    }
    let stages = StageTimes::default().named().map(|(stage, _)| format!("timings.{stage}_us"));
    if let Some(stage) = stages.iter().position(|stage| stage == name) {
        return Ok(Field::Stage(stage));
    }
    let known = || PLAIN.iter().map(|(name, _)| *name).chain(stages.iter().map(String::as_str));
    let help = match did_you_mean(name, known()) {
        Some(near) => format!("did you mean `{{{near}}}`?"),
        None => format!(
            "known: {}, request.header.NAME, response.header.NAME",
            known().collect::<Vec<_>>().join(", ")
        ),
    };
    Err(wrong(format!("there is no field `{{{name}}}` of access lines"), help))
}

fn header_name(name: &str) -> Result<Box<str>, TemplateError> {
    let lower = name.to_ascii_lowercase();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if lower.is_empty() || !lower.bytes().all(is_name) {
        let help = "write a name such as `{request.header.x-tenant}`";
        return Err(wrong(format!("`{name}` is not the name of a header"), help));
    }
    if SECRET_HEADERS.contains(&lower.as_str()) {
        let help = "logs are read by many and kept for long; `{consumer}` says who called";
        return Err(wrong(format!("the header `{lower}` holds secrets"), help));
    }
    Ok(lower.into())
}

enum Shown<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Ms(Duration),
    Nothing,
}

fn value<'a>(field: &Field, line: &'a AccessLine<'_>, rate: Option<&'a str>) -> Shown<'a> {
    match field {
        Field::Plain(plain) => plain_value(*plain, line, rate),
        Field::RequestHeader(name) => header(line.headers.request(name)),
        Field::AnswerHeader(name) => header(line.headers.answer(name)),
        Field::Stage(stage) => {
            let stages = line.stages.unwrap_or_default().named();
            let took = stages.get(*stage).and_then(|(_, took)| *took);
            took.map_or(Shown::Nothing, |took| Shown::Number(line::micros(took)))
        }
    }
}

/// Whatever bytes it is made of; what is cut off is not even looked at.
fn header(value: Option<&[u8]>) -> Shown<'_> {
    let cut = |bytes: &'_ [u8]| bytes.len().min(base::caps::LOG_FIELD_BYTES_MAX);
    match value {
        Some(bytes) => {
            Shown::Text(String::from_utf8_lossy(bytes.get(..cut(bytes)).unwrap_or(bytes)))
        }
        None => Shown::Nothing,
    }
}

fn plain_value<'a>(plain: Plain, line: &'a AccessLine<'_>, rate: Option<&'a str>) -> Shown<'a> {
    let text = match plain {
        // Written by the caller, who has what they need.
        Plain::Time | Plain::Client => "",
        Plain::Status => return Shown::Number(u64::from(line.status)),
        Plain::GrpcStatus => {
            return line.grpc_status.map_or(Shown::Nothing, |code| Shown::Number(u64::from(code)));
        }
        Plain::Attempts => return Shown::Number(u64::from(line.attempts)),
        Plain::BytesIn => return Shown::Number(line.bytes_in),
        Plain::BytesOut => return Shown::Number(line.bytes_out),
        Plain::DurationMs => return Shown::Ms(line.duration),
        Plain::UpstreamDurationMs if line.upstream_duration.is_zero() => return Shown::Nothing,
        Plain::UpstreamDurationMs => return Shown::Ms(line.upstream_duration),
        Plain::RequestId => line.request_id,
        Plain::TraceId => line.trace_id,
        Plain::Revision => line.revision,
        Plain::Listener => line.listener,
        Plain::Protocol => line.protocol,
        Plain::Method => line.method,
        Plain::Host => line.host,
        Plain::Path => without_query(line.path),
        Plain::Fault => line.fault.unwrap_or_default(),
        Plain::Cause => line.cause.unwrap_or_default(),
        Plain::Api => line.api,
        Plain::Route => line.route,
        Plain::Consumer => line.consumer,
        Plain::Application => line.application,
        Plain::Credential => line.credential,
        Plain::Upstream => line.upstream,
        Plain::Target => line.target,
        Plain::UserAgent => line.user_agent,
        Plain::Complete if line.complete => "true",
        Plain::Complete => "false",
        Plain::Sample => rate.unwrap_or("1"),
    };
    if text.is_empty() { Shown::Nothing } else { Shown::Text(Cow::Borrowed(text)) }
}

#[cfg(test)]
mod tests {
    use super::Template;

    fn error(text: &str) -> String {
        let error = Template::parse(text).unwrap_err();
        format!("{} ({})", error.message, error.help)
    }

    #[test]
    fn unknown_field_is_named_with_the_nearest_known_one() {
        let said = error("{client} {statsu}");
        assert!(said.contains("no field `{statsu}`") && said.contains("`{status}`"), "{said}");
        assert!(error("{}").contains("known: time"));
        assert!(error("{timings.gaurd_us}").contains("`{timings.guard_us}`"));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        assert!(error("plain").contains("no field"));
        assert!(error("{status}}").contains("without its"));
        assert!(error("{status}\n{path}").contains("control characters"));
        assert!(error("{request.header.}").contains("not the name of a header"));
        assert!(error("{request.header.a b}").contains("not the name of a header"));
    }

    #[test]
    fn headers_that_hold_secrets_are_refused() {
        for name in ["Authorization", "cookie", "x-api-key"] {
            assert!(error(&format!("{{request.header.{name}}}")).contains("holds secrets"));
        }
        assert!(error("{response.header.set-cookie}").contains("holds secrets"));
    }

    #[test]
    fn answer_headers_and_stages_are_known_beforehand() {
        let template =
            Template::parse("{response.header.X-Cache} {timings.guard_us} {{{status}}}").unwrap();
        assert_eq!(template.answer_headers().collect::<Vec<_>>(), ["x-cache"]);
        assert!(template.wants_stages());
        assert!(!Template::parse("{status}").unwrap().wants_stages());
    }
}
