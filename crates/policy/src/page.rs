//! Pages that the gateway gives in place of its problem details: as JSON, HTML or text, whichever the
//! client prefers (RFC 9110, 12.5.1).

use crate::kind::BuildCtx;
use base::caps::ANSWER_BYTES_MAX;
use base::report::did_you_mean;
use base::{Node, Report, Text};
use http::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED, VARY,
};
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt::Write as _;
use traffic::{Body, Exchange, Headers, Response};

/// What a page says, in one or more forms. In each, `{status}`, `{code}`, `{title}`, `{detail}` and
/// `{request_id}` stand for what is known of the failure.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct WrittenPage {
    /// Any value, sent as `application/json`; a text that is `{status}` and nothing else becomes the
    /// number.
    pub json: Option<serde_json::Value>,
    /// An HTML page, written here or in a file: `${file:pages/404.html}`.
    pub html: Option<Text>,
    /// Plain text.
    pub text: Option<Text>,
}

/// A form of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `json`, or the gateway's problem details where a page has none.
    #[default]
    Json,
    /// `html`.
    Html,
    /// `text`.
    Text,
}

impl Form {
    const fn media_type(self) -> (&'static str, HeaderValue) {
        match self {
            Self::Json => ("application/json", HeaderValue::from_static("application/json")),
            Self::Html => ("text/html", HeaderValue::from_static("text/html; charset=utf-8")),
            Self::Text => ("text/plain", HeaderValue::from_static("text/plain; charset=utf-8")),
        }
    }
}

/// What is known of a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) status: u16,
    pub(crate) code: &'a str,
    pub(crate) title: &'a str,
    pub(crate) detail: &'a str,
    pub(crate) request_id: &'a str,
}

/// A page that was checked.
#[derive(Debug, Default)]
pub(crate) struct Page {
    forms: Vec<(Form, Template)>,
}

impl Page {
    /// Checks what stands at `below`; problems go to the report.
    pub(crate) fn build(
        written: &WrittenPage,
        (node, below): (&Node, &str),
        ctx: &BuildCtx<'_>,
        report: &mut Report,
    ) -> Self {
        let mut page = Self::default();
        if let Some(json) = &written.json {
            // As a number it needs no quotes.
            let text = json.to_string().replace("\"{status}\"", "{status}");
            page.add((Form::Json, &text), (node, &format!("{below}/json")), ctx, report);
        }
        for (form, name, text) in
            [(Form::Html, "html", &written.html), (Form::Text, "text", &written.text)]
        {
            let Some(text) = text else { continue };
            let at = format!("{below}/{name}");
            match text.resolve(ctx.secrets) {
                Ok(text) => page.add((form, text.reveal()), (node, &at), ctx, report),
                Err(message) => {
                    ctx.error(report, node, &at, message);
                }
            }
        }
        if page.forms.is_empty() && !report.has_errors() {
            ctx.error(report, node, below, "this page has no form")
                .help("give it at least one of `json`, `html` and `text`");
        }
        page
    }

    fn add(
        &mut self,
        (form, text): (Form, &str),
        (node, at): (&Node, &str),
        ctx: &BuildCtx<'_>,
        report: &mut Report,
    ) {
        if text.len() > ANSWER_BYTES_MAX {
            let message =
                format!("the page has {} bytes; at most {ANSWER_BYTES_MAX} fit", text.len());
            ctx.error(report, node, at, message);
        }
        let (template, doubtful) = Template::parse(text);
        for (written, near) in doubtful {
            ctx.warning(
                report,
                node,
                at,
                format!("`{{{written}}}` stands for nothing, and is sent as it is"),
            )
            .help(format!("did you mean `{{{near}}}`?"));
        }
        self.forms.push((form, template));
    }

    /// Makes this page the answer's body, in the form that the client prefers; the answer's own body
    /// stays where that is what it prefers.
    pub(crate) fn put(
        &self,
        facts: Facts<'_>,
        prefer: Form,
        exchange: &Exchange,
        reply: &mut Response,
    ) {
        add_vary(&mut reply.headers);
        let Some((form, template)) = self.choose(&exchange.request.headers, prefer) else { return };
        for name in OF_THE_BODY {
            reply.headers.remove(name);
        }
        reply.headers.insert(CONTENT_TYPE, form.media_type().1);
        reply.body = Body::full(template.fill(*form, facts));
    }

