//! Workspaces as parts of one config. Each is read and checked alone, against what the platform delegates to it; then its
//! names get the workspace in front, with a dot that no written name can have (`shop.orders`), and it stands beside the
//! platform's own config. What its parts say of each other stays as written: crate `compile` looks names up in the
//! workspace that they stand in.

use crate::config::{Config, VERSION};
use crate::path::{PathPattern, Segment, Tail};
use crate::{Api, Map, PolicyConfig, validate, yaml};
use base::caps::{
    WORKSPACE_APIS_MAX, WORKSPACE_PLANS_MAX, WORKSPACE_POLICIES_MAX, WORKSPACE_REGEXES_MAX,
    WORKSPACE_ROUTES_MAX, WORKSPACE_TARGETS_MAX, WORKSPACE_UPSTREAMS_MAX,
};
use base::{Node, Place, Placed, Report};
use std::collections::HashMap;
use std::sync::Arc;

mod alone;
#[cfg(test)]
mod tests;
/// What the platform delegates to a workspace.
pub mod grants;

pub use grants::Grants;

/// What the name of a file begins with that is the config of a workspace.
pub const FILE: &str = "workspace:";

/// The workspace that is the platform's own.
pub const DEFAULT: &str = "default";

/// What a config knows of a workspace besides its APIs, upstreams, plans and roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Policies of every route of every API of it.
    pub policies: Vec<PolicyConfig>,
    /// Whether its targets may lead inward: to the machine itself, for example.
    pub may_go_inward: bool,
}

/// A workspace as it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Workspace<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its config, as JSON or YAML.
    pub config: &'a str,
    /// What it may use.
    pub grants: &'a Grants,
}

/// A workspace that was read.
#[derive(Debug)]
pub struct Read {
    /// Its name.
    pub name: String,
    /// Its config with names as all know them; none if anything is wrong with it.
    pub config: Option<Config>,
    /// What is wrong with it, with a JSON pointer for each problem.
    pub report: Report,
}

/// The file that a workspace is called in places.
#[must_use]
pub fn file_of(workspace: &str) -> String {
    format!("{FILE}{workspace}")
}

/// The workspace whose config has this place, if it is one's.
#[must_use]
pub fn workspace_of(place: &Place) -> Option<&str> {
    place.file.strip_prefix(FILE)
}

/// The workspace of a name, and the name in it.
#[must_use]
pub fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once('.') {
        Some((workspace, own)) => (Some(workspace), own),
        None => (None, name),
    }
}

/// What a workspace, or the platform, has of all, by the names there.
pub fn of<'m, T>(
    map: &'m Map<T>,
    workspace: Option<&str>,
) -> impl Iterator<Item = (&'m str, &'m T)> {
    map.iter().filter_map(move |(name, value)| {
        let (of, own) = split(&name.value);
        (of == workspace).then_some((own, value))
    })
}

/// Reads a workspace and checks it alone. Of the platform's config the listeners are known to it.
#[must_use]
pub fn read(workspace: &Workspace<'_>, platform: &Config) -> Read {
    let file: Arc<str> = Arc::from(file_of(workspace.name));
    let mut report = Report::new();
    let mut config = None;
    let tree = yaml::parse(workspace.config.as_bytes(), &file, &mut report);
    if let Some(tree) = &tree {
        alone::sections(tree, &mut report);
        alone::references(tree, &mut report);
        config = decoded(tree, &mut report);
    }
    if let Some(config) = &mut config {
        // Routes are on listeners, which only the platform has.
        config.listeners = platform.listeners.clone();
        let mut all = Report::new();
        validate(config, &mut all);
        let own = all.problems().iter().filter(|problem| problem.place.file == file);
        for problem in own {
            report.push(problem.clone());
        }
        alone::caps(config, &mut report);
        workspace.grants.check(config, &mut report);
        config.listeners = Map::default();
    }
    let report = match &tree {
        Some(tree) => with_pointers(&report, tree),
        None => report,
    };
    let config = config.filter(|_| !report.has_errors());
    let config = config.map(|config| qualified(config, workspace));
    Read { name: workspace.name.to_owned(), config, report }
}

