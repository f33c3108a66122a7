//! Routes that match the same requests, so that it would be chance which one answers.

use super::api::segments;
use crate::api::ApiState;
use crate::path::{PathPattern, Segment, Tail};
use crate::route::ValueMatch;
use crate::{Api, Config, Map, Route};
use base::{Place, Report};
use std::collections::HashMap;

/// What two conflicting routes have in common besides a method: listener, host and the rest, each as
/// the number it got.
type Where = (usize, usize, usize);

/// A route as it is compared: its methods (0 being any) by number, how it is shown, where it is.
struct Entry<'a> {
    methods: Vec<usize>,
    shown: String,
    place: &'a Place,
}

#[derive(Default)]
struct Numbers<'a> {
    texts: HashMap<String, usize>,
    listeners: HashMap<&'a str, usize>,
}

impl Numbers<'_> {
    fn of(&mut self, text: &str) -> usize {
        let next = self.texts.len() + 1;
        *self.texts.entry(text.to_owned()).or_insert(next)
    }
}

/// Compares all routes of all APIs, in time that grows with their number, not with its square.
pub(crate) fn check(config: &Config, report: &mut Report) {
    let mut numbers = Numbers {
        listeners: config.listeners.names().enumerate().map(|(at, name)| (name, at)).collect(),
        ..Numbers::default()
    };
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut seen: HashMap<Where, Vec<(usize, usize)>> = HashMap::new();
    // What is served nowhere takes no requests.
    let served = |(_, api): &(_, &Api)| api.state != ApiState::Draft;
    for (name, api) in config.apis.iter().filter(served) {
        let listeners: Vec<usize> = if api.listeners.is_empty() {
            let has_routes = |(at, (_, listener)): (usize, (_, &crate::Listener))| {
                listener.speaks_http().then_some(at)
            };
            config.listeners.iter().enumerate().filter_map(has_routes).collect()
        } else {
            api.listeners
                .iter()
                .filter_map(|l| numbers.listeners.get(l.as_str()).copied())
                .collect()
        };
        let hosts: Vec<usize> = if api.hosts.is_empty() {
            vec![0]
        } else {
            api.hosts.iter().map(|host| numbers.of(host)).collect()
        };
        for (shape, entry) in routes(name, api, &mut numbers) {
            let this = entries.len();
            entries.push(entry);
            let mut other = None;
            for listener in &listeners {
                for host in &hosts {
                    let taken = seen.entry((*listener, *host, shape)).or_default();
                    other = take(taken, this, &entries).or(other);
                }
            }
            if let (Some(other), Some(this)) = (other, entries.get(this)) {
                conflict(this, other, report);
            }
        }
    }
}

/// The routes of an API; without any, there is the one that sends everything to its upstream.
fn routes<'a>(
    name: &'a base::Placed<String>,
    api: &'a Api,
    numbers: &mut Numbers<'_>,
) -> Vec<(usize, Entry<'a>)> {
    // The path of the API was told to be wrong: what its routes match is not known.
    let Some(base) = segments(api) else { return Vec::new() };
    if api.routes.is_empty() {
        let path = PathPattern::Template { segments: Vec::new(), tail: Tail::Rest(None) };
        let path = path.below(&base);
        let shown = format!("{path} (all of API `{}`)", name.value);
        let entry = Entry { methods: vec![0], shown, place: &name.place };
        return vec![(numbers.of(&shape(&path)), entry)];
    }
    let entry = |route: &'a base::Placed<Route>| {
        let path = route.path.below(&base);
        let (headers, query) = (&route.settings.headers, &route.settings.query);
        let shape = format!(
            "{}\n{}\n{}",
            shape(&path),
            predicates(headers, str::to_ascii_lowercase),
            predicates(query, str::to_owned)
        );
        let mut methods: Vec<usize> =
            route.methods.iter().map(|method| numbers.of(method)).collect();
        let mut shown = path.to_string();
        if methods.is_empty() {
            methods.push(0);
        } else {
            shown = format!("{} {shown}", route.methods.join(","));
        }
        (numbers.of(&shape), Entry { methods, shown, place: &route.path.place })
    };
    api.routes.iter().map(entry).collect()
}

/// The path with its parameters made nameless.
fn shape(path: &PathPattern) -> String {
    let PathPattern::Template { segments, tail } = path else { return path.to_string() };
    let mut shape = String::new();
    for segment in segments {
        shape.push('/');
        match segment {
            Segment::Static(text) => shape.push_str(text),
            Segment::Param(_) => shape.push_str("{}"),
        }
    }
    if matches!(tail, Tail::Rest(_)) {
        shape.push_str("/*");
    }
    shape
}

fn predicates(map: &Map<ValueMatch>, name: fn(&str) -> String) -> String {
    if map.is_empty() {
        return String::new();
    }
    let mut all: Vec<String> =
        map.iter().map(|(key, value)| format!("{:?}={value:?}", name(key))).collect();
    all.sort();
    all.join("&")
}

/// Enters a route, or finds the one that is there already.
fn take<'e, 'a>(
    taken: &mut Vec<(usize, usize)>,
    this: usize,
    entries: &'e [Entry<'a>],
) -> Option<&'e Entry<'a>> {
    let methods = entries.get(this).map(|entry| entry.methods.as_slice()).unwrap_or_default();
    let mut other = None;
    for method in methods {
        // Never long: methods in one place differ from each other.
        let is_same = |(taken, route): &&(usize, usize)| {
            *route != this && (taken == method || *taken == 0 || *method == 0)
        };
        match taken.iter().find(is_same) {
            Some((_, route)) => other = other.or_else(|| entries.get(*route)),
            None => taken.push((*method, this)),
        }
    }
    other
}

fn conflict(this: &Entry<'_>, other: &Entry<'_>, report: &mut Report) {
    let message = if this.shown == other.shown {
        format!("`{}` is there twice", this.shown)
    } else {
        format!("`{}` matches the same requests as `{}`", this.shown, other.shown)
    };
    report.error("route_conflict", this.place, message).help(format!(
        "the other is at {}; remove one, or tell them apart by host, method, header or query",
        other.place
    ));
}
