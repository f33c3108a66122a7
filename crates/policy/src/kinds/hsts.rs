//! Tells browsers to come by HTTPS only (RFC 6797).

use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{Short, Written};
use base::units::Period;
use base::{Node, Report, decode};
use http::HeaderValue;
use http::header::STRICT_TRANSPORT_SECURITY;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use traffic::exchange::Slot;
use traffic::head::Scheme;
use traffic::policy::Phases;
use traffic::{Exchange, Outcome, Policy, Response};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "hsts",
    group: Group::Edge,
    phases: Phases { request: false, forward: false, reply: true, record: false },
    answers: false,
    about: "Tells browsers to come by HTTPS only from now on: `Strict-Transport-Security`, in place of the \
            backend's. Only answers to requests that came by HTTPS carry it, to Yett itself or to a trusted proxy: \
            over plain HTTP anybody could have written it, and browsers ignore it there.",
    example: "hsts: { max_age: 365d, subdomains: true }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// A year, as lists of such hosts ask for.
const PRELOAD_LEAST: Duration = Duration::from_secs(31_536_000);

/// Settings of `hsts`; short: `max_age` alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// For how long browsers remember it, such as `365d`; `0s` has them forget it.
    pub max_age: Period,
    /// Whether it holds for all names below the host's as well.
    #[serde(default)]
    pub subdomains: bool,
    /// Whether the host may be put on the lists that browsers come with; needs `subdomains` and a year at least. It is
    /// hard to get off them.
    #[serde(default)]
    pub preload: bool,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "a duration such as `365d`, or `{ max_age, subdomains, preload }`";
    const SAMPLE: &'static str = "365d";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self { max_age: Period::parse(text)?, subdomains: false, preload: false })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let Settings { max_age, subdomains, preload } = settings;
    if preload && (!subdomains || max_age.0 < PRELOAD_LEAST) {
        ctx.error(
            report,
            node,
            "/preload",
            "`preload` needs `subdomains: true` and a `max_age` of a year",
        )
        .help("browsers' lists take no others; leave `preload` out unless you are sure");
        return None;
    }
    let mut value = format!("max-age={}", max_age.0.as_secs());
    for (is_set, word) in [(subdomains, "; includeSubDomains"), (preload, "; preload")] {
        value.push_str(if is_set { word } else { "" });
    }
    let value = HeaderValue::try_from(value).ok()?;
    Some(Arc::new(Hsts(value)))
}

struct Hsts(HeaderValue);

impl Policy for Hsts {
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        _: Slot,
    ) -> Outcome<'a, ()> {
        match exchange.request.scheme {
            Scheme::Https => reply.headers.insert(STRICT_TRANSPORT_SECURITY, self.0.clone()),
            Scheme::Http => drop(reply.headers.remove(STRICT_TRANSPORT_SECURITY)),
        }
        Outcome::Now(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, lines};
    use serde_json::{Value, json};
    use traffic::head::Scheme;

    fn told(settings: &Value, scheme: Scheme) -> Vec<String> {
        let mut exchange = fixture::exchange("GET /");
        exchange.request.scheme = scheme;
        let theirs = [("strict-transport-security", "max-age=1")];
        let reply = fixture::built(&KIND, settings).reply(&mut exchange, &theirs);
        lines(&reply.headers)
    }

    #[test]
    fn only_answers_over_https_carry_it() {
        for (settings, expected) in [
            (json!("365d"), "max-age=31536000"),
            (json!("0s"), "max-age=0"),
            (json!({ "max_age": "1d", "subdomains": true }), "max-age=86400; includeSubDomains"),
            (
                json!({ "max_age": "730d", "subdomains": true, "preload": true }),
                "max-age=63072000; includeSubDomains; preload",
            ),
        ] {
            let expected = format!("strict-transport-security: {expected}");
            assert_eq!(told(&settings, Scheme::Https), [expected]);
            assert!(told(&settings, Scheme::Http).is_empty());
        }
    }

    #[test]
    fn what_no_list_takes_is_refused() {
        let short = json!({ "max_age": "30d", "subdomains": true, "preload": true });
        fixture::refuses(&KIND, &short, "a `max_age` of a year");
        let alone = json!({ "max_age": "365d", "preload": true });
        fixture::refuses(&KIND, &alone, "needs `subdomains: true`");
    }
}
