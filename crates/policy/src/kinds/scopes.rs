//! Lets requests pass whose token has scopes (RFC 6749, 3.3), and refuses all others as RFC 6750, 3.1 says.

use crate::bearer;
use crate::kind::{BuildCtx, Group, Kind};
use crate::written::OneOrMany;
use base::{Node, Report, decode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use traffic::exchange::{Claim, KeptClaims, Slot};
use traffic::policy::{Asked, Foreseen, Phases};
use traffic::{Exchange, Flow, Outcome, Policy};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "scopes",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets requests pass whose token has scopes (the claims `scope` and `scp`), and refuses all others with \
            403 and `insufficient_scope` (RFC 6750). Callers without a token have no scopes. Where several apply, all must hold.",
    example: "scopes: [\"invoices:read\", \"invoices:write\"]",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `scopes`; short: the scopes that are all needed.
#[derive(Debug, Default)]
pub struct Settings {
    all: Vec<String>,
    any: Vec<String>,
}

/// Settings of `scopes`; short: the scopes that are all needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("minProperties" = 1))]
struct Long {
    /// Scopes that are all needed.
    #[serde(default)]
    all: OneOrMany,
    /// Scopes of which one is needed.
    #[serde(default)]
    any: OneOrMany,
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = Settings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scope, a list of scopes that are all needed, or `{ all, any }`")
    }

    fn visit_str<E: Error>(self, scope: &str) -> Result<Settings, E> {
        Ok(Settings { all: vec![scope.to_owned()], any: Vec::new() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Settings, A::Error> {
        let all = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(Settings { all, any: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Settings, A::Error> {
        let Long { all, any } = Long::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Settings { all: all.0, any: any.0 })
    }
}

impl JsonSchema for Settings {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Scopes".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<Long>();
        json_schema!({ "anyOf": [
            { "type": "string", "description": "the scope that is needed" },
            { "type": "array", "items": { "type": "string" }, "description": "scopes that are all needed" },
            long,
        ] })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    // One text may hold several, as in the claim.
    let split = |written: &[String]| -> Vec<Box<str>> {
        written.iter().flat_map(|text| text.split_ascii_whitespace()).map(Into::into).collect()
    };
    let (all, any) = (split(&settings.all), split(&settings.any));
    if let Some(wrong) = all.iter().chain(&any).find(|scope| !bearer::is_scope(scope)) {
        ctx.error(report, node, "", format!("`{wrong}` cannot be a scope"))
            .help("a scope has no spaces, quotes and backslashes: `orders:write`");
        return None;
    }
    if all.is_empty() && any.is_empty() {
        ctx.error(report, node, "", "no scope is named").help("write one: `scopes: orders:write`");
        return None;
    }
    // A client is told scopes that would do together: of several choices the first.
    let told: Vec<&str> = all.iter().chain(any.first()).map(|scope| &**scope).collect();
    Some(Arc::new(Scopes { text: told.join(" "), all, any }))
}

struct Scopes {
    all: Vec<Box<str>>,
    any: Vec<Box<str>>,
    /// Scopes that would do, with spaces between.
    text: String,
}

impl Scopes {
    fn first_lacking(&self, claims: Option<&KeptClaims>) -> Option<&str> {
        // `scope` is that of RFC 8693, 4.2; `scp` is what others use.
        let of = |name: &str| claims.and_then(|claims| claims.get(name));
        let told = [of("scope"), of("scp")];
        let has = |scope: &str| {
            told.iter().any(|value| match value {
                Some(Claim::Text(text)) => text.split_ascii_whitespace().any(|it| it == scope),
                Some(Claim::List(items)) => items.iter().any(|it| it.as_str() == Some(scope)),
                _ => false,
            })
        };
        let lacking = self.all.iter().find(|scope| !has(scope));
        let choice = || self.any.first().filter(|_| !self.any.iter().any(|scope| has(scope)));
        lacking.or_else(choice).map(|scope| &**scope)
    }
}

impl Policy for Scopes {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        match self.first_lacking(exchange.claims.as_deref()) {
            None => Outcome::Now(Ok(Flow::Continue)),
            Some(scope) => {
                let cause = match exchange.claims {
                    Some(_) => format!("the token lacks the scope `{scope}`"),
                    None => format!("the caller shows no token, and so no scope `{scope}`"),
                };
                Outcome::Now(Err(bearer::insufficient(&self.text).cause(cause)))
            }
        }
    }

    fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        Some(match self.first_lacking(asked.exchange.claims.as_deref()) {
            None => Foreseen::Passes(format!("scopes {}", self.text)),
            Some(_) if !asked.knows.claims => {
                Foreseen::Depends(format!("the token's scopes: {}", self.text))
            }
            Some(scope) => Foreseen::Refuses(format!("there is no token with the scope `{scope}`")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture;
    use http::header::WWW_AUTHENTICATE;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn check(scopes: &Value, claims: &Value, expected: &str) {
        let mut exchange = fixture::exchange("GET /");
        exchange.claims = claims.as_object().map(|claims| Arc::new(claims.into()));
        let policy = fixture::built(&KIND, scopes);
        assert_eq!(policy.request(&mut exchange), expected, "{scopes} {claims}");
    }

    #[test]
    fn a_token_needs_all_scopes_in_any_form() {
        for claims in [
            json!({ "scope": "orders:read orders:write" }),
            json!({ "scp": ["orders:write", "orders:read"] }),
            json!({ "scope": "orders:read", "scp": "orders:write" }),
        ] {
            check(&json!("orders:write"), &claims, "continue");
            check(&json!(["orders:read", "orders:write"]), &claims, "continue");
            check(&json!("orders:read orders:write"), &claims, "continue");
            check(&json!(["orders:read", "orders:delete"]), &claims, "insufficient_scope");
            check(&json!("orders"), &claims, "insufficient_scope");
        }
        let any = json!({ "all": "a", "any": ["b", "c"] });
        check(&any, &json!({ "scope": "a c" }), "continue");
        check(&any, &json!({ "scope": "a" }), "insufficient_scope");
        check(&any, &json!({ "scope": "b c" }), "insufficient_scope");
        check(&json!("a"), &json!({}), "insufficient_scope");
        check(&json!("a"), &json!(null), "insufficient_scope");
        check(&json!("a"), &json!({ "scope": ["a b"] }), "insufficient_scope");
        check(&json!("a"), &json!({ "scope": { "a": true } }), "insufficient_scope");
    }

    #[test]
    fn a_client_is_told_which_scopes_would_do_and_the_log_which_is_lacking() {
        let policy = fixture::built(&KIND, &json!(["a", "b"]));
        let mut exchange = fixture::exchange("GET /");
        exchange.claims = json!({ "scope": "a" }).as_object().map(|claims| Arc::new(claims.into()));
        let fault = policy.fault(&mut exchange);
        let (name, value) = fault.headers.first().unwrap();
        assert_eq!(*name, WWW_AUTHENTICATE);
        let expected = "Bearer realm=\"yett\", error=\"insufficient_scope\", scope=\"a b\"";
        assert_eq!(value, expected);
        assert_eq!(fault.cause.unwrap().to_string(), "the token lacks the scope `b`");
    }

    #[test]
    fn what_cannot_be_a_scope_is_refused() {
        fixture::refuses(&KIND, &json!("a\"b"), "cannot be a scope");
        fixture::refuses(&KIND, &json!([]), "no scope is named");
        fixture::refuses(&KIND, &json!({ "scopes": ["a"] }), "unknown field");
        fixture::refuses(&KIND, &json!({}), "no scope is named");
    }
}
