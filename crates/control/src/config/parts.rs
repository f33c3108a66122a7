//! Whole configs taken apart into objects, and objects put together to a config.

use crate::permission::{Permission, Verb};
use crate::{Finding, name};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use store::object::Object;

/// A field of a config whose entries are objects, by name.
pub(super) struct Section {
    pub(super) kind: &'static str,
    pub(super) field: &'static str,
    /// Whose permissions count.
    noun: &'static str,
}

const fn section(kind: &'static str, field: &'static str, noun: &'static str) -> Section {
    Section { kind, field, noun }
}

/// The fields that are maps of objects, in the order in which they are best written.
const SECTIONS: &[Section] = &[
    section("listener", "listeners", "listener"),
    section("certificate", "certificates", "certificate"),
    section("upstream", "upstreams", "upstream"),
    section("api", "apis", "api"),
    // Roles of callers are a matter of policies, and none of what users of the platform may do.
    section("caller_role", "roles", "policy"),
    section("plan", "plans", "plan"),
];
/// Any other field of a config, as one object.
const SETTING: &str = "setting";
const POLICY: &str = "policy";
const ROUTE: &str = "route";
/// Lists of parts, with the field in which they stand.
const LISTS: [(&str, &str); 2] = [(POLICY, "policies"), (ROUTE, "routes")];

/// Bytes of one object.
const BODY_MAX: usize = 1 << 20;
/// Objects of a config.
const PARTS_MAX: usize = 100_000;

/// A part of a config that was taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is, such as `route`.
    pub kind: &'static str,
    /// Whose part it is: where that stands in the list of all parts.
    pub owner: Option<usize>,
    /// What it is told by among those of its kind and owner. In lists that is what it says: methods and path of a route.
    pub key: String,
    /// What was written, without the parts that have objects of their own.
    pub body: Value,
    /// Where it stood: a JSON pointer.
    pub pointer: String,
}

/// The permission that it takes to do this to an object of a kind.
pub(super) fn permission(kind: &str, verb: Verb) -> Permission {
    let section = SECTIONS.iter().find(|it| it.kind == kind);
    let noun = match kind {
        POLICY => POLICY,
        ROUTE => ROUTE,
        _ => section.map_or(SETTING, |it| it.noun),
    };
    Permission::new(noun, verb)
}

/// The name of a kind, which is a word of ours.
pub(super) fn kind(written: &str) -> &'static str {
    let section = SECTIONS.iter().find(|it| it.kind == written).map(|it| it.kind);
    let list = LISTS.iter().find(|(kind, _)| *kind == written).map(|(kind, _)| *kind);
    section.or(list).unwrap_or(SETTING)
}

/// One more step of a JSON pointer.
fn below(pointer: &str, step: &str) -> String {
    format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"))
}

/// Takes a config apart. Parts come after those whose parts they are.
///
/// # Errors
/// All that cannot be kept as objects. Whether it is a good config is not asked here.
pub fn split(config: &Value) -> Result<Vec<Part>, Vec<Finding>> {
    let mut taken = Taken::default();
    match config {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| taken.field(field, value)),
        _ => taken.wrong("", "a config is a map: `{ \"version\": 1, … }`"),
    }
    if taken.parts.len() > PARTS_MAX {
        taken.wrong("", &format!("a config has at most {PARTS_MAX} parts"));
    }
    if taken.findings.is_empty() { Ok(taken.parts) } else { Err(taken.findings) }
}

#[derive(Default)]
struct Taken {
    parts: Vec<Part>,
    findings: Vec<Finding>,
}

impl Taken {
    fn wrong(&mut self, pointer: &str, message: &str) {
        let (pointer, message) = (pointer.to_owned(), message.to_owned());
        self.findings.push(Finding { pointer, message });
    }

