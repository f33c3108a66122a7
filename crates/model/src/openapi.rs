//! From an OpenAPI document (3.0 to 3.2, JSON or YAML) to the draft of an API: hosts and path of its servers, its routes by
//! their operation ids, and a way to find out who calls. What cannot be taken over is told; nothing is ever left open.

use base::caps::{OPENAPI_BYTES_MAX, OPENAPI_REFERENCES_MAX, OPENAPI_ROUTES_MAX};
use base::{Node, Report};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Paths as routes.
mod path;
/// Servers as hosts, a path and an upstream.
mod server;
/// Security schemes as an identity policy.
mod identity;
/// The draft as text and as JSON.
mod draft;
#[cfg(test)]
mod tests;

pub use draft::{Draft, DraftRoute};

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// JSON pointer (RFC 6901) into the document.
    pub pointer: String,
    /// What, and what helps.
    pub message: String,
}

/// What the author of a document does not say, or what is to be other than it says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the API is called; made of the title unless said otherwise.
    pub name: Option<String>,
    /// The upstream of the config that its requests go to; a new one to the document's server unless said otherwise.
    pub upstream: Option<String>,
    /// Path that its routes begin with; that of the document's server unless said otherwise.
    pub path: Option<String>,
    /// Hosts that it answers to; those of the document's servers unless said otherwise.
    pub hosts: Vec<String>,
}

/// Methods of operations that are forwarded.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "query"];

/// Reads a document.
///
/// # Errors
/// A sentence that says why it cannot be used, and what helps.
pub fn import(text: &str, options: &Options) -> Result<Draft, String> {
    draft_of(&parse(text)?, options)
}

/// The same, where nobody is there to read notes: a path that is in another document, or leads in a circle, is no path to leave
/// out but a flaw.
///
/// # Errors
/// All that is wrong.
pub fn import_strictly(text: &str, options: &Options) -> Result<Draft, Vec<Flaw>> {
    let whole = |message| vec![Flaw { pointer: String::new(), message }];
    let document = parse(text).map_err(whole)?;
    let paths = document.get("paths").and_then(Value::as_object);
    let flaw = |(path, item): (&String, &Value)| {
        let message = resolve(&document, item).err()?;
        let step = path.replace('~', "~0").replace('/', "~1");
        Some(Flaw { pointer: format!("/paths/{step}/$ref"), message })
    };
    let flaws: Vec<Flaw> = paths.into_iter().flatten().filter_map(flaw).take(FLAWS_MAX).collect();
    if flaws.is_empty() { draft_of(&document, options).map_err(whole) } else { Err(flaws) }
}

/// How many flaws of one document are told.
const FLAWS_MAX: usize = 100;

fn draft_of(document: &Value, options: &Options) -> Result<Draft, String> {
    check_version(document)?;
    let mut notes = Vec::new();
    let title = text_at(document, &["info", "title"]).unwrap_or("api");
    let name = options.name.clone().unwrap_or_else(|| slug(title));
    if !crate::validate::is_name(&name) {
        return Err(format!(
            "`{name}` cannot be the name of an API: it has up to 63 lower-case letters, digits, `-` and `_`"
        ));
    }
    let server = server::read(document, options, &mut notes);
    let identity = identity::read(document, &mut notes);
    let routes = Routes::of(document, &mut notes)?;
    if routes.is_empty() {
        return Err(
            "the document has no operation under `paths` that could become a route".to_owned()
        );
    }
    Ok(Draft {
        name,
        title: line(title),
        document: format!("OpenAPI {}", text_at(document, &["openapi"]).unwrap_or_default()),
        version: text_at(document, &["info", "version"]).and_then(version),
        server,
        identity,
        routes,
        notes,
    })
}

fn parse(text: &str) -> Result<Value, String> {
    if text.len() > OPENAPI_BYTES_MAX {
        let megabytes = OPENAPI_BYTES_MAX >> 20;
        return Err(format!("the document is larger than {megabytes} MiB"));
    }
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        // The library refuses what is nested more than 128 deep.
        return serde_json::from_str(text)
            .map_err(|error| format!("the document is no JSON: {error}"));
    }
    let mut report = Report::new();
    let file = Arc::from("the document");
    let tree = crate::yaml::parse(text.as_bytes(), &file, &mut report);
    match tree {
        Some(tree) if !report.has_errors() => Ok(to_json(&tree)),
        _ => Err(report.problems().first().map_or_else(
            || "the document is empty".to_owned(),
            |problem| format!("{}: {}", problem.place, problem.message),
        )),
    }
}

fn to_json(node: &Node) -> Value {
    match &node.value {
        base::Value::Null => Value::Null,
        base::Value::Bool(flag) => Value::Bool(*flag),
        base::Value::Int(number) => Value::from(*number),
        base::Value::Float(number) => Value::from(*number),
        base::Value::Text(text) => Value::String(text.clone()),
        base::Value::List(items) => Value::Array(items.iter().map(to_json).collect()),
        base::Value::Map(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.value.clone(), to_json(value)));
            Value::Object(fields.collect())
        }
    }
}

fn check_version(document: &Value) -> Result<(), String> {
    if document.get("swagger").is_some() {
        return Err("this is Swagger 2.0; convert it to OpenAPI 3 first".to_owned());
    }
    let version = document.get("openapi").map(|version| match version {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    match version {
        Some(version) if version.starts_with("3.") => Ok(()),
        Some(version) => {
            Err(format!("OpenAPI {} is not known here, 3.0 to 3.2 are", line(&version)))
        }
        None => Err("this is no OpenAPI document: it has no field `openapi`".to_owned()),
    }
}

/// The text at a path of keys.
fn text_at<'d>(value: &'d Value, keys: &[&str]) -> Option<&'d str> {
    keys.iter().try_fold(value, |value, key| value.get(key))?.as_str()
}

