//! From host, path and method to a route, at a cost that does not grow with the number of routes.
//!
//! Precedence: the exact host before the longest wildcard before any host; within a host a static
//! segment before a parameter, a whole match before a regular expression (the one that begins with
//! more plain segments first) before a path that only begins like the request's, the longest first; on one path the route with more header and query
//! predicates, then one that names its methods, then the one written first.

use crate::head::RequestHead;
use crate::method::MethodSet;
use crate::predicate::Predicate;
use crate::snapshot::Route;
use base::caps::PATH_PARAMS_MAX;
use http::Method;
use http::uri::PathAndQuery;
use regex::{Regex, RegexSet};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;

#[cfg(test)]
mod tests;

type FastMap<V> = HashMap<Box<str>, V, foldhash::fast::RandomState>;

/// Where a captured part of the path begins and ends, in bytes.
type Span = (u32, u32);
type Spans = SmallVec<[Span; 4]>;

/// A segment of a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Static(Box<str>),
    /// Any one segment that is not empty; captured.
    Param,
}

/// The paths a route matches.
#[derive(Clone, Debug)]
pub enum Paths {
    /// These segments and no more.
    Whole(Vec<Segment>),
    /// These segments and everything below; the rest is captured if `capture`.
    Below {
        /// The segments from the root.
        segments: Vec<Segment>,
        /// Whether the rest is captured as the last parameter.
        capture: bool,
    },
    /// A regular expression over the whole path.
    Regex {
        /// The expression, anchored by whoever compiled it.
        regex: Regex,
        /// Whole segments with which every path that it matches begins; they find it fast.
        prefix: Vec<Box<str>>,
    },
}

/// The hosts a route matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Any host.
    Any,
    /// This host.
    Exact(Box<str>),
    /// Every host below this one: `example.com` for `*.example.com`.
    Below(Box<str>),
}

/// A route to put into a tree.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The hosts it matches.
    pub hosts: Vec<HostPattern>,
    /// The paths it matches.
    pub paths: Paths,
    /// The methods it answers.
    pub methods: MethodSet,
    /// What else a request must carry.
    pub predicates: Arc<[Predicate]>,
    /// What is done with the requests it matches.
    pub route: Arc<Route>,
}

/// A matched route and what the path gave.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The route.
    pub route: Arc<Route>,
    /// The target that was matched; policies may have changed the one in the request since.
    pub target: PathAndQuery,
    spans: Spans,
}

impl Matched {
    /// A captured part of the path by its name, still percent-encoded.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        let index = self.route.params.iter().position(|param| &**param == name)?;
        self.param_at(index)
    }

    /// A captured part of the path by its position among the route's parameters.
    #[must_use]
    pub fn param_at(&self, index: usize) -> Option<&str> {
        let (start, end) = *self.spans.get(index)?;
        self.target.path().get(start as usize..end as usize)
    }
}

/// What a tree says of a request.
#[derive(Debug)]
pub enum Lookup {
    /// This route.
    Found(Matched),
    /// Routes match, but none this method; these methods would do.
    MethodNotAllowed(MethodSet),
    /// No route matches.
    NotFound,
}

/// The routes of one listener.
#[derive(Debug, Default)]
pub struct RouteTree {
    exact: FastMap<HostRoutes>,
    below: FastMap<HostRoutes>,
    any: HostRoutes,
}

#[derive(Debug, Default)]
struct HostRoutes {
    root: Branch,
}

#[derive(Debug, Default)]
struct Branch {
    statics: FastMap<Self>,
    param: Option<Box<Self>>,
    whole: Vec<Candidate>,
    below: Vec<Candidate>,
    /// Expressions whose paths begin with the segments down to here.
    regexes: Option<Box<Regexes>>,
}

/// Expressions that are tried together.
#[derive(Debug, Default)]
struct Regexes {
    set: RegexSet,
    each: Vec<(Regex, Candidate)>,
}

#[derive(Clone, Debug)]
struct Candidate {
    methods: MethodSet,
    predicates: Arc<[Predicate]>,
    captures_rest: bool,
    route: Arc<Route>,
}

