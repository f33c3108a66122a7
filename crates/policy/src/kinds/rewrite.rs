//! Changes the target that is forwarded: path, query, and the host the backend sees. Routing, access
//! and limits have happened already and saw what the client asked for.

use crate::kind::{BuildCtx, Group, Kind};
use crate::template::Template;
use crate::written::{Short, Written};
use base::caps::{REGEX_BYTES_MAX, TARGET_BYTES_MAX};
use base::{Node, Report, decode};
use http::HeaderValue;
use http::uri::PathAndQuery;
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use traffic::canonical::{self, DoubleSlash, PathRules};
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

/// The way back.
mod back;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "rewrite",
    group: Group::Steer,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Changes path, query and host of the request that is forwarded, and on the way back what the \
            backend says of its own address, if wanted. A path that would not be canonical any more is \
            refused with 400.",
    example: "rewrite: { strip_prefix: /orders, add_prefix: /v2 }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `rewrite`; short: `path` alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Settings {
    /// The new path; `{param}` stands for a part of the route's path. It replaces the path as a whole,
    /// so `strip_prefix`, `add_prefix` and `regex` cannot stand beside it.
    pub path: Option<String>,
    /// Whole segments that go from the beginning of the path, if it begins with them.
    pub strip_prefix: Option<String>,
    /// Whole segments that come before the path, after `strip_prefix`.
    pub add_prefix: Option<String>,
    /// A replacement in the path, after the prefixes.
    pub regex: Option<Replacement>,
    /// What becomes of the query.
    pub query: Query,
    /// The host, and port if it is not the default, that the backend sees.
    pub host: Option<String>,
    /// Whether `Location` and `Content-Location` of the backend's answers are changed back: its own host goes,
    /// `add_prefix` is taken away and `strip_prefix` put before the path. What names other hosts stays, and
    /// what `path` and `regex` did is not undone.
    pub location: bool,
    /// Whether the `Path` of the backend's cookies is changed back in the same way; a `Domain` that is the
    /// backend's `host` goes.
    pub cookies: bool,
}

/// A replacement of all matches of a regular expression.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// What is looked for (syntax of crate `regex`).
    pub r#match: String,
    /// What comes in its place; `$1` and `${name}` stand for groups.
    pub replace: String,
}

/// What becomes of the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Drop,
}

impl Short for Settings {
    const EXPECTING: &'static str = "a path such as `/new/{id}`, or `{ path, strip_prefix, add_prefix, regex, query, host, location, cookies }`";
    const SAMPLE: &'static str = "/new/{id}";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self { path: Some(text.to_owned()), ..Self::default() })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let mut own = Report::new();
    let mut part = |below: &str, result: Result<(), String>| {
        if let Err(message) = result {
            ctx.error(&mut own, node, below, message);
        }
    };
    let mut rewrite = Rewrite {
        drop_query: settings.query == Query::Drop,
        location: settings.location,
        cookies: settings.cookies,
        ..Rewrite::default()
    };
    let has_steps = settings.strip_prefix.is_some()
        || settings.add_prefix.is_some()
        || settings.regex.is_some();
    if let Some(path) = &settings.path {
        part("/path", template(path, ctx.params).map(|t| rewrite.path = Some(t)));
        if has_steps {
            let message = "`path` replaces the whole path; it cannot stand beside other changes";
            part("/path", Err(message.to_owned()));
        }
    }
    if let Some(text) = &settings.strip_prefix {
        part("/strip_prefix", prefix(text).map(|p| rewrite.strip_prefix = p));
    }
    if let Some(text) = &settings.add_prefix {
        part("/add_prefix", prefix(text).map(|p| rewrite.add_prefix = p));
    }
    if let Some(replacement) = settings.regex {
        part(
            "/regex/match",
            regex(&replacement.r#match).map(|regex| {
                rewrite.regex = Some((regex, replacement.replace));
            }),
        );
    }
    if let Some(host) = &settings.host {
        part("/host", authority(host).map(|host| rewrite.host = Some(host)));
    }
    let is_usable = !own.has_errors();
    report.absorb(own);
    if settings.path.is_none() && !has_steps && settings.host.is_none() && !rewrite.drop_query {
        ctx.warning(report, node, "", "this `rewrite` changes nothing");
    }
    is_usable.then(|| Arc::new(rewrite) as Arc<dyn Policy>)
}