/// What a reference within the document stands for, or the value itself if it is none.
fn resolve<'d>(document: &'d Value, value: &'d Value) -> Result<&'d Value, String> {
    let mut value = value;
    for _ in 0..OPENAPI_REFERENCES_MAX {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
        let pointer = reference
            .strip_prefix('#')
            .ok_or_else(|| format!("`{}` is in another document", line(reference)))?;
        value = document
            .pointer(pointer)
            .ok_or_else(|| format!("`{}` leads nowhere", line(reference)))?;
    }
    Err("references lead in a circle".to_owned())
}

/// Collects routes.
struct Routes<'a> {
    all: Vec<DraftRoute>,
    notes: &'a mut Vec<String>,
    names: HashSet<String>,
    shapes: HashMap<String, String>,
}

impl Routes<'_> {
    /// The routes of a document, in its order.
    fn of(document: &Value, notes: &mut Vec<String>) -> Result<Vec<DraftRoute>, String> {
        let none = Map::new();
        let paths = match document.get("paths") {
            Some(Value::Object(paths)) => paths,
            None => &none,
            Some(_) => return Err("`paths` is not a map".to_owned()),
        };
        let (names, shapes) = (HashSet::new(), HashMap::new());
        let mut routes = Routes { all: Vec::new(), notes, names, shapes };
        for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
            match resolve(document, item) {
                Ok(resolved) => routes.path(document, path, resolved, item),
                Err(why) => routes.skipped(path, &why),
            }
            if routes.all.len() > OPENAPI_ROUTES_MAX {
                return Err(format!("the document has more than {OPENAPI_ROUTES_MAX} operations"));
            }
        }
        Ok(routes.all)
    }

    fn skipped(&mut self, what: &str, why: &str) {
        self.notes.push(format!("left out `{}`: {why}", line(what)));
    }

    fn path(&mut self, document: &Value, path: &str, item: &Value, beside: &Value) {
        for method in METHODS {
            // What stands beside a reference counts, too.
            let Some(operation) = item.get(method).or_else(|| beside.get(method)) else { continue };
            let method = method.to_ascii_uppercase();
            let shown = format!("{method} {path}");
            let rest = path::rest_parameter(document, item, operation);
            match path::pattern(path, rest.as_deref()) {
                Ok(pattern) => self.route(&method, &pattern, operation, &shown),
                Err(why) => self.skipped(&shown, &why),
            }
        }
    }

    fn route(&mut self, method: &str, pattern: &path::Pattern, operation: &Value, shown: &str) {
        let shape = format!("{method} {}", pattern.shape);
        if let Some(first) = self.shapes.get(&shape) {
            let why = format!("`{first}` takes the same requests");
            return self.skipped(shown, &why);
        }
        self.shapes.insert(shape, line(shown));
        if let Some(note) = &pattern.note {
            self.notes.push(format!("`{}`: {note}", line(shown)));
        }
        let is_open = operation.get("security").and_then(Value::as_array).is_some_and(|schemes| {
            schemes.is_empty() || schemes.iter().any(|it| it.as_object().is_some_and(Map::is_empty))
        });
        let id = text_at(operation, &["operationId"]).map(route_name).filter(|id| !id.is_empty());
        let about = text_at(operation, &["summary"])
            .or_else(|| text_at(operation, &["description"]))
            .map(line)
            .filter(|about| !about.is_empty());
        self.all.push(DraftRoute {
            name: id.map(|id| unique_by(id, '-', &mut self.names)),
            method: method.to_owned(),
            path: pattern.text.clone(),
            about,
            is_open,
            is_deprecated: operation.get("deprecated") == Some(&Value::Bool(true)),
        });
    }
}

/// A name that nothing else has.
fn unique_by(name: String, sign: char, names: &mut HashSet<String>) -> String {
    if names.insert(name.clone()) {
        return name;
    }
    let mut number = 2_usize;
    loop {
        let next = format!("{name}{sign}{number}");
        if names.insert(next.clone()) {
            return next;
        }
        number += 1;
    }
}

/// Letters of a line of text.
const LINE_MAX: usize = 160;
/// Letters of a name of a route.
const ROUTE_NAME_MAX: usize = 100;
/// Letters of a name of an API that is made of a title.
const SLUG_MAX: usize = 40;

/// Text of strangers in one line.
fn line(text: &str) -> String {
    let first = text.trim().lines().next().unwrap_or_default();
    let plain = first.chars().filter(|c| !c.is_control() && !is_invisible(*c));
    let mut short: String = plain.clone().take(LINE_MAX).collect();
    if plain.count() > LINE_MAX {
        short.push('…');
    }
    short.trim().to_owned()
}

/// Characters that change how those around them are shown.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An operation id as the name of a route.
fn route_name(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let name: String = id.trim().chars().take(ROUTE_NAME_MAX).map(plain).collect();
    name.trim_matches(['-', '.']).to_owned()
}

/// A title as the name of an API.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.chars().take(4 * SLUG_MAX) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= SLUG_MAX {
            break;
        }
    }
    let slug = slug.trim_matches('-').to_owned();
    if slug.is_empty() { "api".to_owned() } else { slug }
}

/// The version of the document, if it can be that of an API.
fn version(text: &str) -> Option<String> {
    let text = text.trim();
    crate::api::is_version(text).then(|| text.to_owned())
}
