//! The tree under construction.

use super::{is_absent, place_at, scalar};
use base::caps::{CONFIG_DEPTH_MAX, CONFIG_NODES_MAX};
use base::{Node, Place, Placed, Report, Value};
use granit_parser::{Event, ScalarStyle, Span, StructureStyle};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Why no tree can be made.
pub(super) enum Refusal {
    /// A tab indents a line.
    Tab,
    /// More nested than the cap.
    TooDeep,
    /// More values than the cap.
    TooMany,
    /// A second document.
    Documents,
    /// An alias inside of what it stands for.
    Cycle,
    /// An alias of nothing.
    UnknownAlias(String),
}

/// A list or map whose end has not come yet.
struct Frame {
    place: Place,
    content: Content,
    anchor: usize,
    bracket: Option<char>,
    /// Values counted before this one.
    nodes_before: usize,
    /// Levels of lists and maps inside.
    height: usize,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(Placed<String>, Node)>,
        key: Option<Placed<String>>,
        seen: HashMap<String, Place>,
    },
}

impl Frame {
    fn len(&self) -> usize {
        match &self.content {
            Content::List(items) => items.len(),
            Content::Map { entries, .. } => entries.len(),
        }
    }

    fn child(&self, index: usize) -> Option<&Node> {
        match &self.content {
            Content::List(items) => items.get(index),
            Content::Map { entries, .. } => entries.get(index).map(|(_, node)| node),
        }
    }
}

/// Where an anchored value stands and how large it is. The value is found by its way from the root
/// rather than kept a second time.
struct Anchor {
    way: Vec<usize>,
    /// Number of values and levels; nothing while its end has not come.
    size: Option<(usize, usize)>,
}

/// Makes a tree of the parser's events.
pub(super) struct Builder<'a> {
    text: &'a str,
    file: &'a Arc<str>,
    frames: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
    documents: usize,
    /// Open lists and maps of a key that is left out.
    ignored: usize,
    /// Keys that are left out were met.
    has_unusable: bool,
    is_empty: bool,
}

/// Stands for a key that was refused; its entry is left out in the end.
const UNUSABLE: &str = "\0";

impl<'a> Builder<'a> {
    pub(super) fn new(text: &'a str, file: &'a Arc<str>) -> Self {
        Self {
            text,
            file,
            frames: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            nodes: 0,
            documents: 0,
            ignored: 0,
            has_unusable: false,
            is_empty: true,
        }
    }

    /// Whether the document has nothing in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The innermost `[` or `{` that is open.
    pub(super) fn open_bracket(&self) -> Option<(char, &Place)> {
        let frame = self.frames.last()?;
        frame.bracket.map(|bracket| (bracket, &frame.place))
    }

    /// The key whose value has not come yet.
    pub(super) fn open_key(&self) -> Option<&Placed<String>> {
        match &self.frames.last()?.content {
            Content::Map { key, .. } => key.as_ref(),
            Content::List(_) => None,
        }
    }

    /// The tree.
    pub(super) fn finish(self) -> Option<Node> {
        let mut root = self.root?;
        if self.has_unusable {
            leave_out(&mut root);
        }
        Some(root)
    }

