//! YAML in its canonical form, with every comment.
//!
//! The text becomes a tree of what was written ([`tree`]), comments are given to the entries they stand
//! at ([`comments`]), it is decided what stays on one line ([`layout`]), and the tree is written anew
//! ([`write`]). What comes out is read again and compared with what went in.

use crate::{config, yaml};
use base::{Node, Place, Report, Value};
use std::sync::Arc;

mod comments;
mod layout;
mod scalar;
mod tree;
mod write;

/// The canonical form of a config: two spaces per level, top-level keys in the order of
/// [`config::FIELDS`], quotes only where they are needed, lists and maps in `[ ]` and `{ }` on one line
/// of at most 100 characters or else in several lines, at most one blank line in a row. Comments,
/// anchors, aliases and `|` and `>` texts stay. Formatting what was formatted changes nothing.
///
/// # Errors
/// The problems of a text that is not a config file [`yaml::parse`] reads.
pub fn format(text: &str, file: &Arc<str>) -> Result<String, Report> {
    let mut report = Report::new();
    let before = yaml::parse(text.as_bytes(), file, &mut report);
    let Some(before) = before.filter(|_| !report.has_errors()) else { return Err(report) };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lost = || {
        let mut report = Report::new();
        let place = Place::new(Arc::clone(file), 0, 0);
        report
            .error(
                "internal",
                &place,
                "formatting would change what this file means; it is left as it is",
            )
            .help("please report this as a bug, with the file");
        report
    };
    let mut document = tree::read(&text).ok_or_else(lost)?;
    let written_comments = document.comment_texts();
    comments::attach(&mut document, &text);
    layout::settle(&mut document);
    let formatted = write::write(&document);
    let after = yaml::parse(formatted.as_bytes(), file, &mut Report::new()).ok_or_else(lost)?;
    let mut kept_comments = tree::read(&formatted).ok_or_else(lost)?.comment_texts();
    let mut written_comments = written_comments;
    kept_comments.sort();
    written_comments.sort();
    if !same_document(&before, &after) || kept_comments != written_comments {
        return Err(lost());
    }
    Ok(formatted)
}

/// Whether two documents say the same; only the order of the top-level keys may differ.
fn same_document(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Map(fields), Value::Map(others)) => {
            fields.len() == others.len()
                && fields
                    .iter()
                    .all(|(key, node)| b.field(key).is_some_and(|other| same(node, other)))
        }
        _ => same(a, b),
    }
}

fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let pairs = a.iter().zip(b);
            a.len() == b.len()
                && pairs
                    .into_iter()
                    .all(|((key, a), (other, b))| key.value == other.value && same(a, b))
        }
        (a, b) => a == b,
    }
}

/// Where a top-level key belongs; unknown ones come last, in their order.
fn rank(key: &str) -> usize {
    config::FIELDS.iter().position(|field| *field == key).unwrap_or(config::FIELDS.len())
}

#[cfg(test)]
mod tests;