fn template(text: &str, params: &[Box<str>]) -> Result<Template, String> {
    if !text.starts_with('/') {
        return Err(format!("the path `{text}` must begin with `/`"));
    }
    if text.contains(['?', '#']) {
        return Err("a path has neither `?` nor `#`; the query has a setting of its own".to_owned());
    }
    let template = Template::parse(text, params)?;
    if template.is_plain() {
        is_canonical(template.beginning())?;
    }
    Ok(template)
}

/// A prefix without its final slash, so that it ends where a segment ends.
fn prefix(text: &str) -> Result<Box<str>, String> {
    is_canonical(text)?;
    Ok(text.strip_suffix('/').unwrap_or(text).into())
}

fn is_canonical(path: &str) -> Result<(), String> {
    match canonical::path(path, LENIENT) {
        Ok(canonical) if canonical == path => Ok(()),
        Ok(canonical) => Err(format!("`{path}` is not in canonical form; write `{canonical}`")),
        Err(bad) => Err(format!("`{path}` is not a path: {}", bad.detail())),
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|error| format!("this is not a regular expression: {error}"))
}

fn authority(text: &str) -> Result<HeaderValue, String> {
    let value = canonical::host(text).and_then(|_| HeaderValue::from_str(text).ok());
    value.ok_or_else(|| format!("`{text}` is not a host"))
}

/// What a listener may let pass; whatever it lets pass must be able to go on.
const LENIENT: PathRules = PathRules { keep_encoded_slash: true, double_slash: DoubleSlash::Keep };

#[derive(Default)]
struct Rewrite {
    path: Option<Template>,
    strip_prefix: Box<str>,
    add_prefix: Box<str>,
    regex: Option<(Regex, String)>,
    drop_query: bool,
    host: Option<HeaderValue>,
    location: bool,
    cookies: bool,
}

/// Left for the reply: whether the path began with `strip_prefix`.
struct Stripped(bool);

impl Rewrite {
    fn new_path<'a>(&self, exchange: &'a Exchange) -> Cow<'a, str> {
        if let Some(template) = &self.path {
            return Cow::Owned(template.fill(exchange));
        }
        let mut path = Cow::Borrowed(exchange.request.path());
        let rest = exchange.request.path().strip_prefix(&*self.strip_prefix);
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            path = Cow::Borrowed(if rest.is_empty() { "/" } else { rest });
        }
        if !self.add_prefix.is_empty() {
            // The root below a prefix is the prefix itself.
            let rest = if path == "/" { "" } else { &*path };
            path = Cow::Owned(format!("{}{rest}", self.add_prefix));
        }
        match &self.regex {
            Some((regex, replace)) => {
                Cow::Owned(regex.replace_all(&path, replace.as_str()).into_owned())
            }
            None => path,
        }
    }

    fn target(&self, exchange: &Exchange) -> Result<Option<PathAndQuery>, Fault> {
        let path = self.new_path(exchange);
        let drops_query = self.drop_query && exchange.request.query().is_some();
        if path == exchange.request.path() && !drops_query {
            return Ok(None);
        }
        let bad_path = || Fault::new(Stage::Guard, FaultCode::BadPath);
        // What is forwarded must be read by everybody as what it says (see `traffic::canonical`).
        if canonical::path(&path, LENIENT).ok().as_deref() != Some(&*path) {
            return Err(bad_path().cause(format!("rewritten to `{path}`, which is not canonical")));
        }
        let query = exchange.request.query().filter(|_| !self.drop_query);
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        };
        if target.len() > TARGET_BYTES_MAX {
            return Err(Fault::new(Stage::Guard, FaultCode::TargetTooLong));
        }
        PathAndQuery::try_from(target).map(Some).map_err(|error| bad_path().cause(error))
    }
}