    /// Takes the next event.
    pub(super) fn event(
        &mut self,
        event: Event<'_>,
        span: &Span,
        report: &mut Report,
    ) -> Result<(), Refusal> {
        self.refuse_tag(&event, span, report);
        if self.ignored > 0 {
            match event {
                Event::SequenceStart(..) | Event::MappingStart(..) => self.ignored += 1,
                Event::SequenceEnd | Event::MappingEnd => self.ignored -= 1,
                _ => {}
            }
            return Ok(());
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Refusal::Documents);
                }
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Scalar(..)
            | Event::Alias(_)
            | Event::UnresolvedAlias(_)
            | Event::SequenceStart(..)
            | Event::MappingStart(..) => {
                if self.expects_key() {
                    self.key(&event, span, report);
                } else {
                    return self.value(event, span);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn refuse_tag(&self, event: &Event<'_>, span: &Span, report: &mut Report) {
        if let Some(tag) = event.tag() {
            let place = place_at(self.file, &span.tag_start().unwrap_or(span.start));
            report
                .error(
                    "tag",
                    &place,
                    format!("tags such as `{}` are not used here", tag.original()),
                )
                .help("remove it; put quotes around a text that begins with `!`");
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, event: &Event<'_>, span: &Span, report: &mut Report) {
        let place = place_at(self.file, &span.start);
        let text = match event {
            Event::Scalar(_, style, anchor, _) if *anchor != 0 || is_absent(*style, span) => {
                let (what, help) = if *anchor == 0 {
                    (
                        "a key is missing before the `:`",
                        "put quotes around a text that begins with `:`",
                    )
                } else {
                    ("a key cannot have an anchor", "put the anchor before the value")
                };
                report.error("invalid_key", &place, what).help(help);
                UNUSABLE.to_owned()
            }
            Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                report
                    .error("merge_key", &place, "merge keys (`<<`) are not part of YAML 1.2")
                    .help("write the fields out, or let an alias stand for a whole value");
                UNUSABLE.to_owned()
            }
            Event::Scalar(text, ..) => text.clone().into_owned(),
            _ => {
                self.ignored +=
                    usize::from(!event.is_alias() && !matches!(event, Event::UnresolvedAlias(_)));
                let what = if self.ignored == 0 { "an alias" } else { "a list or map" };
                report.error("invalid_key", &place, format!("{what} cannot be a key")).help(
                    "a key is a text; put quotes around one that begins with `*`, `{` or `[`",
                );
                UNUSABLE.to_owned()
            }
        };
        self.has_unusable |= text == UNUSABLE;
        let Some(Frame { content: Content::Map { key, seen, .. }, .. }) = self.frames.last_mut()
        else {
            return;
        };
        if text != UNUSABLE {
            if let Some(first) = seen.get(&text) {
                report
                    .error("duplicate_key", &place, format!("`{text}` appears twice in one map"))
                    .help(format!(
                        "it is already set in line {}, column {}",
                        first.line, first.column
                    ));
                self.has_unusable = true;
            } else {
                seen.insert(text.clone(), place.clone());
            }
        }
        *key = Some(Placed { place, value: text });
    }

    fn value(&mut self, event: Event<'_>, span: &Span) -> Result<(), Refusal> {
        let place = place_at(self.file, &span.start);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                self.count(1)?;
                let is_absent = is_absent(style, span);
                self.is_empty &= is_absent && self.frames.is_empty();
                let value = match style {
                    ScalarStyle::Plain if is_absent => Value::Null,
                    ScalarStyle::Plain => scalar::resolve(&text),
                    _ => Value::Text(text.into_owned()),
                };
                let place = self.key_place().filter(|_| is_absent).unwrap_or(place);
                self.anchor(anchor, Some((1, 0)));
                self.add(Node { place, value }, 0);
            }
            Event::Alias(id) => {
                let (node, height) = self.expand(id)?;
                self.add(node, height);
            }
            Event::UnresolvedAlias(name) => return Err(Refusal::UnknownAlias(name.into_owned())),
            Event::SequenceStart(style, anchor, _) => {
                let bracket = (style == StructureStyle::Flow).then_some('[');
                self.open(place, Content::List(Vec::new()), anchor, bracket)?;
            }
            Event::MappingStart(style, anchor, _) => {
                if self.frames.is_empty() && self.is_after_tab(span) {
                    return Err(Refusal::Tab);
                }
                let bracket = (style == StructureStyle::Flow).then_some('{');
                let content = Content::Map { entries: Vec::new(), key: None, seen: HashMap::new() };
                self.open(place, content, anchor, bracket)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The parser lets tabs indent a whole document.
    fn is_after_tab(&self, span: &Span) -> bool {
        let before =
            span.start.byte_offset().and_then(|at| self.text.get(..at)).unwrap_or_default();
        before.rsplit('\n').next().is_some_and(|line| line.contains('\t'))
    }

    /// A value that is absent is told where its key is.
    fn key_place(&self) -> Option<Place> {
        self.open_key().map(|key| key.place.clone())
    }

    fn count(&mut self, nodes: usize) -> Result<(), Refusal> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > CONFIG_NODES_MAX { Err(Refusal::TooMany) } else { Ok(()) }
    }

    fn anchor(&mut self, id: usize, size: Option<(usize, usize)>) {
        if id != 0 {
            let way = self.frames.iter().map(Frame::len).collect();
            self.anchors.insert(id, Anchor { way, size });
        }
    }

    fn open(
        &mut self,
        place: Place,
        content: Content,
        anchor: usize,
        bracket: Option<char>,
    ) -> Result<(), Refusal> {
        self.is_empty = false;
        let nodes_before = self.nodes;
        self.count(1)?;
        self.anchor(anchor, None);
        if self.frames.len() >= CONFIG_DEPTH_MAX {
            return Err(Refusal::TooDeep);
        }
        self.frames.push(Frame { place, content, anchor, bracket, nodes_before, height: 1 });
        Ok(())
    }

    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        if let Some(anchor) = self.anchors.get_mut(&frame.anchor) {
            anchor.size = Some((self.nodes - frame.nodes_before, frame.height));
        }
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.add(Node { place: frame.place, value }, frame.height);
    }

    fn add(&mut self, node: Node, height: usize) {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return;
        };
        frame.height = frame.height.max(height + 1);
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key, .. } => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                }
            }
        }
    }

    /// A copy of an anchored value, made only if there is room for it.
    fn expand(&mut self, id: usize) -> Result<(Node, usize), Refusal> {
        let unknown = || Refusal::UnknownAlias("…".to_owned());
        let anchor = self.anchors.get(&id).ok_or_else(unknown)?;
        let (nodes, height) = anchor.size.ok_or(Refusal::Cycle)?;
        if self.frames.len() + height > CONFIG_DEPTH_MAX {
            return Err(Refusal::TooDeep);
        }
        self.count(nodes)?;
        let anchor = self.anchors.get(&id).ok_or_else(unknown)?;
        let node = self.find(&anchor.way).ok_or_else(unknown)?.clone();
        Ok((node, height))
    }

    fn find(&self, way: &[usize]) -> Option<&Node> {
        let mut steps = way.iter();
        let mut found = None;
        for frame in &self.frames {
            found = frame.child(*steps.next()?);
            if found.is_some() {
                break;
            }
        }
        steps.try_fold(found?, |node, step| match &node.value {
            Value::List(items) => items.get(*step),
            Value::Map(entries) => entries.get(*step).map(|(_, node)| node),
            _ => None,
        })
    }
}

/// Takes out the entries whose keys were refused or given before. The depth is capped.
fn leave_out(node: &mut Node) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(leave_out),
        Value::Map(entries) => {
            let mut seen = HashSet::new();
            entries.retain(|(key, _)| key.value != UNUSABLE && seen.insert(key.value.clone()));
            entries.iter_mut().for_each(|(_, node)| leave_out(node));
        }
        _ => {}
    }
}