impl RouteTree {
    /// Builds the tree.
    ///
    /// # Errors
    /// When the regular expressions of one host are together too large.
    pub fn build(rules: impl IntoIterator<Item = Rule>) -> Result<Self, regex::Error> {
        let mut tree = Self::default();
        for rule in rules {
            for host in &rule.hosts {
                let routes = match host {
                    HostPattern::Any => &mut tree.any,
                    HostPattern::Exact(name) => tree.exact.entry(name.clone()).or_default(),
                    HostPattern::Below(name) => tree.below.entry(name.clone()).or_default(),
                };
                routes.insert(&rule);
            }
        }
        tree.any.root.finish()?;
        for routes in tree.exact.values_mut().chain(tree.below.values_mut()) {
            routes.root.finish()?;
        }
        Ok(tree)
    }

    /// Finds the route of a request, by `method` in place of its own (a preflight asks about another).
    #[must_use]
    pub fn find(&self, head: &RequestHead, method: &Method) -> Lookup {
        let mut search =
            Search { head, method, allowed: MethodSet::default(), spans: Spans::new() };
        for routes in self.hosts(&head.host) {
            if let Some(candidate) = routes.find(&mut search) {
                let route = Arc::clone(&candidate.route);
                let target = head.target.clone();
                return Lookup::Found(Matched { route, target, spans: search.spans });
            }
        }
        if search.allowed.is_empty() {
            Lookup::NotFound
        } else {
            Lookup::MethodNotAllowed(search.allowed)
        }
    }

    /// The routes of a host, the most specific first.
    fn hosts<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a HostRoutes> {
        // Where no route is for a whole domain, nobody looks for the dots.
        let first = if self.below.is_empty() { None } else { host.split_once('.') };
        let parents = std::iter::successors(first, |(_, parent)| parent.split_once('.'));
        self.exact
            .get(host)
            .into_iter()
            .chain(parents.filter_map(|(_, p)| self.below.get(p)))
            .chain(std::iter::once(&self.any))
    }
}

impl HostRoutes {
    fn insert(&mut self, rule: &Rule) {
        let mut candidate = Candidate {
            methods: rule.methods.clone(),
            predicates: Arc::clone(&rule.predicates),
            captures_rest: false,
            route: Arc::clone(&rule.route),
        };
        match &rule.paths {
            Paths::Whole(segments) => self.root.descend(segments).whole.push(candidate),
            Paths::Below { segments, capture } => {
                candidate.captures_rest = *capture;
                self.root.descend(segments).below.push(candidate);
            }
            Paths::Regex { regex, prefix } => {
                let segments: Vec<Segment> = prefix.iter().cloned().map(Segment::Static).collect();
                let regexes = self.root.descend(&segments).regexes.get_or_insert_default();
                regexes.each.push((regex.clone(), candidate));
            }
        }
    }

    fn find(&self, search: &mut Search<'_>) -> Option<&Candidate> {
        search.spans.clear();
        if let Some(found) = search.whole(&self.root, 1) {
            return Some(found);
        }
        search.spans.clear();
        if let Some(found) = search.regex(&self.root, 1) {
            return Some(found);
        }
        search.spans.clear();
        search.below(&self.root, 1)
    }
}

impl Branch {
    fn descend(&mut self, segments: &[Segment]) -> &mut Self {
        segments.iter().fold(self, |branch, segment| match segment {
            Segment::Static(text) => branch.statics.entry(text.clone()).or_default(),
            Segment::Param => branch.param.get_or_insert_default(),
        })
    }

    /// Puts everything into the order in which it is tried.
    fn finish(&mut self) -> Result<(), regex::Error> {
        self.whole.sort_by_key(Candidate::rank);
        self.below.sort_by_key(Candidate::rank);
        if let Some(regexes) = &mut self.regexes {
            regexes.each.sort_by_key(|(_, candidate)| candidate.rank());
            regexes.set = RegexSet::new(regexes.each.iter().map(|(regex, _)| regex.as_str()))?;
        }
        for branch in self.statics.values_mut().chain(self.param.as_deref_mut()) {
            branch.finish()?;
        }
        Ok(())
    }
}

impl Candidate {
    /// Smaller comes first; equals stay in the order they were written.
    fn rank(&self) -> (usize, bool) {
        (usize::MAX - self.predicates.len(), self.methods.is_any())
    }
}

