//! Changes headers of requests and of answers. Everything is resolved and checked when it is built;
//! at run time nothing is parsed.

use crate::field;
use crate::kind::{BuildCtx, Group, Kind};
use base::{Node, Report, Text, decode};
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Flow, Outcome, Policy, Response};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "headers",
    group: Group::Shape,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Removes, renames, sets and adds headers, in this order, of requests and of answers.",
    example: "headers: { request: { set: { x-gateway: yett }, remove: [cookie] }, \
              response: { remove: [server, x-internal-*] } }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `headers`. What belongs to the connection, `host`, `content-length` and `x-yett-*` are
/// the gateway's own and cannot be changed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1))]
pub struct Settings {
    /// Changes of the request, before it is forwarded.
    pub request: Changes,
    /// Changes of the answer, also when the gateway made it.
    pub response: Changes,
}

/// Changes of one message, made in the order of these fields.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Changes {
    /// Headers that go; `x-internal-*` stands for all that begin like this.
    pub remove: Vec<String>,
    /// Headers that get another name: old to new. A header that has the new name already is replaced.
    pub rename: BTreeMap<String, String>,
    /// Headers that get this value in place of any other.
    pub set: BTreeMap<String, Text>,
    /// Headers that get this value beside any other.
    pub add: BTreeMap<String, Text>,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut own = Report::new();
    let request = edits(&settings.request, (node, "/request"), ctx, &mut own);
    let response = edits(&settings.response, (node, "/response"), ctx, &mut own);
    let is_usable = !own.has_errors();
    report.absorb(own);
    if is_usable && request.is_empty() && response.is_empty() {
        ctx.warning(report, node, "", "this `headers` changes nothing")
            .help("say what to `remove`, `rename`, `set` or `add` below `request` or `response`");
    }
    is_usable.then(|| Arc::new(Headers { request, response }) as Arc<dyn Policy>)
}

