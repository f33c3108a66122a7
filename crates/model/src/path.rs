//! The paths a route matches.
//!
//! `/exact` matches itself; `/users/{id}` one segment in place of `{id}`; `/files/*` and
//! `/files/{*rest}` the path `/files` and everything below it; `~ …` is a regular expression over the
//! whole path.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A pattern over canonical paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Segments, and whether the path may go on.
    Template {
        /// The segments from the root.
        segments: Vec<Segment>,
        /// What may follow the segments.
        tail: Tail,
    },
    /// A regular expression (syntax of crate `regex`) over the whole path.
    Regex(String),
}

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Exactly this text.
    Static(String),
    /// Any one segment that is not empty, captured under this name.
    Param(String),
}

/// What may follow the segments of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tail {
    /// Nothing.
    End,
    /// Anything below, captured under the name if there is one.
    Rest(Option<String>),
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(pattern) = text.strip_prefix('~') {
            let pattern = pattern.trim();
            if pattern.is_empty() {
                return Err("a regular expression is missing after `~`".to_owned());
            }
            return Ok(Self::Regex(pattern.to_owned()));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!(
                "the path `{text}` must begin with `/` (or `~` for a regular expression)"
            ));
        };
        let mut segments = Vec::new();
        let mut tail = Tail::End;
        let mut parts = rest.split('/').peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            match segment(part)? {
                Part::Rest(name) if is_last => tail = Tail::Rest(name),
                Part::Rest(_) => return Err(format!("`{part}` must be the last segment")),
                // A trailing slash is part of the path: `/a/` is not `/a`.
                Part::Segment(Segment::Static(empty)) if empty.is_empty() && !is_last => {
                    return Err(format!("the path `{text}` has an empty segment (`//`)"));
                }
                Part::Segment(segment) => segments.push(segment),
            }
        }
        if segments == [Segment::Static(String::new())] && tail == Tail::End {
            segments.clear();
        }
        Ok(Self::Template { segments, tail })
    }

    /// The pattern below a base path: `/{id}` below `/orders` is `/orders/{id}`, and `/` below it is
    /// `/orders`.
    #[must_use]
    pub fn below(&self, base: &[Segment]) -> Self {
        match self {
            Self::Template { segments, tail } => {
                let segments = base.iter().chain(segments).cloned().collect();
                Self::Template { segments, tail: tail.clone() }
            }
            Self::Regex(pattern) => {
                let mut whole = String::new();
                for segment in base {
                    whole.push('/');
                    match segment {
                        Segment::Static(text) => whole.push_str(&regex::escape(text)),
                        Segment::Param(name) => whole.push_str(&format!("(?P<{name}>[^/]+)")),
                    }
                }
                Self::Regex(format!("{whole}(?:{pattern})"))
            }
        }
    }

    /// The names under which parts of the path are captured, in order.
    #[must_use]
    pub fn params(&self) -> Vec<String> {
        match self {
            Self::Template { segments, tail } => segments
                .iter()
                .filter_map(|segment| match segment {
                    Segment::Param(name) => Some(name.clone()),
                    Segment::Static(_) => None,
                })
                .chain(match tail {
                    Tail::Rest(name) => name.clone(),
                    Tail::End => None,
                })
                .collect(),
            Self::Regex(pattern) => crate::pattern::whole(pattern).map_or_else(
                |_| Vec::new(),
                |regex| regex.capture_names().flatten().map(str::to_owned).collect(),
            ),
        }
    }
}

enum Part {
    Segment(Segment),
    Rest(Option<String>),
}

fn segment(part: &str) -> Result<Part, String> {
    if part == "*" {
        return Ok(Part::Rest(None));
    }
    let Some(inside) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        if part.contains(['{', '}', '*']) {
            return Err(format!("`{part}`: a parameter is a whole segment, such as `/{{id}}/`"));
        }
        return plain(part).map(|text| Part::Segment(Segment::Static(text)));
    };
    let (name, is_rest) = match inside.strip_prefix('*') {
        Some(name) => (name, true),
        None => (inside, false),
    };
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(format!("`{part}`: a parameter's name has letters, digits and `_`"));
    }
    let name = name.to_owned();
    Ok(if is_rest { Part::Rest(Some(name)) } else { Part::Segment(Segment::Param(name)) })
}

/// A static segment must be written as the gateway sees it: in canonical form.
fn plain(part: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@%".contains(c);
    if part == "." || part == ".." {
        return Err(format!("`{part}` never reaches a route: paths are resolved before routing"));
    }
    for after in part.split('%').skip(1) {
        percent_code(after)?;
    }
    match part.chars().find(|c| !is_plain(*c)) {
        Some(c) => Err(format!("`{c}` in `{part}` cannot be part of a path; percent-encode it")),
        None => Ok(part.to_owned()),
    }
}

/// Checks the two digits after a `%`: requests are compared after their percent-encoding was made
/// canonical (RFC 3986, section 6.2.2).
fn percent_code(after: &str) -> Result<(), String> {
    let digits: String = after.chars().take(2).collect();
    let code = u8::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| "two hexadecimal digits must follow a `%` in a path".to_owned())?;
    if code.is_ascii_alphanumeric() || b"-._~".contains(&code) {
        let plain = char::from(code);
        return Err(format!(
            "write `{plain}` in place of `%{digits}`, as requests are read so too"
        ));
    }
    if digits != digits.to_ascii_uppercase() {
        return Err(format!("write `%{}` in place of `%{digits}`", digits.to_ascii_uppercase()));
    }
    Ok(())
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (segments, tail) = match self {
            Self::Regex(pattern) => return write!(f, "~{pattern}"),
            Self::Template { segments, tail } => (segments, tail),
        };
        for segment in segments {
            match segment {
                Segment::Static(text) => write!(f, "/{text}")?,
                Segment::Param(name) => write!(f, "/{{{name}}}")?,
            }
        }
        match tail {
            Tail::Rest(Some(name)) => write!(f, "/{{*{name}}}"),
            Tail::Rest(None) => f.write_str("/*"),
            Tail::End if segments.is_empty() => f.write_str("/"),
            Tail::End => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for PathPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PathPattern".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[/~]",
            "description": "`/exact`, `/with/{param}`, `/below/*`, `/rest/{*name}`, or `~` and a regular expression over the whole path."
        })
    }
}
