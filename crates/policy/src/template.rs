//! Texts with parts of the request's path in them: `/new/{id}`.
//!
//! What the path captured is canonical and still percent-encoded, so a path made of it needs no new
//! encoding. In a query, characters that separate there are encoded in addition.

use base::report::did_you_mean;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use traffic::Exchange;

/// What `pchar` of RFC 3986 allows but a query uses to separate.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b'&').add(b'=').add(b'+').add(b';').add(b'/').add(b'#');

/// A text with holes.
#[derive(Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Plain(Box<str>),
    Param { index: usize, in_query: bool },
}

impl Template {
    /// Reads a template whose holes are named by `params`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str, params: &[Box<str>]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut in_query = false;
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after
                .split_once('}')
                .ok_or_else(|| format!("`{{` without a closing `}}` in `{text}`"))?;
            let name = name.strip_prefix('*').unwrap_or(name);
            in_query |= before.contains('?');
            push_plain(&mut parts, before)?;
            parts.push(Part::Param { index: position(name, params)?, in_query });
            rest = tail;
        }
        push_plain(&mut parts, rest)?;
        Ok(Self { parts })
    }

    /// What stands before the first hole.
    pub(crate) fn beginning(&self) -> &str {
        match self.parts.first() {
            Some(Part::Plain(text)) => text,
            _ => "",
        }
    }

    /// Whether there is no hole.
    pub(crate) fn is_plain(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, Part::Param { .. }))
    }

    /// The text for one request. A hole that the path did not fill is empty.
    pub(crate) fn fill(&self, exchange: &Exchange) -> String {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Plain(text) => filled.push_str(text),
                Part::Param { index, in_query } => {
                    let matched = exchange.matched.as_ref();
                    let value = matched.and_then(|m| m.param_at(*index)).unwrap_or_default();
                    if *in_query {
                        filled.extend(utf8_percent_encode(value, IN_QUERY));
                    } else {
                        filled.push_str(value);
                    }
                }
            }
        }
        filled
    }
}

fn push_plain(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if text.contains('}') {
        return Err(format!("`}}` without an opening `{{` in `{text}`"));
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`|".contains(*c)) {
        return Err(format!("{bad:?} cannot be part of a URL; percent-encode it"));
    }
    if !text.is_empty() {
        parts.push(Part::Plain(text.into()));
    }
    Ok(())
}

fn position(name: &str, params: &[Box<str>]) -> Result<usize, String> {
    if let Some(index) = params.iter().position(|param| &**param == name) {
        return Ok(index);
    }
    let known: Vec<&str> = params.iter().map(|param| &**param).collect();
    Err(match did_you_mean(name, known.iter().copied()) {
        Some(near) => {
            format!("the route's path captures no `{{{name}}}`; did you mean `{{{near}}}`?")
        }
        None if known.is_empty() => {
            format!("the route's path captures nothing, so `{{{name}}}` stands for nothing")
        }
        None => {
            format!("the route's path captures no `{{{name}}}`, only {}", known.join(", "))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::Template;
    use crate::fixture;

    #[test]
    fn holes_are_filled_with_what_the_path_captured() {
        let exchange = fixture::routed("/a/{id}/{*rest}", "GET /a/x%20y&z=1/b/c");
        let params: [Box<str>; 2] = ["id".into(), "rest".into()];
        for (text, expected) in [
            ("/n/{id}", "/n/x%20y&z=1"),
            ("/n/{rest}/{*rest}", "/n/b/c/b/c"),
            ("/n?q={id}&r={rest}", "/n?q=x%20y%26z%3D1&r=b%2Fc"),
        ] {
            let template = Template::parse(text, &params).unwrap();
            assert_eq!(template.fill(&exchange), expected);
        }
    }

    #[test]
    fn wrong_templates_are_refused() {
        let params: [Box<str>; 1] = ["order".into()];
        for (text, part) in [
            ("/{ordr}", "did you mean `{order}`"),
            ("/{order", "without a closing"),
            ("/order}", "without an opening"),
            ("/a b", "cannot be part of a URL"),
            ("/a\r\n", "cannot be part of a URL"),
        ] {
            let message = Template::parse(text, &params).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