fn edits(
    changes: &Changes,
    (node, below): (&Node, &str),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Edits {
    let mut edits = Edits::default();
    for (index, written) in changes.remove.iter().enumerate() {
        let removed = match written.strip_suffix('*') {
            Some(prefix) => prefix_of(prefix).map(|prefix| edits.prefixes.push(prefix)),
            None if written.contains('*') => {
                Err(format!("`{written}` is not a header name; only a final `*` stands for more"))
            }
            None => field::name(written).map(|name| edits.remove.push(name)),
        };
        if let Err(message) = removed {
            ctx.error(report, node, &format!("{below}/remove/{index}"), message);
        }
    }
    for (old, new) in &changes.rename {
        match field::name(old).and_then(|old| field::name(new).map(|new| (old, new))) {
            Ok(pair) => edits.rename.push(pair),
            Err(message) => {
                ctx.error(report, node, &format!("{below}/rename/{old}"), message);
            }
        }
    }
    edits.set = field::pairs(&changes.set, (node, &format!("{below}/set")), ctx, report);
    edits.add = field::pairs(&changes.add, (node, &format!("{below}/add")), ctx, report);
    edits
}

/// The lower-case beginning of header names.
fn prefix_of(written: &str) -> Result<Box<str>, String> {
    match HeaderName::from_bytes(written.as_bytes()) {
        Ok(name) if !written.contains('*') => Ok(name.as_str().into()),
        _ => Err(format!("`{written}*` is not the beginning of a header name and a final `*`")),
    }
}

struct Headers {
    request: Edits,
    response: Edits,
}

#[derive(Default)]
struct Edits {
    remove: Vec<HeaderName>,
    prefixes: Vec<Box<str>>,
    rename: Vec<(HeaderName, HeaderName)>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl Edits {
    const fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.prefixes.is_empty()
            && self.rename.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
    }

    fn apply(&self, headers: &mut traffic::Headers) {
        for name in &self.remove {
            headers.remove(name);
        }
        if !self.prefixes.is_empty() {
            headers.retain(|name, _| {
                let begins =
                    self.prefixes.iter().any(|prefix| name.as_str().starts_with(&**prefix));
                !begins || field::is_own(name)
            });
        }
        for (old, new) in &self.rename {
            let values: Vec<HeaderValue> = headers.all(old).cloned().collect();
            if values.is_empty() {
                continue;
            }
            headers.remove(old);
            headers.remove(new);
            for value in values {
                headers.append(new.clone(), value);
            }
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

impl Policy for Headers {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        self.request.apply(&mut exchange.request.headers);
        Outcome::Now(Ok(Flow::Continue))
    }

    fn on_reply<'a>(
        &'a self,
        _: &'a mut Exchange,
        reply: &'a mut Response,
        _: Slot,
    ) -> Outcome<'a, ()> {
        self.response.apply(&mut reply.headers);
        Outcome::Now(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, lines};
    use serde_json::{Value, json};

    fn check(changes: &Value, request: &str, expected: &[&str]) {
        let policy = fixture::built(&KIND, &json!({ "request": changes }));
        let mut exchange = fixture::exchange(request);
        assert_eq!(policy.request(&mut exchange), "continue");
        assert_eq!(lines(&exchange.request.headers), expected, "{changes}");
    }

    #[test]
    fn requests_are_changed() {
        check(&json!({ "set": { "X-Gateway": "yett" } }), "GET /", &["x-gateway: yett"]);
        check(&json!({ "set": { "a": "2" } }), "GET /\na: 1\na: 0", &["a: 2"]);
        check(&json!({ "add": { "a": 2 } }), "GET /\na: 1", &["a: 1", "a: 2"]);
        check(&json!({ "remove": ["cookie"] }), "GET /\ncookie: a=b\nb: 1", &["b: 1"]);
        check(&json!({ "rename": { "a": "b" } }), "GET /\na: 1\na: 2\nb: 3", &["b: 1", "b: 2"]);
        check(&json!({ "rename": { "a": "b" } }), "GET /\nb: 3", &["b: 3"]);
        check(&json!({ "remove": ["a"], "set": { "a": "new" } }), "GET /\na: old", &["a: new"]);
    }

    #[test]
    fn a_wildcard_removes_all_but_what_the_gateway_owns() {
        let request = "GET /\nx-internal-id: 1\nX-Internal-Host: 2\nx-other: 3\nx-yett-consumer: 4";
        check(
            &json!({ "remove": ["X-Internal-*"] }),
            request,
            &["x-other: 3", "x-yett-consumer: 4"],
        );
        check(&json!({ "remove": ["x-*"] }), request, &["x-yett-consumer: 4"]);
    }

    #[test]
    fn answers_are_changed() {
        let policy = fixture::built(
            &KIND,
            &json!({ "response": { "remove": ["server"], "set": { "x-frame-options": "DENY" } } }),
        );
        let mut exchange = fixture::exchange("GET /");
        let reply = policy.reply(&mut exchange, &[("server", "old"), ("etag", "1")]);
        assert_eq!(lines(&reply.headers), ["etag: 1", "x-frame-options: DENY"]);
    }

    #[test]
    fn secrets_are_resolved_when_built_and_marked_sensitive() {
        let policy = fixture::built(
            &KIND,
            &json!({ "request": { "set": { "authorization": "Bearer ${env:TOKEN}" } } }),
        );
        let mut exchange = fixture::exchange("GET /");
        assert_eq!(policy.request(&mut exchange), "continue");
        let value = &exchange.request.headers["authorization"];
        assert_eq!(value, "Bearer s3cret");
        assert!(value.is_sensitive());
    }

    #[test]
    fn what_the_gateway_owns_cannot_be_changed() {
        for (changes, part) in [
            (json!({ "set": { "Host": "evil" } }), "rewrite"),
            (json!({ "add": { "content-length": "1" } }), "cannot be changed"),
            (json!({ "remove": ["Transfer-Encoding"] }), "cannot be changed"),
            (json!({ "rename": { "a": "x-yett-consumer" } }), "cannot be changed"),
            (json!({ "rename": { "connection": "a" } }), "cannot be changed"),
            (json!({ "set": { "a b": "1" } }), "is not a header name"),
            (json!({ "set": { "a": "1\r\nb: 2" } }), "line break"),
            (json!({ "set": { "a": "${env:NONE}" } }), "has no value"),
            (json!({ "remove": ["x-*-y"] }), "is not a header name"),
            (json!({ "remove": ["*"] }), "is not the beginning"),
            (json!({ "sets": { "a": "1" } }), "unknown field `sets`"),
        ] {
            fixture::refuses(&KIND, &json!({ "request": changes }), part);
            fixture::refuses(&KIND, &json!({ "response": changes }), part);
        }
    }
}
