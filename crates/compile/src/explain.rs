//! Which route a request takes and why, and what happens to it there: the same look-up as the data
//! plane's, told in words.

use base::Place;
use http::{HeaderValue, Method, Uri, Version};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use traffic::head::{RequestHead, Scheme};
use traffic::snapshot::{ListenerPart, Route, Snapshot};
use traffic::tree::{Lookup, Matched};
use traffic::{Headers, canonical};

/// What a listener would do with a request.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The listener.
    pub listener: String,
    /// The host that is routed.
    pub host: String,
    /// The canonical path that is routed and forwarded.
    pub path: String,
    /// What comes of it.
    pub outcome: Outcome,
}

/// What comes of a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is redirected to HTTPS on this port.
    Redirected(u16),
    /// It is refused before it is routed.
    Refused(String),
    /// The connection is passed on to this upstream, unread.
    Relayed(String),
    /// The connection is closed: nobody here answers for the name.
    Closed,
    /// No route matches.
    NotFound,
    /// Routes match, but none this method; these methods would do.
    MethodNotAllowed(String),
    /// The route that takes it has a problem, so that it answers nothing but 503.
    Broken(String),
    /// This route takes it.
    Routed(Box<Taken>),
}

/// The route a request takes.
#[derive(Debug, Serialize)]
pub struct Taken {
    /// `api/name` of the route.
    pub route: String,
    /// Where it was written.
    pub place: Place,
    /// Why it is this one.
    pub why: String,
    /// What the path gave.
    pub params: Vec<(String, String)>,
    /// Why anybody may call it.
    pub public: Option<String>,
    /// Why it answers nothing but 503.
    pub broken: Option<String>,
    /// Whether its API is going away: `deprecated`, or `retired`, so that it answers nothing but 410.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// The policies in the order in which they run.
    pub chain: Vec<Step>,
    /// Inherited policies that do not apply, with the reasons.
    pub exempt: Vec<(String, String)>,
    /// Where the request goes, unless a policy chooses otherwise.
    pub upstream: Option<String>,
    /// The upstream's targets.
    pub targets: Vec<String>,
    /// Where policies may send it besides.
    pub destinations: Vec<Steered>,
}

/// An upstream to which a policy may send the request.
#[derive(Debug, Serialize)]
pub struct Steered {
    /// The policy's kind.
    pub kind: String,
    /// Which requests go there.
    pub which: String,
    /// The upstream.
    pub upstream: String,
    /// Its targets.
    pub targets: Vec<String>,
}

/// One policy of a chain.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Its kind.
    pub kind: String,
    /// Its id: owner, kind and own id.
    pub id: String,
    /// Where it was written.
    pub place: Place,
    /// What it allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<String>,
}

/// A request to explain.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Its URL; a host and a path at least.
    pub url: Uri,
    /// Its headers.
    pub headers: Headers,
}

/// Says what each listener would do with a request.
///
/// # Errors
/// When the URL has no host.
pub fn explain(snapshot: &Snapshot, question: &Question) -> Result<Vec<Explanation>, String> {
    let (host, listeners) = listeners(snapshot, question)?;
    let explanation = |listener: &Arc<ListenerPart>| {
        let Looked { path, found } = look_up(listener, &host, question);
        let outcome = match found {
            Found::Other(outcome) => outcome,
            Found::Route(_, matched) => Outcome::Routed(Box::new(taken(&matched))),
        };
        Explanation { listener: listener.name.to_string(), host: host.clone(), path, outcome }
    };
    Ok(listeners.into_iter().map(explanation).collect())
}

