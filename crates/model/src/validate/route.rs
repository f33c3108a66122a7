//! Routes, each by itself.

use super::api::{Known, has_policies};
use super::reason;
use crate::path::{PathPattern, Segment};
use crate::route::ValueMatch;
use crate::{Api, Map, Route, pattern};
use base::caps::{PATH_PARAMS_MAX, PATH_SEGMENTS_MAX};
use base::report::did_you_mean;
use base::{Place, Report};
use std::collections::{HashMap, HashSet};

pub(super) fn check(
    route: &Route,
    api: &Api,
    base: &[Segment],
    known: &Known<'_>,
    report: &mut Report,
) {
    path(route, base, report);
    methods(route, report);
    let settings = &route.settings;
    predicates("header", &settings.headers, report);
    predicates("query parameter", &settings.query, report);
    if let Some(upstream) = &settings.upstream {
        known.upstream(upstream, report);
    }
    let is_answered = settings.upstream.is_some()
        || api.upstream.is_some()
        || !settings.policies.is_empty()
        || has_policies(known.config, api);
    if !is_answered {
        report
            .error("nowhere_to_go", &route.path.place, "this route has no upstream")
            .help("add `upstream:` to the route or to its API");
    }
    if let Some(public) = &settings.public {
        reason("`public`", &public.place, public, report);
    }
    for (policy, text) in settings.exempt.iter() {
        reason("an exemption", &policy.place, text, report);
    }
}

/// Methods that requests commonly have; others are fine, unless they look like one of these mistyped.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

fn methods(route: &Route, report: &mut Report) {
    for method in route.methods.iter().filter(|method| !METHODS.contains(&method.as_str())) {
        if let Some(near) = did_you_mean(method, METHODS) {
            report
                .warning(
                    "unusual_method",
                    &route.path.place,
                    format!("`{method}` is no common method"),
                )
                .help(format!("did you mean `{near}`?"));
        }
    }
}

fn path(route: &Route, base: &[Segment], report: &mut Report) {
    let place = &route.path.place;
    let whole = route.path.below(base);
    let params = match (&route.path.value, &whole) {
        (PathPattern::Regex(own), PathPattern::Regex(whole)) => {
            let compiled = pattern::whole(own).and_then(|compiled| {
                if base.is_empty() { Ok(compiled) } else { pattern::whole(whole) }
            });
            match compiled {
                Ok(regex) => regex.capture_names().flatten().map(str::to_owned).collect(),
                Err(message) => {
                    report
                        .error("invalid_regex", place, message)
                        .help("it is matched against the whole path; see the syntax at https://docs.rs/regex");
                    return;
                }
            }
        }
        _ => whole.params(),
    };
    let mut seen = HashSet::new();
    for name in params.iter().filter(|name| !seen.insert(name.as_str())) {
        report
            .error(
                "duplicate_param",
                place,
                format!("two parameters of `{whole}` are named `{name}`"),
            )
            .help("give each parameter of a path a name of its own");
    }
    if params.len() > PATH_PARAMS_MAX {
        let message = format!(
            "`{whole}` has {} parameters, but {PATH_PARAMS_MAX} are the most",
            params.len()
        );
        report.error("too_many_params", place, message).help("use `/*` for the rest of the path");
    }
    if let PathPattern::Template { segments, .. } = &whole
        && segments.len() > PATH_SEGMENTS_MAX
    {
        let message = format!("the path has more than {PATH_SEGMENTS_MAX} segments");
        report.error("too_many_segments", place, message).help("no request can match it");
    }
}

fn predicates(what: &str, map: &Map<ValueMatch>, report: &mut Report) {
    let is_header = what == "header";
    let mut seen: HashMap<String, &Place> = HashMap::new();
    for (name, value) in map.iter() {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || (is_header && !name.chars().all(is_token)) {
            report
                .error(
                    "invalid_name",
                    &name.place,
                    format!("`{}` is not the name of a {what}", name.value),
                )
                .help("a name has letters, digits and `-`");
        }
        // Header names are compared without regard to case, those of query parameters are not.
        let key = if is_header { name.to_ascii_lowercase() } else { name.value.clone() };
        if let Some(first) = seen.insert(key, &name.place) {
            report
                .error(
                    "duplicate_key",
                    &name.place,
                    format!("{what} `{}` appears twice", name.value),
                )
                .help(format!("it is already given at {first}"));
        }
        match value {
            ValueMatch::Regex(regex) => {
                if let Err(message) = pattern::whole(regex) {
                    report
                        .error("invalid_regex", &name.place, message)
                        .help("it is matched against the whole value; see the syntax at https://docs.rs/regex");
                }
            }
            ValueMatch::Exact(text) if is_header && text.chars().any(char::is_control) => {
                report
                    .error("invalid_value", &name.place, "no header has control characters in it")
                    .help("remove line breaks and tabs");
            }
            ValueMatch::Exact(_) | ValueMatch::Present(_) => {}
        }
    }
}