    /// The form that the client prefers; none if that is JSON and the page has none.
    fn choose(&self, request: &Headers, prefer: Form) -> Option<&(Form, Template)> {
        let mut offers = [Form::Json, Form::Text, Form::Html];
        // Stable, so that it only moves the preferred one to the front.
        offers.sort_by_key(|form| *form != prefer);
        let has = |form: Form| form == Form::Json || self.forms.iter().any(|(own, _)| *own == form);
        let mut best = (0, Form::Json);
        for form in offers.into_iter().filter(|form| has(*form)) {
            let quality = quality(request, form);
            if quality > best.0 {
                best = (quality, form);
            }
        }
        // Who accepts nothing of it gets what is preferred, as RFC 9110, 12.5.1 allows.
        let form = if best.0 > 0 || !has(prefer) { best.1 } else { prefer };
        self.forms.iter().find(|(own, _)| *own == form)
    }
}

/// What an answer says of a body that it no longer has.
const OF_THE_BODY: [HeaderName; 7] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_RANGE,
    ACCEPT_RANGES,
    ETAG,
    LAST_MODIFIED,
];

/// Says that the answer depends on `Accept`.
fn add_vary(headers: &mut Headers) {
    let says_so = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|name| name.trim().eq_ignore_ascii_case("accept") || name.trim() == "*")
        })
    };
    if !headers.all(VARY).any(says_so) {
        headers.append(VARY, HeaderValue::from_static("accept"));
    }
}

/// How much a client wants a form, from 0 to 1000: by the most specific range that fits, as RFC 9110,
/// 12.5.1 has it.
fn quality(request: &Headers, form: Form) -> u16 {
    let mut ranges = request.all(ACCEPT).filter_map(|value| value.to_str().ok()).peekable();
    if ranges.peek().is_none() {
        return 1_000;
    }
    let mut best = (0, 0);
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let specific = fits(parts.next().unwrap_or_default(), form);
        let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix("="));
        let Some(weight) = weight.map_or(Some(1_000), self::weight) else { continue };
        if specific > best.0 {
            best = (specific, weight);
        }
    }
    best.1
}

/// How specifically a media range names a form; 0 if it does not.
fn fits(range: &str, form: Form) -> u8 {
    let (media_type, _) = form.media_type();
    let kind = media_type.split_once('/').map_or("", |(kind, _)| kind);
    let range = range.to_ascii_lowercase();
    if range == media_type || (form == Form::Json && range == "application/problem+json") {
        3
    } else if range.strip_suffix("/*").is_some_and(|named| named == kind) {
        2
    } else {
        u8::from(range == "*/*")
    }
}

/// A weight of RFC 9110, 12.4.2 in thousandths.
fn weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    Some((whole * 1_000 + thousandths).min(1_000))
}

/// A text with holes.
#[derive(Debug)]
struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Plain(Box<str>),
    Hole(Hole),
}

#[derive(Clone, Copy, Debug)]
enum Hole {
    Status,
    Code,
    Title,
    Detail,
    RequestId,
}

const HOLES: [(&str, Hole); 5] = [
    ("status", Hole::Status),
    ("code", Hole::Code),
    ("title", Hole::Title),
    ("detail", Hole::Detail),
    ("request_id", Hole::RequestId),
];

impl Template {
    /// Reads a text. Braces around anything else belong to the page, which may hold scripts and styles; what
    /// looks like a hole with a slip in it is told as well, with what may have been meant.
    fn parse(text: &str) -> (Self, Vec<(String, &'static str)>) {
        let mut parts = Vec::new();
        let mut doubtful = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            let inside = after.split_once('}').map(|(inside, tail)| (inside.trim(), tail));
            let hole = inside.and_then(|(name, tail)| {
                HOLES.iter().find(|(known, _)| *known == name).map(|(_, hole)| (*hole, tail))
            });
            if let Some((hole, tail)) = hole {
                parts.push(Part::Plain(std::mem::take(&mut plain).into()));
                parts.push(Part::Hole(hole));
                rest = tail;
                continue;
            }
            let is_word = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if let Some((name, _)) = inside.filter(|(name, _)| name.len() > 2 && is_word(name))
                && let Some(near) = did_you_mean(name, HOLES.iter().map(|(known, _)| *known))
            {
                doubtful.push((name.to_owned(), near));
            }
            plain.push('{');
            rest = after;
        }
        plain.push_str(rest);
        parts.push(Part::Plain(plain.into()));
        (Self(parts), doubtful)
    }