    fn field(&mut self, field: &str, value: &Value) {
        let pointer = below("", field);
        let section = SECTIONS.iter().find(|it| it.field == field);
        match (field, section, value) {
            ("version", ..) if *value == json!(1) => {}
            ("version", ..) => self.wrong(&pointer, "the version of a config is 1"),
            ("include", ..) => {
                self.wrong(&pointer, "files are put together before a config is sent: there are none to include here");
            }
            ("consumers", ..) => {
                self.wrong(&pointer, "consumers are no part of revisions: they, their applications and credentials are records that change one at a time");
            }
            (_, _, Value::Null) => {}
            (_, Some(section), Value::Object(entries)) => {
                for (name, body) in entries {
                    let pointer = below(&pointer, name);
                    if let Err(problem) = name::check(&pointer, name) {
                        self.findings.extend(problem.findings);
                    }
                    self.part(section.kind, None, name.clone(), body, pointer);
                }
            }
            (_, Some(_), _) => self.wrong(&pointer, "a map of names is expected here"),
            ("policies", _, Value::Array(all)) => self.list(POLICY, None, all, &pointer),
            ("policies", ..) => self.wrong(&pointer, "a list is expected here"),
            _ => {
                if let Err(problem) = name::check(&pointer, field) {
                    self.findings.extend(problem.findings);
                }
                self.part(SETTING, None, field.to_owned(), value, pointer);
            }
        }
    }

    /// Adds a part, and those that stand in it.
    fn part(
        &mut self,
        kind: &'static str,
        owner: Option<usize>,
        key: String,
        body: &Value,
        pointer: String,
    ) {
        let mut body = body.clone();
        let mut inner = Vec::new();
        let step = inner_step(kind, &body).map(str::to_owned);
        if let Some(fields) = fields(kind, &mut body) {
            for (kind, field) in lists_of(kind) {
                match fields.get(field) {
                    Some(Value::Array(_)) => {
                        let Some(Value::Array(all)) = fields.shift_remove(field) else { continue };
                        let at =
                            step.as_ref().map_or_else(|| pointer.clone(), |it| below(&pointer, it));
                        inner.push((kind, all, below(&at, field)));
                    }
                    Some(Value::Null) => drop(fields.shift_remove(field)),
                    // What else may stand there is the check's to tell.
                    _ => {}
                }
            }
        }
        let body = normal(kind, body);
        if body.to_string().len() > BODY_MAX {
            self.wrong(&pointer, "it is larger than 1 MiB");
        }
        let at = self.parts.len();
        self.parts.push(Part { kind, owner, key, body, pointer });
        for (kind, all, pointer) in inner {
            self.list(kind, Some(at), &all, &pointer);
        }
    }

    fn list(&mut self, kind: &'static str, owner: Option<usize>, all: &[Value], pointer: &str) {
        let mut seen = HashMap::new();
        for (at, body) in all.iter().enumerate() {
            let key = nth(key(kind, body), &mut seen);
            self.part(kind, owner, key, body, format!("{pointer}/{at}"));
        }
    }
}

/// The lists of parts that may stand in one of a kind.
fn lists_of(kind: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let most = match kind {
        "api" => 2,
        ROUTE => 1,
        _ => 0,
    };
    LISTS.into_iter().take(most)
}

/// Whether a field of a route is no setting but methods and path: no setting has capitals or a slash in its name.
fn is_route(key: &str) -> bool {
    key.contains(['/', '~']) || key.contains(char::is_uppercase)
}

/// The key under which a route has its settings, if it is written so.
fn inner_step<'a>(kind: &str, body: &'a Value) -> Option<&'a str> {
    let first = body.as_object().filter(|_| kind == ROUTE)?.keys().next()?;
    is_route(first).then_some(first)
}

/// The fields of a body in which its lists of parts stand.
fn fields<'a>(kind: &str, body: &'a mut Value) -> Option<&'a mut Map<String, Value>> {
    match inner_step(kind, body).map(str::to_owned) {
        Some(step) => body.get_mut(&step)?.as_object_mut(),
        None => body.as_object_mut(),
    }
}

/// A body in the shortest way to write it, so that two that mean the same are the same.
pub(super) fn normal(kind: &str, mut body: Value) -> Value {
    let is_bare = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    match inner_step(kind, &body).map(str::to_owned) {
        Some(step) if body.get(&step).is_some_and(is_bare) => return Value::String(step),
        _ => {}
    }
    if let Some(fields) = fields(kind, &mut body) {
        let is_empty =
            |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        for (_, field) in lists_of(kind) {
            if fields.get(field).is_some_and(is_empty) {
                fields.shift_remove(field);
            }
        }
    }
    body
}

