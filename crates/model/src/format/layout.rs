//! Decides what stays in `[ ]` and `{ }`, brings the top-level keys into order, and moves the comments
//! that lose their spots by it.

use super::rank;
use super::tree::{Body, Comment, Document, Entry};
use super::write::{INDENT, flow, key_text};

/// The longest line that a list or map in `[ ]` or `{ }` may make, in characters.
const LINE_CHARS_MAX: usize = 100;

pub(super) fn settle(document: &mut Document) {
    settle_root(&mut document.root);
    let has_alias = document.has_alias;
    let Some(root) = document.root.value.collection_mut() else { return };
    if root.is_flow {
        return;
    }
    if let Some(first) = root.entries.first_mut() {
        // What a blank line separates from the first entry is about the file.
        let kept = if first.blank {
            0
        } else {
            let split = first.before.iter().rposition(|comment| comment.blank);
            split.map_or(first.before.len(), |at| first.before.len() - at)
        };
        let split = first.before.len() - kept;
        document.header = first.before.drain(..split).collect();
    }
    // An alias must come after its anchor.
    if root.is_map && !has_alias {
        root.entries.sort_by_key(|entry| match entry.key.as_ref().map(|key| &key.body) {
            Some(Body::Scalar { text, .. }) => rank(text),
            _ => usize::MAX,
        });
    }
}

fn settle_root(root: &mut Entry) {
    let text = flow(&root.value);
    let Some(collection) = root.value.collection_mut() else { return };
    if collection.entries.is_empty() {
        root.before.append(&mut collection.tail);
        return;
    }
    let fits = text.is_some_and(|text| text.chars().count() <= LINE_CHARS_MAX);
    if collection.is_flow && fits {
        return;
    }
    collection.is_flow = false;
    for entry in &mut collection.entries {
        settle_entry(entry, 0);
    }
    // They stand above the whole, which begins with its first entry.
    if let Some(first) = collection.entries.first_mut() {
        let mut above = std::mem::take(&mut root.before);
        above.append(&mut first.before);
        first.before = above;
    }
    if let Some(after) = root.after.take() {
        collection.tail.push(Comment::above(after));
    }
}

/// `indent` is the column at which the entry begins.
fn settle_entry(entry: &mut Entry, indent: usize) {
    let marker = entry.key.as_ref().map_or(1, |key| key_text(key, false).chars().count() + 1);
    let text = flow(&entry.value);
    let Some(collection) = entry.value.collection_mut() else { return };
    if collection.entries.is_empty() {
        entry.before.append(&mut collection.tail);
        return;
    }
    let fits =
        text.is_some_and(|text| indent + marker + 1 + text.chars().count() <= LINE_CHARS_MAX);
    if collection.is_flow && fits {
        return;
    }
    collection.is_flow = false;
    for inner in &mut collection.entries {
        settle_entry(inner, indent + INDENT);
    }
    if entry.key.is_some() {
        // The value does not end in the line of the key any more.
        if entry.key_comment.is_none() {
            entry.key_comment = entry.after.take();
        }
        return;
    }
    // The first entry shares the line of the `-`, so what is above it goes above the item.
    if let Some(first) = collection.entries.first_mut() {
        entry.before.append(&mut first.before);
    }
    if let Some(text) = entry.after.take() {
        entry.before.push(Comment::above(text));
    }
}
