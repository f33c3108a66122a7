use super::resolve;
use crate::path::PathPattern;
use base::caps::PATH_PARAMS_MAX;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write as _;

/// A path of a document as a route has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// As it is written.
    pub(super) text: String,
    /// The same with its parameters made nameless: two of one shape take the same requests.
    pub(super) shape: String,
    /// What its author should know.
    pub(super) note: Option<String>,
}

/// The parameter that takes the rest of the path, slashes included, if the document says that one does.
pub(super) fn rest_parameter(document: &Value, item: &Value, operation: &Value) -> Option<String> {
    let lists = [operation.get("parameters"), item.get("parameters")];
    let parameters = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    let mut resolved = parameters.filter_map(|parameter| resolve(document, parameter).ok());
    let takes_rest = |parameter: &&Value| {
        let is = |key: &str| parameter.get(key) == Some(&Value::Bool(true));
        parameter.get("in").and_then(Value::as_str) == Some("path")
            && (is("x-multi-segment") || is("allowReserved"))
    };
    resolved.find(takes_rest)?.get("name")?.as_str().map(str::to_owned)
}

/// One piece of a segment.
enum Piece<'p> {
    Text(&'p str),
    Parameter(&'p str),
}

fn pieces(segment: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = segment;
    while let Some((before, after)) = rest.split_once('{') {
        let unclosed = || format!("a brace of `{segment}` is not closed");
        let (name, tail) = after.split_once('}').ok_or_else(unclosed)?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Parameter(name));
        rest = tail;
    }
    if rest.contains('}') {
        return Err(format!("a brace of `{segment}` is not opened"));
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// A path as a route has it: its parameters as whole segments, or as an expression where they are not.
pub(super) fn pattern(path: &str, rest: Option<&str>) -> Result<Pattern, String> {
    if !path.starts_with('/') {
        return Err("a path begins with `/`".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("a path has no query and no fragment; write such a route by hand".to_owned());
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let parts: Vec<Vec<Piece<'_>>> =
        segments.iter().map(|it| pieces(it)).collect::<Result<_, _>>()?;
    let is_whole = |pieces: &Vec<Piece<'_>>| {
        pieces.len() == 1 || pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    };
    let parameters = parts.iter().flatten().filter(|it| matches!(it, Piece::Parameter(_))).count();
    let found = if parameters > PATH_PARAMS_MAX {
        return Err(format!("it has {parameters} parameters, but {PATH_PARAMS_MAX} are the most"));
    } else if parts.iter().all(is_whole) {
        template(&parts, rest)
    } else {
        expression(&parts)
    };
    PathPattern::parse(&found.text)?;
    Ok(found)
}

fn template(parts: &[Vec<Piece<'_>>], rest: Option<&str>) -> Pattern {
    let (mut text, mut shape, mut names) = (String::new(), String::new(), HashSet::new());
    for (index, pieces) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        text.push('/');
        shape.push('/');
        match pieces.first() {
            Some(Piece::Parameter(name)) => {
                let takes_rest = is_last && rest == Some(*name);
                let name = parameter(name, &mut names);
                let star = if takes_rest { "*" } else { "" };
                // Writing to a string cannot fail.
                write!(text, "{{{star}{name}}}").ok();
                shape.push_str(if takes_rest { "{*}" } else { "{}" });
            }
            Some(Piece::Text(plain)) => {
                let plain = encoded(plain);
                text.push_str(&plain);
                shape.push_str(&plain);
            }
            None => {}
        }
    }
    Pattern { text, shape, note: None }
}

fn expression(parts: &[Vec<Piece<'_>>]) -> Pattern {
    let (mut text, mut shape, mut names) = (String::from("~"), String::from("~"), HashSet::new());
    for pieces in parts {
        text.push('/');
        shape.push('/');
        for piece in pieces {
            match piece {
                Piece::Parameter(name) => {
                    let name = parameter(name, &mut names);
                    write!(text, "(?P<{name}>[^/]+)").ok();
                    shape.push_str("{}");
                }
                Piece::Text(plain) => {
                    let plain = regex::escape(&encoded(plain));
                    text.push_str(&plain);
                    shape.push_str(&plain);
                }
            }
        }
    }
    let note =
        "a parameter is only part of a segment: the route is a regular expression".to_owned();
    Pattern { text, shape, note: Some(note) }
}

/// The name of a parameter: letters, digits and `_`, and none twice.
fn parameter(name: &str, names: &mut HashSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = name.trim().chars().map(plain).collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, 'p');
    }
    super::unique_by(name, '_', names)
}

/// Plain text of a path as requests have it (RFC 3986, 3.3, in the form of 6.2.2).
fn encoded(text: &str) -> String {
    let mut out = String::new();
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits: Vec<u8> = bytes.clone().take(2).collect();
                let code = std::str::from_utf8(&digits).ok().filter(|it| it.len() == 2);
                match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
                    Some(code) => {
                        bytes.next();
                        bytes.next();
                        push(code, &mut out);
                    }
                    None => out.push_str("%25"),
                }
            }
            byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@".contains(&byte) => {
                out.push(char::from(byte));
            }
            byte => {
                write!(out, "%{byte:02X}").ok();
            }
        }
    }
    out
}

/// A byte that was percent-encoded: plain if it may be.
fn push(code: u8, out: &mut String) {
    if code.is_ascii_alphanumeric() || b"-._~".contains(&code) {
        out.push(char::from(code));
    } else {
        write!(out, "%{code:02X}").ok();
    }
}
