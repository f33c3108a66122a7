//! Lists come in pages. Where the next begins is a text that callers pass back as it is: it names the last row that was
//! seen, so that rows which are added or taken out meanwhile neither repeat nor hide others.

use crate::Problem;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use store::{After, Filter};

/// Rows of one page, unless fewer are asked for,
pub const LIMIT_DEFAULT: i64 = 50;
/// and at most.
pub const LIMIT_MAX: i64 = 1_000;
/// Letters of what is searched for.
const SEARCH_MAX: usize = 200;
/// Bytes of a cursor.
const CURSOR_MAX: usize = 1_024;

/// What is asked of a list. What is empty narrows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// A part of a name or title, in small or large letters (`q`).
    pub q: &'a str,
    /// What names begin with (`name`).
    pub name: &'a str,
    /// The plan that was chosen for it itself.
    pub plan: &'a str,
    /// A group that it is in.
    pub group: &'a str,
    /// Where the page begins: what the page before called `next`.
    pub after: &'a str,
    /// Rows of the page; 0 for as many as usual.
    pub limit: i64,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

impl<'a> Ask<'a> {
    /// What the store narrows the list to.
    pub(crate) fn filter(&self) -> Result<Filter<'a>, Problem> {
        let Self { q, name, plan, group, .. } = *self;
        for (pointer, text) in [("/q", q), ("/name", name), ("/plan", plan), ("/group", group)] {
            if text.chars().count() > SEARCH_MAX || text.contains('\0') {
                let wanted = format!("it has up to {SEARCH_MAX} letters");
                return Err(Problem::invalid(pointer, wanted));
            }
        }
        Ok(Filter { search: q, prefix: name, plan, group })
    }

    /// Rows of the page.
    pub(crate) fn limit(&self) -> Result<i64, Problem> {
        match self.limit {
            0 => Ok(LIMIT_DEFAULT),
            1..=LIMIT_MAX => Ok(self.limit),
            _ => Err(Problem::invalid("/limit", format!("a page has 1 to {LIMIT_MAX} rows"))),
        }
    }

    /// Name and id of the last row of the page before; empty at first.
    pub(crate) fn after(&self) -> Result<(String, String), Problem> {
        let wrong = || {
            Problem::invalid("/after", "this is not what a page gave as `next`; begin without it")
        };
        if self.after.is_empty() {
            return Ok(Default::default());
        }
        if self.after.len() > CURSOR_MAX {
            return Err(wrong());
        }
        let bytes = URL_SAFE_NO_PAD.decode(self.after).map_err(|_| wrong())?;
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        let (id, name) = text.split_once('\n').ok_or_else(wrong)?;
        if text.contains('\0') {
            return Err(wrong());
        }
        Ok((name.to_owned(), id.to_owned()))
    }
}

/// As the store is told.
pub(crate) fn place((name, id): &(String, String)) -> After<'_> {
    After { name, id }
}

impl<T> Page<T> {
    /// A page of rows that were read with one more than fit, if there are so many.
    pub(crate) fn new(mut items: Vec<T>, limit: i64, key: impl Fn(&T) -> (&str, &str)) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|last| {
            let (name, id) = key(last);
            URL_SAFE_NO_PAD.encode(format!("{id}\n{name}"))
        });
        Self { items, next }
    }

    /// The same with other rows.
    #[must_use]
    pub fn map<U>(self, into: impl Fn(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(into).collect(), next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, LIMIT_MAX, Page};

    #[test]
    fn the_next_page_begins_after_the_last_row_that_was_seen() {
        let page = Page::new(vec!["a", "b", "c"], 2, |it| (it, "id-of"));
        assert_eq!(page.items, ["a", "b"]);
        let ask = Ask { after: page.next.as_deref().unwrap(), ..Ask::default() };
        assert_eq!(ask.after().unwrap(), ("b".to_owned(), "id-of".to_owned()));
        assert_eq!(Page::new(vec!["a", "b"], 2, |it| (it, "")).next, None);
    }

    #[test]
    fn what_no_page_gave_is_refused() {
        for after in ["x", "%", "YQ", "AAA", &"a".repeat(2_000)] {
            let refused = Ask { after, ..Ask::default() }.after().unwrap_err();
            assert_eq!(refused.findings[0].pointer, "/after", "{after}");
        }
        for limit in [-1, LIMIT_MAX + 1] {
            assert!(Ask { limit, ..Ask::default() }.limit().is_err());
        }
        assert!(Ask { q: &"a".repeat(201), ..Ask::default() }.filter().is_err());
    }
}