    fn fill(&self, form: Form, facts: Facts<'_>) -> String {
        let mut filled = String::new();
        for part in &self.0 {
            let value = match part {
                Part::Plain(text) => {
                    filled.push_str(text);
                    continue;
                }
                Part::Hole(Hole::Status) => {
                    // Writing to a string cannot fail.
                    write!(filled, "{}", facts.status).unwrap_or_default();
                    continue;
                }
                Part::Hole(Hole::Code) => facts.code,
                Part::Hole(Hole::Title) => facts.title,
                Part::Hole(Hole::Detail) => facts.detail,
                Part::Hole(Hole::RequestId) => facts.request_id,
            };
            escape(value, form, &mut filled);
        }
        filled
    }
}

/// Appends a value so that it cannot be anything but text where it stands.
fn escape(value: &str, form: Form, filled: &mut String) {
    match form {
        Form::Text => filled.push_str(value),
        Form::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            let inside = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            filled.push_str(inside.unwrap_or_default());
        }
        Form::Html => {
            for c in value.chars() {
                match c {
                    '&' => filled.push_str("&amp;"),
                    '<' => filled.push_str("&lt;"),
                    '>' => filled.push_str("&gt;"),
                    '"' => filled.push_str("&quot;"),
                    '\'' => filled.push_str("&#39;"),
                    c => filled.push(c),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, Form, Template, quality, weight};
    use crate::fixture;

    const FACTS: Facts<'_> = Facts {
        status: 404,
        code: "no_route",
        title: "Nothing <is> here",
        detail: "a \"quoted\" & 'odd' </script>\n",
        request_id: "r-1",
    };

    fn fill(form: Form, text: &str) -> String {
        Template::parse(text).0.fill(form, FACTS)
    }

    #[test]
    fn holes_are_filled_with_what_is_text_in_that_form() {
        assert_eq!(
            fill(Form::Html, "<h1 title='{detail}'>{status} { title }</h1>"),
            "<h1 title='a &quot;quoted&quot; &amp; &#39;odd&#39; &lt;/script&gt;\n'>404 Nothing &lt;is&gt; here</h1>"
        );
        let json =
            fill(Form::Json, "{\"a\":{\"status\":{status},\"detail\":\"{detail}\"},\"b\":{}}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["a"]["status"], 404);
        assert_eq!(json["a"]["detail"], FACTS.detail);
        assert_eq!(fill(Form::Text, "{code}/{request_id}"), "no_route/r-1");
    }

    #[test]
    fn other_braces_belong_to_the_page() {
        let page = "<style>a{color:red}</style><script>let {x} = {status: 1}; {</script> {";
        assert_eq!(fill(Form::Html, page), page);
        let (_, doubtful) = Template::parse("{requestid} {detial} {x}");
        assert_eq!(
            doubtful,
            [("requestid".to_owned(), "request_id"), ("detial".to_owned(), "detail")]
        );
    }

    #[test]
    fn the_most_specific_range_says_how_much_a_form_is_wanted() {
        for (accept, json, html, text) in [
            ("accept: */*", 1_000, 1_000, 1_000),
            ("accept: text/html,application/xhtml+xml,*/*;q=0.8", 800, 1_000, 800),
            ("accept: application/problem+json", 1_000, 0, 0),
            ("accept: text/*;q=0.5, text/html;level=1;q=0.25, */*;q=0", 0, 250, 500),
            ("accept: TEXT/HTML ; q=0.123\naccept: application/json;q=1.000", 1_000, 123, 0),
            ("accept: text/html;q=2, image/png", 0, 0, 0),
            ("x-a: 1", 1_000, 1_000, 1_000),
        ] {
            let exchange = fixture::exchange(&format!("GET /\n{accept}"));
            let of = |form| quality(&exchange.request.headers, form);
            assert_eq!(
                (of(Form::Json), of(Form::Html), of(Form::Text)),
                (json, html, text),
                "{accept}"
            );
        }
        for wrong in ["", "2", "0.1234", "-1", "1.x", "1e1"] {
            assert_eq!(weight(wrong), None, "{wrong}");
        }
    }
}
