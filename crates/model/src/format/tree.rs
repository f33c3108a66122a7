//! What was written: values with their notation and their spots, and the comments beside them.

use crate::yaml::is_absent;
use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, StructureStyle};

/// A whole file.
pub(super) struct Document {
    /// Comments that belong to the file rather than to its first entry.
    pub(super) header: Vec<Comment>,
    /// The document as an entry without a key.
    pub(super) root: Entry,
    /// Comments after everything.
    pub(super) tail: Vec<Comment>,
    /// All comments in their order, until they are given to entries.
    pub(super) comments: Vec<Comment>,
    /// Whether some value is an alias, so that entries cannot change places.
    pub(super) has_alias: bool,
}

/// A spot in the text.
#[derive(Clone, Copy, Default)]
pub(super) struct Spot {
    /// Offset in bytes.
    pub(super) offset: usize,
    /// Line, from one.
    pub(super) line: usize,
    /// Column in characters, from zero.
    pub(super) column: usize,
}

/// A comment.
pub(super) struct Comment {
    pub(super) spot: Spot,
    /// From the `#` on.
    pub(super) text: String,
    /// Nothing else is in its line.
    pub(super) is_alone: bool,
    /// A blank line is above it.
    pub(super) blank: bool,
}

impl Comment {
    /// A comment that gets a line of its own.
    pub(super) fn above(text: String) -> Self {
        Self { spot: Spot::default(), text, is_alone: true, blank: false }
    }
}

/// An item of a list or an entry of a map.
pub(super) struct Entry {
    /// Comments above it.
    pub(super) before: Vec<Comment>,
    /// A blank line is directly above it.
    pub(super) blank: bool,
    pub(super) key: Option<Item>,
    /// Comment after the key of a list or map in several lines.
    pub(super) key_comment: Option<String>,
    pub(super) value: Item,
    /// Comment after the value, in its line.
    pub(super) after: Option<String>,
}

/// A value as written.
pub(super) struct Item {
    pub(super) anchor: Option<String>,
    pub(super) start: Spot,
    pub(super) end: Spot,
    pub(super) body: Body,
}

pub(super) enum Body {
    /// Nothing was written.
    Absent,
    /// The name of an alias.
    Alias(String),
    /// The text that a scalar means, its notation, and its source.
    Scalar { text: String, style: ScalarStyle, raw: String },
    /// A `|` or `>` text: its header and its lines without indentation.
    Block { header: String, lines: Vec<String> },
    /// A list or map.
    Collection(Collection),
}

pub(super) struct Collection {
    pub(super) is_map: bool,
    /// In `[ ]` or `{ }`.
    pub(super) is_flow: bool,
    pub(super) entries: Vec<Entry>,
    /// Comments after the last entry.
    pub(super) tail: Vec<Comment>,
}

impl Entry {
    /// Where it begins, a `-` aside.
    pub(super) fn start(&self) -> Spot {
        self.key.as_ref().unwrap_or(&self.value).start
    }
}

impl Item {
    /// The list or map that it is.
    pub(super) fn collection_mut(&mut self) -> Option<&mut Collection> {
        match &mut self.body {
            Body::Collection(collection) => Some(collection),
            _ => None,
        }
    }
}

impl Document {
    /// All comments, before they were given to entries.
    pub(super) fn comment_texts(&self) -> Vec<String> {
        self.comments.iter().map(|comment| comment.text.clone()).collect()
    }
}

/// Reads a text that [`crate::yaml::parse`] takes. Nothing comes of any other.
pub(super) fn read(text: &str) -> Option<Document> {
    let options = granit_parser::options! {
        emit_anchor_events: true,
        emit_comments: true,
        max_buffered_comment_events: usize::MAX,
    };
    let mut reader = Reader {
        text,
        lines: text.split('\n').collect(),
        events: Parser::new_from_str_with_options(text, options),
        comments: Vec::new(),
        has_alias: false,
    };
    let mut root = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd => {}
            node => root = Some(reader.item(node, span)?),
        }
    }
    let root = reader.entry(None, root?);
    let mut comments = reader.comments;
    comments.sort_by_key(|comment| comment.spot.offset);
    Some(Document {
        header: Vec::new(),
        root,
        tail: Vec::new(),
        comments,
        has_alias: reader.has_alias,
    })
}

struct Reader<'a> {
    text: &'a str,
    lines: Vec<&'a str>,
    events: Parser<'a, StrInput<'a>>,
    comments: Vec<Comment>,
    has_alias: bool,
}

fn spot(marker: &Marker) -> Spot {
    Spot {
        offset: marker.byte_offset().unwrap_or_default(),
        line: marker.line(),
        column: marker.col(),
    }
}

impl<'a> Reader<'a> {
    /// The next event that is no comment; `None` outside for a fault, inside for the end.
    #[expect(clippy::option_option, reason = "a fault and the end differ")]
    fn next(&mut self) -> Option<Option<(Event<'a>, Span)>> {
        loop {
            let Some(event) = self.events.next() else { return Some(None) };
            let (event, span) = event.ok()?;
            let Event::Comment(text, _) = event else { return Some(Some((event, span))) };
            let spot = spot(&span.start);
            self.comments.push(Comment {
                spot,
                text: format!("#{}", text.trim_end()),
                is_alone: self.before(spot).trim().is_empty(),
                blank: self.is_below_blank(spot),
            });
        }
    }

