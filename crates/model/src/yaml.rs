//! From YAML to a tree that remembers where its values were written.
//!
//! Of YAML 1.2 this reads what configs need: one document of maps with scalar keys, lists and scalars,
//! anchors and aliases. Tags, merge keys, directives and keys that are not scalars are refused.

use base::caps::{CONFIG_DEPTH_MAX, CONFIG_FILE_BYTES_MAX, CONFIG_NODES_MAX};
use base::{Node, Place, Report};
use granit_parser::{Marker, Parser, ScalarStyle, Span};
use std::sync::Arc;

mod build;
mod fault;
pub(crate) mod scalar;

use build::{Builder, Refusal};
use fault::Fault;

/// Reads one document. What is wrong goes to `report`; a tree is also returned beside problems that
/// leave its other parts readable (such as a duplicate key), so that these can be looked at too.
///
/// Time and memory are bounded by [`CONFIG_FILE_BYTES_MAX`], [`CONFIG_NODES_MAX`] (aliases expanded) and
/// [`CONFIG_DEPTH_MAX`].
pub fn parse(bytes: &[u8], file: &Arc<str>, report: &mut Report) -> Option<Node> {
    let text = text_of(bytes, file, report)?;
    tree(text, file, report)
}

/// The text of a file, without a byte order mark.
pub(crate) fn text_of<'a>(
    bytes: &'a [u8],
    file: &Arc<str>,
    report: &mut Report,
) -> Option<&'a str> {
    let whole_file = Place::new(Arc::clone(file), 0, 0);
    if bytes.len() > CONFIG_FILE_BYTES_MAX {
        let megabytes = CONFIG_FILE_BYTES_MAX >> 20;
        report
            .error(
                "file_too_large",
                &whole_file,
                format!("the file is larger than {megabytes} MiB"),
            )
            .help("split it into several files and name them under `include`");
        return None;
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        report
            .error("not_text", &whole_file, "the file is encoded as UTF-16")
            .help("save it as UTF-8");
        return None;
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        report
            .error("not_text", &place_of_byte(bytes, at, file), "the file is binary, not text")
            .help("is this the right file?");
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let place = place_of_byte(bytes, error.valid_up_to(), file);
            report.error("not_text", &place, "the file is not UTF-8").help("save it as UTF-8");
            None
        }
    }
}

/// The place of a byte, all before it being text.
fn place_of_byte(bytes: &[u8], at: usize, file: &Arc<str>) -> Place {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    place(file, line, column)
}

/// A place in a file whose size is capped far below what does not fit.
fn place(file: &Arc<str>, line: usize, column: usize) -> Place {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place::new(Arc::clone(file), number(line), number(column))
}

/// The place of a marker, whose columns count from zero.
fn place_at(file: &Arc<str>, marker: &Marker) -> Place {
    place(file, marker.line(), marker.col() + 1)
}

/// A scalar of which nothing was written: the parser makes it up where a value is missing.
pub(crate) fn is_absent(style: ScalarStyle, span: &Span) -> bool {
    style == ScalarStyle::Plain && span.start.index() == span.end.index()
}

/// Feeds the parser's events to the builder, up to the first fault that leaves no tree.
fn tree(text: &str, file: &Arc<str>, report: &mut Report) -> Option<Node> {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
    };
    options.set_emit_comments(false);
    let mut builder = Builder::new(text, file);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let fault = fault::fault(error.kind());
                let place = place_at(file, error.marker());
                let help = help(&fault, &place, &builder);
                report.error(fault.code, &place, fault.message).help = help;
                return None;
            }
        };
        match builder.event(event, &span, report) {
            Ok(()) => {}
            Err(refusal) => {
                refuse(refusal, &place_at(file, &span.start), report);
                return None;
            }
        }
    }
    if builder.is_empty() {
        let place = Place::new(Arc::clone(file), 1, 1);
        report
            .error("empty_file", &place, "the file is empty")
            .help("a config begins with `version: 1`");
        return None;
    }
    builder.finish()
}

/// What to do: a bracket or quote that is not closed is noticed late, so where it began is told.
fn help(fault: &Fault, place: &Place, builder: &Builder<'_>) -> Option<String> {
    if fault.is_open_quote {
        if let Some(key) = builder.open_key() {
            return Some(format!("close the quotes of `{}` in line {}", key.value, key.place.line));
        }
    } else if fault.code == "invalid_yaml"
        && let Some((bracket, open)) = builder.open_bracket()
        && open.line < place.line
    {
        let hint =
            format!("is the `{bracket}` of line {}, column {} closed?", open.line, open.column);
        return Some(match fault.help {
            Some(help) => format!("{help}; {hint}"),
            None => hint,
        });
    }
    fault.help.map(str::to_owned)
}

fn refuse(refusal: Refusal, place: &Place, report: &mut Report) {
    let (code, message, help) = match refusal {
        Refusal::Tab => {
            let fault = fault::tab();
            (fault.code, fault.message, fault.help.unwrap_or_default())
        }
        Refusal::TooDeep => (
            "too_deep",
            format!("lists and maps are nested more than {CONFIG_DEPTH_MAX} levels deep"),
            "make the document flatter",
        ),
        Refusal::TooMany => (
            "too_many_values",
            format!("the config has more than {CONFIG_NODES_MAX} values, aliases expanded"),
            "use fewer aliases of aliases",
        ),
        Refusal::Documents => (
            "several_documents",
            "a second document begins here".to_owned(),
            "put it into a file of its own, named under `include`",
        ),
        Refusal::Cycle => (
            "cyclic_alias",
            "this alias stands inside the value that it names".to_owned(),
            "name a value that is complete before the alias",
        ),
        Refusal::UnknownAlias(name) => (
            "unknown_alias",
            format!("nothing above is named `&{name}`"),
            "an anchor comes before its aliases; put quotes around a text that begins with `*`",
        ),
    };
    report.error(code, place, message).help(help);
}

#[cfg(test)]
mod tests;
