/// What a list is narrowed to; what is empty narrows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// A part of a name or title, in small or large letters.
    pub search: &'a str,
    /// What names begin with.
    pub prefix: &'a str,
    /// The plan that was chosen for it itself.
    pub plan: &'a str,
    /// A group that it is in.
    pub group: &'a str,
}

/// Where a list goes on: after the row with this name, and this id where several have the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct After<'a> {
    /// The name of the last row that was read; empty at first.
    pub name: &'a str,
    /// Its id.
    pub id: &'a str,
}

impl Filter<'_> {
    /// The pattern for `LIKE`, with `\` before what has a meaning there.
    pub(crate) fn search_pattern(&self) -> String {
        let part = quoted(&self.search.to_lowercase());
        if part.is_empty() { part } else { format!("%{part}%") }
    }

    /// The pattern for what names begin with.
    pub(crate) fn prefix_pattern(&self) -> String {
        let part = quoted(self.prefix);
        if part.is_empty() { part } else { format!("{part}%") }
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// Of texts that people know a row by, what a search looks at.
pub(crate) fn searched(name: &str, title: &str) -> String {
    format!("{name}\n{title}").to_lowercase()
}