    /// What is before a spot in its line.
    fn before(&self, spot: Spot) -> &'a str {
        self.text.get(..spot.offset).unwrap_or_default().rsplit('\n').next().unwrap_or_default()
    }

    /// Whether a spot begins its line (a `-` aside) and the line above is blank.
    fn is_below_blank(&self, spot: Spot) -> bool {
        let is_first = self.before(spot).chars().all(|c| c.is_whitespace() || c == '-');
        let above = spot.line.checked_sub(2).and_then(|above| self.lines.get(above));
        is_first && above.is_some_and(|line| line.trim().is_empty())
    }

    fn entry(&self, key: Option<Item>, value: Item) -> Entry {
        let start = key.as_ref().unwrap_or(&value).start;
        let blank = self.is_below_blank(start);
        Entry { before: Vec::new(), blank, key, key_comment: None, value, after: None }
    }

    /// The value that begins with an event. Its depth was checked before.
    fn item(&mut self, event: Event<'a>, span: Span) -> Option<Item> {
        let (start, mut end) = (spot(&span.start), spot(&span.end));
        let anchor = match event.anchor_id() {
            Some(_) => match self.next()?? {
                (Event::Anchor(_, name), _) => Some(name.into_owned()),
                _ => return None,
            },
            None => None,
        };
        let body = match event {
            Event::Alias(_) => {
                self.has_alias = true;
                Body::Alias(span.slice(self.text)?.trim_start_matches('*').to_owned())
            }
            Event::Scalar(_, style, ..) if is_absent(style, &span) => Body::Absent,
            Event::Scalar(text, style @ (ScalarStyle::Literal | ScalarStyle::Folded), ..) => {
                self.block(&text, style, start)?
            }
            Event::Scalar(text, style, ..) => {
                let raw = span.slice(self.text)?.to_owned();
                Body::Scalar { text: text.into_owned(), style, raw }
            }
            Event::SequenceStart(style, ..) => {
                let (entries, last) = self.list()?;
                end = spot(&last.end);
                let is_flow = style == StructureStyle::Flow;
                Body::Collection(Collection { is_map: false, is_flow, entries, tail: Vec::new() })
            }
            Event::MappingStart(style, ..) => {
                let (entries, last) = self.map()?;
                end = spot(&last.end);
                let is_flow = style == StructureStyle::Flow;
                Body::Collection(Collection { is_map: true, is_flow, entries, tail: Vec::new() })
            }
            _ => return None,
        };
        Some(Item { anchor, start, end, body })
    }

    fn list(&mut self) -> Option<(Vec<Entry>, Span)> {
        let mut entries = Vec::new();
        loop {
            match self.next()?? {
                (Event::SequenceEnd, span) => return Some((entries, span)),
                (event, span) => {
                    let value = self.item(event, span)?;
                    entries.push(self.entry(None, value));
                }
            }
        }
    }

    fn map(&mut self) -> Option<(Vec<Entry>, Span)> {
        let mut entries = Vec::new();
        loop {
            match self.next()?? {
                (Event::MappingEnd, span) => return Some((entries, span)),
                (event, span) => {
                    let event = match event {
                        // In one line, since a key has no `|`.
                        Event::Scalar(
                            text,
                            ScalarStyle::Literal | ScalarStyle::Folded,
                            id,
                            tag,
                        ) => Event::Scalar(text, ScalarStyle::DoubleQuoted, id, tag),
                        event => event,
                    };
                    let key = self.item(event, span)?;
                    let (event, span) = self.next()??;
                    let mut value = self.item(event, span)?;
                    if matches!(value.body, Body::Absent) {
                        (value.start, value.end) = (key.end, key.end);
                    }
                    entries.push(self.entry(Some(key), value));
                }
            }
        }
    }

    /// A `|` or `>` text. The parser tells where its first line with something in it begins; one that
    /// is blank throughout is written in quotes.
    fn block(&self, text: &str, style: ScalarStyle, start: Spot) -> Option<Body> {
        let in_quotes = || Body::Scalar { text: text.to_owned(), style, raw: String::new() };
        let spaces = |line: &str| line.chars().take_while(|c| *c == ' ').count();
        let is_blank = |line: &str| line.chars().all(|c| c == ' ');
        let Some(first) = text.split('\n').find(|line| !is_blank(line)) else {
            return Some(in_quotes());
        };
        let content = start.line.checked_sub(1)?;
        let source = self.lines.get(content)?;
        let indentation = spaces(source).checked_sub(spaces(first))?;
        let mut top = content;
        while top > 0 && self.lines.get(top - 1).is_some_and(|line| is_blank(line)) {
            top -= 1;
        }
        let inside = |line: &&str| is_blank(line) || spaces(line) >= indentation;
        let strip = |line: &&str| line.chars().skip(indentation).collect::<String>();
        let mut lines: Vec<String> =
            self.lines.get(top..)?.iter().take_while(|line| inside(line)).map(strip).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        let is_indented =
            spaces(first) > 0 || lines.first().is_some_and(|line| line.starts_with(' '));
        let above = self.lines.get(top.checked_sub(1)?)?;
        let is_keeping = header_keeps(above);
        let newlines = text.chars().rev().take_while(|c| *c == '\n').count();
        let chomping = match newlines {
            0 => "-",
            1 if !is_keeping => "",
            _ => "+",
        };
        // Blank lines at the end are content only where they are kept.
        lines.extend(std::iter::repeat_n(String::new(), newlines.saturating_sub(1)));
        let sign = if style == ScalarStyle::Literal { "|" } else { ">" };
        let digit = if is_indented { "2" } else { "" };
        Some(Body::Block { header: format!("{sign}{digit}{chomping}"), lines })
    }
}

/// Whether the line that begins a `|` or `>` text ends in `+` (and perhaps a comment).
fn header_keeps(line: &str) -> bool {
    let code = line.split(" #").next().unwrap_or_default();
    let indicator = code.split_whitespace().next_back().unwrap_or_default();
    indicator.contains('+')
}