/// What a part of a list is told by: methods and path of a route or its name, kind and id of a policy.
pub(super) fn key(kind: &str, body: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let fields = body.as_object();
    if kind == ROUTE {
        let step = inner_step(kind, body);
        let settings = step.and_then(|step| body.get(step)).unwrap_or(body);
        if let Some(name) = text(settings.get("name")) {
            return name;
        }
        let methods = body.get("methods").and_then(Value::as_array);
        let methods: Vec<&str> = methods.into_iter().flatten().filter_map(Value::as_str).collect();
        let path = step.or(body.as_str()).map(str::to_owned).or_else(|| text(body.get("path")));
        let path = path.unwrap_or_default();
        return if methods.is_empty() { path } else { format!("{} {path}", methods.join(",")) };
    }
    match fields.and_then(|fields| fields.iter().next()) {
        Some((kind, settings)) => match text(settings.get("id")) {
            Some(id) => format!("{kind}/{id}"),
            None => kind.clone(),
        },
        None => body.as_str().unwrap_or_default().to_owned(),
    }
}

/// A key that was seen before, told apart by how often.
pub(super) fn nth(key: String, seen: &mut HashMap<String, usize>) -> String {
    let count = seen.entry(key.clone()).or_default();
    *count += 1;
    if *count == 1 { key } else { format!("{key}#{count}") }
}

/// Objects put together.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) config: Value,
    /// Where each object stands, by its id.
    pub(super) pointers: HashMap<String, String>,
}

/// The config that objects say: the same that files would.
#[must_use]
pub fn assemble(objects: &[Object]) -> Value {
    whole(objects).config
}

/// Objects of a kind and owner.
type Groups<'a> = HashMap<(&'a str, &'a str), Vec<&'a Object>>;

/// The config that objects say, and where each stands in it.
pub(super) fn whole(objects: &[Object]) -> Whole {
    let mut groups: Groups<'_> = HashMap::new();
    for object in objects {
        groups.entry((&object.kind, &object.owner)).or_default().push(object);
    }
    for group in groups.values_mut() {
        group.sort_by(|a, b| a.position.cmp(&b.position).then_with(|| a.name.cmp(&b.name)));
    }
    let mut config = Map::from_iter([("version".to_owned(), json!(1))]);
    let mut pointers = HashMap::new();
    for object in groups.get(&(SETTING, "")).into_iter().flatten() {
        let pointer = below("", &object.name);
        config.insert(object.name.clone(), body(object, &groups, &pointer, &mut pointers));
    }
    for section in SECTIONS {
        let Some(group) = groups.get(&(section.kind, "")) else { continue };
        let mut entries = Map::new();
        for object in group {
            let pointer = below(&below("", section.field), &object.name);
            entries.insert(object.name.clone(), body(object, &groups, &pointer, &mut pointers));
        }
        config.insert(section.field.to_owned(), Value::Object(entries));
    }
    if let Some(group) = groups.get(&(POLICY, "")) {
        let all = list(group, &groups, "/policies", &mut pointers);
        config.insert("policies".to_owned(), all);
    }
    Whole { config: Value::Object(config), pointers }
}

fn list(
    group: &[&Object],
    groups: &Groups<'_>,
    pointer: &str,
    pointers: &mut HashMap<String, String>,
) -> Value {
    let each = group.iter().enumerate();
    each.map(|(at, object)| body(object, groups, &format!("{pointer}/{at}"), pointers)).collect()
}

/// What an object says, with its parts.
fn body(
    object: &Object,
    groups: &Groups<'_>,
    pointer: &str,
    pointers: &mut HashMap<String, String>,
) -> Value {
    pointers.insert(object.id.clone(), pointer.to_owned());
    // It was JSON when it was kept.
    let mut body: Value = serde_json::from_str(&object.body).unwrap_or_default();
    for (kind, field) in lists_of(&object.kind) {
        let Some(group) = groups.get(&(kind, &*object.id)) else { continue };
        if let (ROUTE, Value::String(short)) = (&*object.kind, &body) {
            body = json!({ short: {} });
        }
        let step = inner_step(&object.kind, &body).map(str::to_owned);
        let at = step.as_ref().map_or_else(|| pointer.to_owned(), |step| below(pointer, step));
        if let Some(settings) = step.and_then(|step| body.get_mut(&step))
            && settings.is_null()
        {
            *settings = json!({});
        }
        let all = list(group, groups, &below(&at, field), pointers);
        if let Some(fields) = fields(&object.kind, &mut body) {
            fields.insert(field.to_owned(), all);
        }
    }
    body
}

#[cfg(test)]
mod tests;
