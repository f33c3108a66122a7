//! How texts in Cedar are written in settings, and how mistakes in them are told at their lines.

use crate::kind::BuildCtx;
use base::caps::CEDAR_BYTES_MAX;
use base::{Node, Place, Report};
use miette::Diagnostic;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A text, or the file in which it is.
#[derive(Debug)]
pub(super) enum Written {
    Inline(String),
    File(String),
}

const EXPECTING: &str = "a text, `file:./NAME`, or `{ file: ./NAME }`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InFile {
    file: String,
}

impl Written {
    fn word(text: &str) -> Self {
        match text.trim().strip_prefix("file:").filter(|path| !path.contains('\n')) {
            Some(path) => Self::File(path.trim().to_owned()),
            None => Self::Inline(text.to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Written;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
                Ok(Written::word(text))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
                let InFile { file } = InFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Written::File(file))
            }
            /// Entities may be written as a list of the config itself.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Written, A::Error> {
                let mut items: Vec<serde_json::Value> = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Written::Inline(serde_json::Value::Array(items).to_string()))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Written {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "CedarText".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "description": "the text, or `file:./NAME`" },
            {
                "type": "object",
                "properties": { "file": { "type": "string", "description": "The file in which it is." } },
                "required": ["file"],
                "additionalProperties": false
            },
            { "type": "array", "items": { "type": "object" }, "description": "a list of entities" },
        ] })
    }
}

/// A text, and where it was written.
pub(super) struct Source<'a> {
    pub(super) text: String,
    /// The file that it was read from.
    pub(super) file: Option<Arc<str>>,
    node: &'a Node,
    below: &'static str,
    ctx: &'a BuildCtx<'a>,
}

impl<'a> Source<'a> {
    /// Reads what the setting `below` says. Whatever is wrong is told.
    pub(super) fn read(
        written: &Written,
        (node, below): (&'a Node, &'static str),
        ctx: &'a BuildCtx<'a>,
        report: &mut Report,
    ) -> Option<Self> {
        let (text, file) = match written {
            Written::Inline(text) => (text.clone(), None),
            Written::File(path) => match read_file(path, ctx) {
                Ok((text, file)) => (text, Some(file)),
                Err(why) => {
                    ctx.error(report, node, below, why);
                    return None;
                }
            },
        };
        Some(Self { text, file, node, below, ctx })
    }

    /// Adds an error about what stands at an offset, or about the whole.
    pub(super) fn error(&self, at: Option<usize>, message: &str, help: &str, report: &mut Report) {
        let (place, path, message) = self.found(at, message);
        let problem = report.error("bad_cedar", &place, message).at(path);
        if !help.is_empty() {
            problem.help(help.to_owned());
        }
    }

    /// Adds a warning, placed like an error.
    pub(super) fn warning(
        &self,
        at: Option<usize>,
        message: &str,
        help: &str,
        report: &mut Report,
    ) {
        let (place, path, message) = self.found(at, message);
        let problem = report.warning("doubtful_cedar", &place, message).at(path);
        if !help.is_empty() {
            problem.help(help.to_owned());
        }
    }

    /// Tells a mistake that Cedar found.
    pub(super) fn mistake(&self, found: &dyn Diagnostic, report: &mut Report) {
        self.error(offset(found), &words(found), &help(found), report);
    }

    /// Tells a doubt of Cedar.
    pub(super) fn doubt(&self, found: &dyn Diagnostic, report: &mut Report) {
        self.warning(offset(found), &words(found), &help(found), report);
    }

    /// The offset of a line and a column, both from one.
    pub(super) fn offset(&self, line: usize, column: usize) -> usize {
        let before = self.text.split_inclusive('\n').take(line.saturating_sub(1));
        before.map(str::len).sum::<usize>() + column.saturating_sub(1)
    }

    /// Line and column of an offset, from one.
    pub(super) fn line(&self, offset: usize) -> (u32, u32) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (number(line), number(last.chars().count() + 1))
    }

    fn found(&self, at: Option<usize>, message: &str) -> (Place, String, String) {
        let (named, path) = self.ctx.find(self.node, self.below);
        let at = at.map(|offset| self.line(offset));
        match (&self.file, at) {
            (Some(file), at) => {
                let (line, column) = at.unwrap_or((1, 1));
                (Place::new(Arc::clone(file), line, column), path, message.to_owned())
            }
            (None, Some((line, column))) if self.text.contains('\n') => {
                (named, path, format!("line {line}, column {column} of the text: {message}"))
            }
            (None, Some((_, column))) => (named, path, format!("column {column}: {message}")),
            (None, None) => (named, path, message.to_owned()),
        }
    }
}

fn read_file(path: &str, ctx: &BuildCtx<'_>) -> Result<(String, Arc<str>), String> {
    let (path, bytes) = ctx.files.part(path);
    let shown = path.display();
    let bytes = bytes.map_err(|why| format!("cannot read `{shown}`: {why}"))?;
    if bytes.len() > CEDAR_BYTES_MAX {
        let most = base::units::Size(CEDAR_BYTES_MAX as u64);
        return Err(format!("`{shown}` is larger than {most}"));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("`{shown}` is not text in UTF-8"))?;
    Ok((text, shown.to_string().into()))
}

/// What is wrong. Cedar's number of a policy says nothing to its author, who is told the line.
fn words(found: &dyn Diagnostic) -> String {
    let said = found.to_string();
    let rest = said.strip_prefix("for policy `policy").and_then(|rest| rest.split_once("`, "));
    rest.map(|(_, rest)| rest.to_owned()).unwrap_or(said)
}

fn help(found: &dyn Diagnostic) -> String {
    found.help().map(|help| help.to_string()).unwrap_or_default()
}

/// Where a mistake is.
fn offset(found: &dyn Diagnostic) -> Option<usize> {
    found.labels()?.next().map(|label| label.offset())
}