fn decoded(tree: &Node, report: &mut Report) -> Option<Config> {
    let version = tree.field("version").map(|version| &version.value);
    if version != Some(&base::Value::Int(i64::from(VERSION))) {
        report
            .error("invalid_version", &tree.place, format!("`version: {VERSION}` is missing"))
            .at("/version")
            .help(format!("begin with `version: {VERSION}`"));
        return None;
    }
    base::decode(tree, "", report)
}

/// The same problems, each with the JSON pointer of what it is about as far as its place tells.
fn with_pointers(report: &Report, tree: &Node) -> Report {
    let mut by_place = HashMap::new();
    places(tree, "", &mut by_place);
    let mut pointed = Report::new();
    for problem in report.problems() {
        let mut problem = problem.clone();
        if problem.path.is_empty()
            && let Some(pointer) = by_place.get(&(problem.place.line, problem.place.column))
        {
            problem.path.clone_from(pointer);
        }
        pointed.push(problem);
    }
    pointed.sort();
    pointed
}

/// The JSON pointers (RFC 6901) of everything in a document, by line and column.
fn places(node: &Node, pointer: &str, found: &mut HashMap<(u32, u32), String>) {
    let at = |place: &Place| (place.line, place.column);
    found.entry(at(&node.place)).or_insert_with(|| pointer.to_owned());
    match &node.value {
        base::Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{pointer}/{index}"), found);
            }
        }
        base::Value::Map(fields) => {
            for (key, value) in fields {
                let key_text = key.value.replace('~', "~0").replace('/', "~1");
                let below = format!("{pointer}/{key_text}");
                // A map that begins with its first key is that key's owner for those who look.
                found.insert(at(&key.place), below.clone());
                places(value, &below, found);
            }
        }
        _ => {}
    }
}

/// Puts the workspace before the names of all that it defines.
fn qualified(mut config: Config, workspace: &Workspace<'_>) -> Config {
    let name = workspace.name;
    let under = |own: &str| format!("{name}.{own}");
    config.apis.rename(under);
    config.upstreams.rename(under);
    config.plans.rename(under);
    config.roles.rename(under);
    for role in config.roles.values_mut() {
        role.rename(|api| if api == crate::role::EVERY_API { api.to_owned() } else { under(api) });
    }
    for api in config.apis.values_mut() {
        if api.listeners.is_empty() {
            let granted = workspace.grants.listeners.iter();
            api.listeners = granted.map(|name| Placed::unplaced(name.clone())).collect();
        }
    }
    config.workspaces = vec![Part {
        name: name.to_owned(),
        policies: std::mem::take(&mut config.policies),
        may_go_inward: workspace.grants.inward,
    }];
    config
}

/// Puts workspaces that were read beside the platform's config. One whose routes take requests of the platform, or of a
/// workspace before it, is left out as a whole, with the problems; so is one with which something is wrong.
#[must_use]
pub fn join(platform: &Config, workspaces: &[Read]) -> (Config, Vec<(String, Report)>) {
    let mut left_out: Vec<(String, Report)> = Vec::new();
    loop {
        let mut config = platform.clone();
        let is_in = |read: &&Read| !left_out.iter().any(|(name, _)| *name == read.name);
        for own in workspaces.iter().filter(is_in).filter_map(|read| read.config.as_ref()) {
            let own = own.clone();
            config.apis.append(own.apis);
            config.upstreams.append(own.upstreams);
            config.plans.append(own.plans);
            config.roles.append(own.roles);
            config.workspaces.extend(own.workspaces);
        }
        let mut conflicts = Report::new();
        validate::conflicts(&config, &mut conflicts);
        let before = left_out.len();
        for problem in conflicts.problems() {
            let Some(name) = workspace_of(&problem.place) else { continue };
            let known = left_out.iter().position(|(other, _)| other == name);
            let mut problem = problem.clone();
            // The other one is none of their business.
            problem.help =
                Some("ask those who run the platform what is delegated to whom".to_owned());
            match known.and_then(|at| left_out.get_mut(at)) {
                Some((_, report)) => {
                    report.push(problem);
                }
                None => {
                    let mut report = Report::new();
                    report.push(problem);
                    left_out.push((name.to_owned(), report));
                }
            }
        }
        if left_out.len() == before {
            return (config, left_out);
        }
    }
}