/// The host of a question, and the listeners that its URL may mean.
pub(crate) fn listeners<'a>(
    snapshot: &'a Snapshot,
    question: &Question,
) -> Result<(String, Vec<&'a Arc<ListenerPart>>), String> {
    let authority = question.url.authority().ok_or("the URL has no host")?;
    let host = canonical::host(authority.as_str())
        .ok_or_else(|| format!("`{authority}` is not a host"))?
        .into_owned();
    let fits = |listener: &&Arc<ListenerPart>| match question.url.scheme_str() {
        Some("https") => listener.tls.is_some() || !listener.relays.by_name.is_empty(),
        Some("http") => listener.tls.is_none() && listener.relays.by_name.is_empty(),
        _ => true,
    };
    let chosen: Vec<_> = snapshot.listeners.iter().filter(fits).collect();
    let all = || snapshot.listeners.iter().collect();
    Ok((host, if chosen.is_empty() { all() } else { chosen }))
}

/// Where a listener's look-up ends.
pub(crate) struct Looked {
    /// The canonical path, as far as there is one.
    pub(crate) path: String,
    pub(crate) found: Found,
}

/// What it finds.
pub(crate) enum Found {
    /// A route, and the head by which it was found.
    Route(Box<RequestHead>, Matched),
    /// None, and what comes of the request instead.
    Other(Outcome),
}

/// Looks a request up as the data plane does.
pub(crate) fn look_up(listener: &ListenerPart, host: &str, question: &Question) -> Looked {
    let other =
        |path: &str, outcome| Looked { path: path.to_owned(), found: Found::Other(outcome) };
    let written = question.url.path();
    let is_tls = question.url.scheme_str() != Some("http");
    let by_name = || listener.relays.by_name.find(host).filter(|_| is_tls);
    if let Some(relay) = listener.relays.whole.as_ref().or_else(by_name) {
        return other(written, Outcome::Relayed(relay.upstream.name().to_string()));
    }
    if listener.tls.is_none() && !listener.relays.by_name.is_empty() {
        return other(written, Outcome::Closed);
    }
    let path = match canonical::path(written, listener.path_rules) {
        Ok(path) => path.into_owned(),
        Err(why) => return other(written, Outcome::Refused(why.detail().to_owned())),
    };
    if let Some(port) = listener.redirect_https {
        return other(&path, Outcome::Redirected(port));
    }
    let target = match question.url.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.clone(),
    };
    let Ok(target) = target.parse() else {
        return other(&path, Outcome::Refused("the path cannot be used".to_owned()));
    };
    let head = RequestHead {
        method: question.method.clone(),
        scheme: if listener.tls.is_some() { Scheme::Https } else { Scheme::Http },
        host: Arc::from(host),
        authority: HeaderValue::from_str(host).unwrap_or_else(|_| HeaderValue::from_static("")),
        target,
        version: Version::HTTP_11,
        headers: question.headers.clone(),
    };
    let found = match listener.tree.find(&head, &question.method) {
        Lookup::NotFound => Found::Other(Outcome::NotFound),
        Lookup::MethodNotAllowed(methods) => {
            Found::Other(Outcome::MethodNotAllowed(methods.allow()))
        }
        Lookup::Found(matched) => Found::Route(Box::new(head), matched),
    };
    Looked { path, found }
}

fn taken(matched: &Matched) -> Taken {
    let route = &matched.route;
    let param = |name: &str| (name.to_owned(), matched.param(name).unwrap_or_default().to_owned());
    let step = |entry: &traffic::chain::Entry| Step {
        kind: entry.kind.to_owned(),
        id: entry.id.to_string(),
        place: entry.place.clone(),
        about: entry.policy.about(),
    };
    let upstream = route.upstream.as_ref();
    let targets = upstream.map(|upstream| upstream.status()).unwrap_or_default();
    Taken {
        route: route.id.to_string(),
        place: route.place.clone(),
        why: why(route),
        params: route.params.iter().map(|name| param(name)).collect(),
        public: route.public.as_ref().map(ToString::to_string),
        broken: route.broken.as_ref().map(ToString::to_string),
        state: route.lifecycle.as_ref().map(|lifecycle| lifecycle.state),
        chain: route.chain.entries().iter().map(step).collect(),
        exempt: route.exempt.iter().map(|(k, why)| (k.to_string(), why.to_string())).collect(),
        upstream: upstream.map(|upstream| upstream.name().to_string()),
        targets: targets.into_iter().map(|target| target.address.to_string()).collect(),
        destinations: route.chain.entries().iter().flat_map(steered).collect(),
    }
}