/// One look-up on its way down the tree.
struct Search<'a> {
    head: &'a RequestHead,
    method: &'a Method,
    allowed: MethodSet,
    spans: Spans,
}

impl<'a> Search<'a> {
    fn accepts(&mut self, candidate: &Candidate) -> bool {
        if !candidate.predicates.iter().all(|predicate| predicate.holds(self.head)) {
            return false;
        }
        let fits = candidate.methods.contains(self.method);
        if !fits {
            self.allowed.union(&candidate.methods);
        }
        fits
    }

    fn first<'t>(&mut self, candidates: &'t [Candidate]) -> Option<&'t Candidate> {
        candidates.iter().find(|candidate| self.accepts(candidate))
    }

    /// The segment that begins at byte `at`, and where the next one begins, if there is one.
    fn segment(&self, at: usize) -> Option<(&'a str, Option<usize>)> {
        let rest = self.head.path().get(at..)?;
        // Segments are short: a search that is made for long texts takes longer.
        Some(match rest.bytes().position(|byte| byte == b'/') {
            Some(end) => (rest.get(..end)?, Some(at + end + 1)),
            None => (rest, None),
        })
    }

    /// A candidate whose template is the whole path from byte `at` on. Captures are left in `spans`.
    fn whole<'t>(&mut self, branch: &'t Branch, at: usize) -> Option<&'t Candidate> {
        let (segment, next) = self.segment(at)?;
        let is_root_path = at == 1 && segment.is_empty() && next.is_none();
        if is_root_path {
            return self.first(&branch.whole);
        }
        if let Some(child) = branch.statics.get(segment) {
            let found = match next {
                Some(next) => self.whole(child, next),
                None => self.first(&child.whole),
            };
            if found.is_some() {
                return found;
            }
        }
        let child = branch.param.as_deref().filter(|_| !segment.is_empty())?;
        self.push(at, at + segment.len());
        let found = match next {
            Some(next) => self.whole(child, next),
            None => self.first(&child.whole),
        };
        if found.is_none() {
            self.spans.pop();
        }
        found
    }

    /// The candidate with the longest template that the path from byte `at` on begins with.
    fn below<'t>(&mut self, branch: &'t Branch, at: usize) -> Option<&'t Candidate> {
        if let Some((segment, next)) = self.segment(at) {
            // Past the last segment there is nothing left to capture; `at` beyond the end says so.
            let next = next.unwrap_or_else(|| self.head.path().len() + 1);
            if let Some(child) = branch.statics.get(segment)
                && let Some(found) = self.below(child, next)
            {
                return Some(found);
            }
            if let Some(child) = branch.param.as_deref().filter(|_| !segment.is_empty()) {
                self.push(at, at + segment.len());
                if let Some(found) = self.below(child, next) {
                    return Some(found);
                }
                self.spans.pop();
            }
        }
        let found = self.first(&branch.below)?;
        if found.captures_rest {
            let end = self.head.path().len();
            self.push(at.min(end), end);
        }
        Some(found)
    }

    fn push(&mut self, start: usize, end: usize) {
        if self.spans.len() < PATH_PARAMS_MAX {
            let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            self.spans.push((byte(start), byte(end)));
        }
    }

    /// A candidate whose expression matches the whole path, the one with the longest prefix first.
    fn regex<'t>(&mut self, branch: &'t Branch, at: usize) -> Option<&'t Candidate> {
        if let Some((segment, Some(next))) = self.segment(at)
            && let Some(child) = branch.statics.get(segment)
            && let Some(found) = self.regex(child, next)
        {
            return Some(found);
        }
        let regexes = branch.regexes.as_deref()?;
        for index in regexes.set.matches(self.head.path()) {
            let (regex, candidate) = &regexes.each[index];
            if self.accepts(candidate) {
                self.capture(regex, candidate);
                return Some(candidate);
            }
        }
        None
    }

    /// Named groups in the order of their names in the expression.
    fn capture(&mut self, regex: &Regex, candidate: &Candidate) {
        if candidate.route.params.is_empty() {
            return;
        }
        let Some(captures) = regex.captures(self.head.path()) else { return };
        for name in regex.capture_names().flatten() {
            let group = captures.name(name).map_or((0, 0), |group| (group.start(), group.end()));
            self.push(group.0, group.1);
        }
    }
}