impl Policy for Rewrite {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        if self.location || self.cookies {
            let rest = exchange.request.path().strip_prefix(&*self.strip_prefix);
            let is_stripped = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            exchange.notes.put(slot, Stripped(is_stripped));
        }
        match self.target(exchange) {
            Err(fault) => return Outcome::Now(Err(fault)),
            Ok(Some(target)) => exchange.request.target = target,
            Ok(None) => {}
        }
        if let Some(host) = &self.host {
            exchange.request.authority = host.clone();
        }
        Outcome::Now(Ok(Flow::Continue))
    }

    /// Only for answers of backends: others name what clients know already.
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        let is_of_backend = exchange.record.upstream.is_some() && exchange.record.fault.is_none();
        let stripped = exchange.notes.peek::<Stripped>(slot).filter(|_| is_of_backend);
        if let Some(Stripped(is_stripped)) = stripped {
            if self.location {
                back::location(self, *is_stripped, exchange, &mut reply.headers);
            }
            if self.cookies {
                back::cookies(self, *is_stripped, exchange, &mut reply.headers);
            }
        }
        Outcome::Now(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, World};
    use serde_json::{Value, json};

    fn check(settings: &Value, target: &str, expected: &str) {
        let world = World::with_params(&["id", "rest"]);
        let policy = world.build(&KIND, settings).unwrap();
        let mut exchange = fixture::routed("/orders/{id}/{*rest}", &format!("GET {target}"));
        let outcome = policy.request(&mut exchange);
        let outcome =
            if outcome == "continue" { exchange.request.target.to_string() } else { outcome };
        assert_eq!(outcome, expected, "{settings}");
    }

    #[test]
    fn targets_are_rewritten() {
        let target = "/orders/a%20b/c/d?x=1";
        check(&json!("/new/{id}"), target, "/new/a%20b?x=1");
        check(&json!("/new/{*rest}"), target, "/new/c/d?x=1");
        check(&json!({ "path": "/new", "query": "drop" }), target, "/new");
        check(&json!({ "strip_prefix": "/orders" }), target, "/a%20b/c/d?x=1");
        check(&json!({ "strip_prefix": "/orders/" }), target, "/a%20b/c/d?x=1");
        check(&json!({ "strip_prefix": "/ord" }), target, target);
        check(&json!({ "strip_prefix": "/orders/1/2" }), "/orders/1/2", "/");
        check(
            &json!({ "strip_prefix": "/orders", "add_prefix": "/v2" }),
            target,
            "/v2/a%20b/c/d?x=1",
        );
        check(&json!({ "strip_prefix": "/orders/1/2", "add_prefix": "/v2" }), "/orders/1/2", "/v2");
        check(&json!({ "query": "drop" }), target, "/orders/a%20b/c/d");
        check(
            &json!({ "regex": { "match": "^/orders/([^/]+)", "replace": "/o/$1-x" } }),
            "/orders/1/2",
            "/o/1-x/2",
        );
    }

    #[test]
    fn a_path_that_is_not_canonical_is_not_forwarded() {
        for replace in ["/../x", "/a\\b", "/a%2", "/a b", "", "/a?b"] {
            let settings = json!({ "regex": { "match": "^.*$", "replace": replace } });
            check(&settings, "/orders/1/2", "bad_path");
        }
        let settings = json!({ "regex": { "match": "1", "replace": &"x".repeat(20_000) } });
        check(&settings, "/orders/1/2", "target_too_long");
    }

    #[test]
    fn the_backend_sees_another_host() {
        let mut exchange = fixture::exchange("GET /");
        let policy = fixture::built(&KIND, &json!({ "host": "orders.internal:8080" }));
        assert_eq!(policy.request(&mut exchange), "continue");
        assert_eq!(exchange.request.authority, "orders.internal:8080");
        assert_eq!(&*exchange.request.host, "api.example.com");
    }

    fn back(settings: &Value, answer: (&str, &str)) -> String {
        let mut exchange = fixture::exchange("GET /orders/1");
        exchange.record.upstream = Some("one".into());
        exchange.record.target = Some("10.0.0.1:80".into());
        let policy = fixture::built(&KIND, settings);
        assert_eq!(policy.request(&mut exchange), "continue");
        let reply = policy.reply(&mut exchange, &[answer]);
        reply.headers[answer.0].to_str().unwrap().to_owned()
    }

    #[test]
    fn what_a_backend_says_of_itself_is_told_in_the_terms_of_the_client() {
        let prefixes = json!({ "strip_prefix": "/orders", "add_prefix": "/v2", "host": "o.internal", "location": true });
        let host = json!({ "host": "o.internal", "location": true });
        for (settings, location, expected) in [
            (&prefixes, "/v2/7?a=/v2#x", "/orders/7?a=/v2#x"),
            (&prefixes, "/v2", "/orders"),
            (&prefixes, "/v2/", "/orders"),
            (&prefixes, "/v22/7", "/v22/7"),
            (&prefixes, "/login", "/login"),
            (&prefixes, "http://o.internal/v2/7", "/orders/7"),
            (&prefixes, "https://10.0.0.1:80/v2/7", "/orders/7"),
            (&prefixes, "http://elsewhere.example/v2/7", "http://elsewhere.example/v2/7"),
            (&prefixes, "../7", "../7"),
            (&prefixes, "//o.internal/v2/7", "//o.internal/v2/7"),
            (&host, "http://O.internal?x=1", "/?x=1"),
            // A path of the backend must not become a host.
            (&host, "http://o.internal//evil.example/", "http://o.internal//evil.example/"),
            (&host, "http://o.internal/\\evil.example/", "http://o.internal/\\evil.example/"),
        ] {
            for name in ["location", "content-location"] {
                assert_eq!(back(settings, (name, location)), expected, "{settings}");
            }
        }
        let silent = json!({ "strip_prefix": "/orders", "add_prefix": "/v2" });
        assert_eq!(back(&silent, ("location", "/v2/7")), "/v2/7");
    }

    #[test]
    fn a_backend_is_known_by_what_it_was_called_with_its_port_or_without() {
        let back = |target: &str, host: Option<&'static str>, location: &str| {
            let mut exchange = fixture::exchange("GET /orders/1");
            exchange.record.upstream = Some("one".into());
            exchange.record.target = Some(target.into());
            exchange.record.target_host = host.map(http::HeaderValue::from_static);
            let policy = fixture::built(&KIND, &json!({ "location": true }));
            assert_eq!(policy.request(&mut exchange), "continue");
            let reply = policy.reply(&mut exchange, &[("location", location)]);
            reply.headers["location"].to_str().unwrap().to_owned()
        };
        for (target, host, location, expected) in [
            ("orders.internal:80/10.0.0.1", None, "http://orders.internal/new", "/new"),
            ("orders.internal:80", None, "http://orders.internal:80/new", "/new"),
            ("orders.internal:443", None, "https://ORDERS.internal/new", "/new"),
            ("10.0.0.1:80", Some("orders.internal"), "http://orders.internal/new", "/new"),
            ("10.0.0.1:80", Some("orders.internal"), "http://orders.internal:80/new", "/new"),
        ] {
            assert_eq!(back(target, host, location), expected, "{location} of {target}");
        }
        for other in ["http://orders.internal:8080/new", "https://orders.internal/new"] {
            assert_eq!(back("orders.internal:80", None, other), other);
        }
    }

    #[test]
    fn cookies_hold_where_the_client_knows_the_backend() {
        let settings =
            json!({ "strip_prefix": "/orders", "host": "o.internal:81", "cookies": true });
        for (cookie, expected) in [
            ("a=b; Path=/; HttpOnly", "a=b; Path=/orders; HttpOnly"),
            ("a=b; path=/x; Domain=.o.internal; Secure", "a=b; Path=/orders/x; Secure"),
            ("a=b; Domain=example.com", "a=b; Domain=example.com"),
            ("a=\"b=c\"", "a=\"b=c\""),
        ] {
            assert_eq!(back(&settings, ("set-cookie", cookie)), expected);
        }
    }

    #[test]
    fn what_a_route_s_expression_names_can_be_used() {
        let world = World::with_params(&["year", "rest"]);
        for (kind, settings) in [
            (&KIND, json!("/archive/{year}/{rest}")),
            (&crate::kinds::redirect::KIND, json!("/archive/{year}/{rest}?y={year}")),
        ] {
            assert!(world.build(kind, &settings).is_ok());
        }
    }

    #[test]
    fn wrong_settings_are_refused() {
        for (settings, part) in [
            (json!("new"), "must begin with `/`"),
            (json!("/a?b"), "neither `?` nor `#`"),
            (json!("/a/../b"), "not in canonical form; write `/b`"),
            (json!("/{id}"), "captures nothing"),
            (json!({ "path": "/a", "add_prefix": "/b" }), "cannot stand beside"),
            (json!({ "strip_prefix": "orders" }), "must begin with a slash"),
            (json!({ "regex": { "match": "(", "replace": "" } }), "not a regular expression"),
            (json!({ "host": "a b" }), "is not a host"),
            (json!({ "query": "hide" }), "hide"),
        ] {
            fixture::refuses(&KIND, &settings, part);
        }
    }
}