fn steered(entry: &traffic::chain::Entry) -> impl Iterator<Item = Steered> {
    entry.policy.destinations().into_iter().map(|destination| Steered {
        kind: entry.kind.to_owned(),
        which: destination.which,
        upstream: destination.upstream.name().to_string(),
        targets: destination.upstream.status().iter().map(|t| t.address.to_string()).collect(),
    })
}

fn why(route: &Route) -> String {
    let host = match &*route.hosts {
        [] => "any host".to_owned(),
        hosts => format!("host {}", hosts.join(", ")),
    };
    let pattern = &route.pattern;
    let path = if pattern.starts_with('~') {
        format!("the regular expression {pattern}")
    } else if pattern.ends_with("/*") || pattern.ends_with('}') && pattern.contains("{*") {
        format!("the path {pattern}, the longest that the request's path begins with")
    } else if pattern.contains('{') {
        format!("the path template {pattern}")
    } else {
        format!("the path {pattern}")
    };
    format!("matches {host} and {path}")
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listener  {}", self.listener)?;
        writeln!(f, "host      {}", self.host)?;
        writeln!(f, "path      {}", self.path)?;
        self.outcome.fmt(f)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redirected(port) => writeln!(f, "answer    308, to HTTPS on port {port}"),
            Self::Refused(why) => writeln!(f, "answer    400, {why}"),
            Self::Relayed(to) => {
                writeln!(f, "answer    none: the bytes go to upstream `{to}`, unread")
            }
            Self::Closed => {
                writeln!(
                    f,
                    "answer    none: the connection is closed, `passthrough` lacks the host"
                )
            }
            Self::NotFound => writeln!(f, "answer    404, no route matches host and path"),
            Self::MethodNotAllowed(allow) => {
                writeln!(f, "answer    405, routes match, but only for {allow}")
            }
            Self::Broken(why) => writeln!(f, "answer    503, {why}"),
            Self::Routed(taken) => taken.fmt(f),
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "route     {}  ({})", self.route, self.place)?;
        writeln!(f, "why       {}", self.why)?;
        for (name, value) in &self.params {
            writeln!(f, "          {{{name}}} = {value}")?;
        }
        if let Some(reason) = &self.public {
            writeln!(f, "public    {reason}")?;
        }
        if let Some(reason) = &self.broken {
            writeln!(f, "answer    503, {reason}")?;
        }
        match self.state {
            Some("retired") => writeln!(f, "answer    410, the API is retired")?,
            Some(state) => writeln!(f, "state     {state}")?,
            None => {}
        }
        for (index, step) in self.chain.iter().enumerate() {
            let label = if index == 0 { "chain" } else { "" };
            let place = Some(&step.place).filter(|place| place.is_known());
            let place = place.map_or_else(|| "by default".to_owned(), ToString::to_string);
            writeln!(f, "{label:<9} {}. {:<12} {}  ({place})", index + 1, step.kind, step.id)?;
            for line in &step.about {
                writeln!(f, "{:<12} {line}", "")?;
            }
        }
        for (name, reason) in &self.exempt {
            writeln!(f, "exempt    {name}: {reason}")?;
        }
        match &self.upstream {
            Some(upstream) => writeln!(f, "upstream  {upstream} → {}", self.targets.join(", ")),
            None if self.destinations.is_empty() => {
                writeln!(f, "upstream  none: a policy answers")
            }
            None => writeln!(f, "upstream  none but those that policies choose"),
        }?;
        for (index, to) in self.destinations.iter().enumerate() {
            let label = if index == 0 { "steered" } else { "" };
            let Steered { kind, which, upstream, targets } = to;
            writeln!(f, "{label:<9} {kind} {which} → {upstream} → {}", targets.join(", "))?;
        }
        Ok(())
    }
}
