//! Writes the tree anew.

use super::scalar;
use super::tree::{Body, Collection, Comment, Document, Entry, Item};

/// Columns per level.
pub(super) const INDENT: usize = 2;

/// The whole file.
pub(super) fn write(document: &Document) -> String {
    let mut writer = Writer { out: String::new(), after_kept: false };
    writer.comments(&document.header, 0, true);
    if !document.header.is_empty() {
        writer.blank();
    }
    match &document.root.value.body {
        Body::Collection(collection) if !collection.is_flow => {
            if let Some(anchor) = &document.root.value.anchor {
                writer.out.push_str(&format!("&{anchor}\n"));
            }
            writer.entries(collection, 0, false);
        }
        _ => {
            writer.comments(&document.root.before, 0, true);
            let at = writer.out.len();
            writer.value(&document.root, 0);
            // Nothing is before it that a space would separate it from.
            if writer.out.as_bytes().get(at) == Some(&b' ') {
                writer.out.remove(at);
            }
        }
    }
    writer.comments(&document.tail, 0, false);
    writer.out
}

/// A key as written, without the `:`.
pub(super) fn key_text(key: &Item, in_flow: bool) -> String {
    match &key.body {
        Body::Scalar { text, style, raw } => scalar::text(text, *style, raw, in_flow),
        Body::Block { .. } | Body::Alias(_) | Body::Absent | Body::Collection(_) => String::new(),
    }
}

/// A value in one line, if it can be: nothing in it has a comment.
pub(super) fn flow(item: &Item) -> Option<String> {
    let mut out = item.anchor.as_ref().map(|anchor| format!("&{anchor} ")).unwrap_or_default();
    match &item.body {
        Body::Absent => out.push_str("null"),
        Body::Alias(name) => {
            out.push('*');
            out.push_str(name);
        }
        Body::Scalar { text, style, raw } => out.push_str(&scalar::text(text, *style, raw, true)),
        Body::Block { .. } => return None,
        Body::Collection(collection) => {
            if !collection.tail.is_empty()
                || (!collection.is_flow && !collection.entries.is_empty())
            {
                return None;
            }
            let entries =
                collection.entries.iter().map(flow_entry).collect::<Option<Vec<_>>>()?.join(", ");
            let (open, close) = match (collection.is_map, collection.entries.is_empty()) {
                (true, true) => ("{", "}"),
                (true, false) => ("{ ", " }"),
                (false, _) => ("[", "]"),
            };
            out.push_str(open);
            out.push_str(&entries);
            out.push_str(close);
        }
    }
    Some(out)
}

fn flow_entry(entry: &Entry) -> Option<String> {
    if !entry.before.is_empty() || entry.after.is_some() || entry.key_comment.is_some() {
        return None;
    }
    let value = flow(&entry.value)?;
    Some(match &entry.key {
        Some(key) => format!("{}: {value}", key_text(key, true)),
        None => value,
    })
}

struct Writer {
    out: String,
    /// The last thing written keeps the blank lines after it.
    after_kept: bool,
}

impl Writer {
    fn indent(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n(' ', columns));
    }

    /// A blank line, unless there is one or it would become part of a text.
    fn blank(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") && !self.after_kept {
            self.out.push('\n');
        }
    }

    fn comments(&mut self, comments: &[Comment], indent: usize, is_first: bool) {
        for (index, comment) in comments.iter().enumerate() {
            if comment.blank && !(is_first && index == 0) {
                self.blank();
            }
            self.indent(indent);
            self.out.push_str(&comment.text);
            self.out.push('\n');
            self.after_kept = false;
        }
    }

    /// Entries at a column; the first may go on in the line that is begun.
    fn entries(&mut self, collection: &Collection, indent: usize, mut is_inline: bool) {
        for (index, entry) in collection.entries.iter().enumerate() {
            if !std::mem::take(&mut is_inline) {
                self.comments(&entry.before, indent, index == 0);
                if entry.blank && !(index == 0 && entry.before.is_empty()) {
                    self.blank();
                }
                self.indent(indent);
            }
            match &entry.key {
                Some(key) => {
                    self.out.push_str(&key_text(key, false));
                    self.out.push(':');
                }
                None => self.out.push('-'),
            }
            self.value(entry, indent);
        }
        self.comments(&collection.tail, indent, false);
    }

    /// What follows the `:` or the `-` of an entry at a column, to the end of its last line.
    fn value(&mut self, entry: &Entry, indent: usize) {
        self.after_kept = false;
        let item = &entry.value;
        match &item.body {
            Body::Collection(collection) if !collection.is_flow => {
                self.block(entry, collection, indent);
            }
            Body::Block { header, lines } => {
                self.anchor(item);
                self.out.push(' ');
                self.out.push_str(header);
                self.comment(entry.after.as_ref());
                for line in lines {
                    if !line.is_empty() {
                        self.indent(indent + INDENT);
                        self.out.push_str(line);
                    }
                    self.out.push('\n');
                }
                self.after_kept = header.ends_with('+');
            }
            // A key without a value stays so; an item needs something to be seen.
            Body::Absent if entry.key.is_some() || item.anchor.is_some() => {
                self.anchor(item);
                self.comment(entry.after.as_ref());
            }
            Body::Scalar { text, style, raw } => {
                self.anchor(item);
                self.out.push(' ');
                self.out.push_str(&scalar::text(text, *style, raw, false));
                self.comment(entry.after.as_ref());
            }
            _ => {
                self.out.push(' ');
                self.out.push_str(&flow(item).unwrap_or_default());
                self.comment(entry.after.as_ref());
            }
        }
    }

    fn block(&mut self, entry: &Entry, collection: &Collection, indent: usize) {
        self.anchor(&entry.value);
        // An anchor in the line of the first key would be one of that key.
        if entry.key.is_none() && entry.value.anchor.is_none() {
            self.out.push(' ');
            self.entries(collection, indent + INDENT, true);
        } else {
            self.comment(entry.key_comment.as_ref());
            self.entries(collection, indent + INDENT, false);
        }
    }

    fn anchor(&mut self, item: &Item) {
        if let Some(anchor) = &item.anchor {
            self.out.push_str(" &");
            self.out.push_str(anchor);
        }
    }

    /// The end of a line, with a comment if there is one.
    fn comment(&mut self, comment: Option<&String>) {
        if let Some(comment) = comment {
            self.out.push_str("  ");
            self.out.push_str(comment);
        }
        self.out.push('\n');
    }
}
