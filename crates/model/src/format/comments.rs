//! Gives each comment to the entry it stands at: above it, after it, or after the last one.

use super::tree::{Body, Collection, Comment, Document, Entry};
use granit_parser::ScalarStyle;
use std::collections::VecDeque;

/// Takes the comments out of the list of the document and gives them to its entries.
pub(super) fn attach(document: &mut Document, text: &str) {
    let mut rest = Rest(std::mem::take(&mut document.comments).into());
    let end = text.len() + 1;
    let column = document.root.start().column;
    match &mut document.root.value.body {
        // Comments at the top stay with the first entry, so that the two move together.
        Body::Collection(collection) if !collection.is_flow => {
            rest.attach_entries(collection, column, false, end);
        }
        _ => {
            document.root.before = rest.before(document.root.value.start.offset);
            rest.attach_value(&mut document.root, end, false);
        }
    }
    document.tail = rest.0.into();
}

/// The comments that nobody has taken yet.
struct Rest(VecDeque<Comment>);

impl Rest {
    /// Those before an offset.
    fn before(&mut self, offset: usize) -> Vec<Comment> {
        let count = self.0.iter().take_while(|comment| comment.spot.offset < offset).count();
        self.0.drain(..count).collect()
    }

    /// The next one, if it follows something in this line and is before the limit.
    fn in_line(&mut self, line: usize, limit: usize) -> Option<String> {
        self.0
            .pop_front_if(|next| {
                !next.is_alone && next.spot.line == line && next.spot.offset < limit
            })
            .map(|comment| comment.text)
    }

    /// `column` is where the entries begin; `is_flush` tells that they stand below the key of their
    /// list without being indented. All comments beyond `limit` belong to others.
    fn attach_entries(
        &mut self,
        collection: &mut Collection,
        column: usize,
        is_flush: bool,
        limit: usize,
    ) {
        let starts: Vec<usize> =
            collection.entries.iter().skip(1).map(|entry| entry.start().offset).collect();
        for (index, entry) in collection.entries.iter_mut().enumerate() {
            entry.before = self.before(entry.start().offset);
            let limit = starts.get(index).copied().unwrap_or(limit);
            self.attach_value(entry, limit, collection.is_map);
        }
        let is_flow = collection.is_flow;
        while let Some(comment) = self.0.pop_front_if(|next| {
            let is_inside = is_flow || (next.spot.column >= column && !is_flush);
            next.spot.offset < limit && is_inside
        }) {
            collection.tail.push(comment);
        }
    }

    fn attach_value(&mut self, entry: &mut Entry, limit: usize, has_key: bool) {
        let value = &mut entry.value;
        let (start, end) = (value.start, value.end);
        let is_block_scalar = matches!(
            &value.body,
            Body::Block { .. }
                | Body::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. }
        );
        if let Body::Collection(collection) = &mut value.body {
            if collection.is_flow {
                entry.before.extend(self.before(start.offset));
                self.attach_entries(collection, 0, false, end.offset.min(limit));
                entry.after = self.in_line(end.line, limit);
                return;
            }
            if let Some(key) = &entry.key {
                entry.key_comment = self.in_line(key.end.line, start.offset);
            }
            let key_column = entry.key.as_ref().map(|key| key.start.column);
            let is_flush = has_key && key_column == Some(start.column);
            self.attach_entries(collection, start.column, is_flush, limit);
            return;
        }
        // A `|` text begins in the line after its comment.
        for comment in self.before(start.offset) {
            if is_block_scalar && !comment.is_alone && entry.after.is_none() {
                entry.after = Some(comment.text);
            } else {
                entry.before.push(comment);
            }
        }
        if entry.after.is_none() {
            entry.after = self.in_line(end.line, limit);
        }
    }
}
