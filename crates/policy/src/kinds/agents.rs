//! Lets clients pass by what they say they are (`User-Agent`), and has those who say they are a known bot prove it.
//!
//! What a client says of itself anybody can say: texts keep honest programs to a rule. A bot of `bots` is known by where it
//! comes from ([`bots`]).

use crate::kind::{BuildCtx, Group, Kind};
use base::caps::{AGENT_BOTS_MAX, AGENT_RULES_MAX, COME_BACK_S_MAX, REGEX_BYTES_MAX};
use base::{Node, Report, decode};
use http::HeaderValue;
use http::header::{RETRY_AFTER, USER_AGENT};
use regex::bytes::{RegexSet, RegexSetBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::{Asked, Foreseen, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

/// Bots, and where they come from.
mod bots;
/// Names of addresses, asked for beside the request path.
mod proofs;

#[cfg(test)]
mod tests;

use bots::{Bot, WrittenBot};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "agents",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets clients pass by what they say they are (`User-Agent`), and refuses others with 403. A bot of `bots` \
            must prove it, by the addresses that its owner publishes or by its name (reverse and forward DNS), and is \
            then spared by `allow` and `deny`; whoever only says so is refused. Names are asked for beside the request \
            path: until one is known the bot gets 503.",
    example: "agents: { bots: { googlebot: dns }, deny: [bot, { matches: '^python-' }], missing: refuse }",
    resets: "changing name servers (`dns`): names are asked for anew",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `agents`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("minProperties" = 1))]
pub struct Settings {
    /// What clients may say they are; nobody else may pass. Without it everybody may who is not denied.
    allow: Option<Vec<Said>>,
    /// What they may not, whatever is allowed.
    #[serde(default)]
    deny: Vec<Said>,
    /// Whether clients pass that do not say what they are: `pass` or `refuse`. Without it they do if there is no `allow`.
    missing: Option<Verdict>,
    /// Bots that must prove who they are, by their names: `googlebot`, `bingbot`, or your own.
    #[serde(default)]
    bots: BTreeMap<String, WrittenBot>,
    /// Whether a client passes that says it is one of `bots` while it is not known yet whether that is so: `refuse` unless
    /// said otherwise, with 503 so that it comes back, or `pass`.
    unknown: Option<Verdict>,
    /// What a refused client is told.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Verdict {
    /// It passes.
    Pass,
    /// It does not.
    Refuse,
}

/// What a client may say it is.
#[derive(Clone, Debug)]
enum Said {
    /// Something with this text in it, in any case.
    Text(String),
    /// Something that matches this pattern.
    Pattern(String),
}

const EXPECTING: &str = "a text such as `curl`, or a pattern such as `matches: '^curl/[0-7]'`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pattern {
    matches: String,
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Said;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Said, E> {
                match text.trim() {
                    "" => Err(E::custom("an empty text is in whatever a client says")),
                    text => Ok(Said::Text(text.to_owned())),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Said, A::Error> {
                let Pattern { matches } = Pattern::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Said::Pattern(matches))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Said {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Agent".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "minLength": 1, "description": EXPECTING },
            {
                "type": "object",
                "properties": { "matches": {
                    "type": "string",
                    "description": "A regular expression, which may begin with `(?i)` to hold in any case."
                } },
                "required": ["matches"],
                "additionalProperties": false
            },
        ] })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "`{text}`"),
            Self::Pattern(pattern) => write!(f, "/{pattern}/"),
        }
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut own = Report::new();
    let refuses_some = settings.allow.is_some()
        || !settings.deny.is_empty()
        || settings.missing == Some(Verdict::Refuse);
    if !refuses_some && settings.bots.is_empty() {
        let message = "it refuses nobody: say who may not pass (`deny`), who may (`allow`), or who must prove it (`bots`)";
        ctx.error(&mut own, node, "", message);
    }
    let allow = settings.allow.as_deref();
    let allow = allow.map(|said| Rules::build(said, (node, "/allow"), ctx, &mut own));
    let deny = Rules::build(&settings.deny, (node, "/deny"), ctx, &mut own);
    if settings.bots.len() > AGENT_BOTS_MAX {
        ctx.error(&mut own, node, "/bots", format!("at most {AGENT_BOTS_MAX} can be named here"));
    }
    let built = settings.bots.iter().map(|(name, bot)| bot.build(name, node, ctx, &mut own));
    let bots: Vec<Option<Bot>> = built.collect();
    let lets_nobody = settings.allow.as_ref().is_some_and(Vec::is_empty) && bots.is_empty();
    if lets_nobody && settings.missing != Some(Verdict::Pass) {
        ctx.warning(&mut own, node, "/allow", "nobody is allowed: every request is refused");
    }
    if settings.unknown.is_some() && !bots.iter().flatten().any(Bot::asks_names) {
        let message = "no bot here is known by its name, so that all is known at once";
        ctx.warning(&mut own, node, "/unknown", message);
    }
    let is_usable = !own.has_errors();
    report.absorb(own);
    let (deny, bots) = (deny?, bots.into_iter().collect::<Option<_>>()?);
    let allow = match allow {
        Some(allow) => Some(allow?),
        None => None,
    };
    let missing = settings.missing.unwrap_or(match allow {
        Some(_) => Verdict::Refuse,
        None => Verdict::Pass,
    });
    let unknown = settings.unknown.unwrap_or(Verdict::Refuse);
    let reason = settings.reason.map(Cow::Owned);
    let agents = Agents { allow, deny, missing, bots, unknown, reason };
    is_usable.then(|| Arc::new(agents) as Arc<dyn Policy>)
}

/// What clients may say they are, ready to be looked for all at once.
struct Rules {
    said: Box<[Said]>,
    set: RegexSet,
}

impl Rules {
    fn build(
        said: &[Said],
        (node, below): (&Node, &str),
        ctx: &BuildCtx<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        if said.len() > AGENT_RULES_MAX {
            let message = format!("at most {AGENT_RULES_MAX} can be named here");
            ctx.error(report, node, below, message);
            return None;
        }
        let pattern = |said: &Said| match said {
            Said::Text(text) => format!("(?i:{})", regex::escape(text)),
            Said::Pattern(pattern) => pattern.clone(),
        };
        let mut is_good = true;
        for (index, said) in said.iter().enumerate() {
            if let Err(why) = set([pattern(said)]) {
                is_good = false;
                let below = format!("{below}/{index}");
                ctx.error(report, node, &below, format!("{said} cannot be used: {why}"));
            }
        }
        if !is_good {
            return None;
        }
        match set(said.iter().map(pattern)) {
            Ok(set) => Some(Self { said: said.into(), set }),
            Err(why) => {
                ctx.error(report, node, below, format!("they cannot be used together: {why}"));
                None
            }
        }
    }

    /// The first rule that holds for something that a client says.
    fn find(&self, says: &[u8]) -> Option<&Said> {
        self.said.get(self.set.matches(says).iter().next()?)
    }

    fn about(&self) -> String {
        const SHOWN: usize = 8;
        let mut parts: Vec<String> = self.said.iter().take(SHOWN).map(Said::to_string).collect();
        if let Some(others @ 1..) = self.said.len().checked_sub(SHOWN) {
            parts.push(format!("{others} others"));
        }
        if parts.is_empty() { "nobody".to_owned() } else { parts.join(", ") }
    }
}

/// Patterns that are looked for all at once.
fn set(patterns: impl IntoIterator<Item = String>) -> Result<RegexSet, String> {
    RegexSetBuilder::new(patterns).size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
        let said = error.to_string();
        said.lines().last().unwrap_or_default().trim().to_owned()
    })
}

struct Agents {
    allow: Option<Rules>,
    deny: Rules,
    missing: Verdict,
    bots: Box<[Bot]>,
    unknown: Verdict,
    reason: Option<Cow<'static, str>>,
}

/// Why somebody does not pass.
enum Refusal {
    /// For good.
    Refused(String),
    /// For now: it is not known yet who it is.
    Unproven(String),
}

/// What is known of somebody who says that it is a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    /// It is none.
    Lies,
    /// Nobody knows yet.
    Open,
    /// It is.
    Holds,
}

impl Agents {
    fn judge(&self, exchange: &Exchange) -> Result<(), Refusal> {
        // Whoever shows several may be taken for any of them behind the gateway.
        let shown = exchange.request.headers.all(&USER_AGENT);
        let mut says = shown.map(|value| value.as_bytes().trim_ascii()).filter(|it| !it.is_empty());
        let Some(first) = says.next() else {
            return match self.missing {
                Verdict::Pass => Ok(()),
                Verdict::Refuse => {
                    Err(Refusal::Refused("the client does not say what it is".into()))
                }
            };
        };
        self.judge_one(first, exchange)?;
        says.try_for_each(|says| self.judge_one(says, exchange))
    }

    fn judge_one(&self, says: &[u8], exchange: &Exchange) -> Result<(), Refusal> {
        match self.prove(says, exchange) {
            Some((Proof::Holds, _)) => return Ok(()),
            Some((Proof::Open, bot)) if self.unknown == Verdict::Refuse => {
                let cause = format!("it is not known yet whether {} is `{bot}`", who(exchange));
                return Err(Refusal::Unproven(cause));
            }
            Some((Proof::Lies, bot)) => {
                let cause = format!("{} is not `{bot}`, as it says", who(exchange));
                return Err(Refusal::Refused(cause));
            }
            Some((Proof::Open, _)) | None => {}
        }
        let told = || String::from_utf8_lossy(says);
        if let Some(rule) = self.deny.find(says) {
            return Err(Refusal::Refused(format!("`{}` is denied by {rule}", told())));
        }
        match &self.allow {
            Some(allow) if allow.find(says).is_none() => {
                let cause = format!("`{}` is not among those who are allowed", told());
                Err(Refusal::Refused(cause))
            }
            _ => Ok(()),
        }
    }

    /// The best that is known of a client that says it is one bot or another, and which; nothing of any other client.
    fn prove(&self, says: &[u8], exchange: &Exchange) -> Option<(Proof, &str)> {
        let claimed = self.bots.iter().filter(|bot| bot.is_said(says));
        claimed.map(|bot| (bot.prove(exchange), bot.name())).max_by_key(|(proof, _)| *proof)
    }
}

fn who(exchange: &Exchange) -> String {
    let client = exchange.client_ip();
    client.map_or_else(|| "a client without an address".to_owned(), |address| address.to_string())
}

impl Policy for Agents {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let fault = match self.judge(exchange) {
            Ok(()) => return Outcome::Now(Ok(Flow::Continue)),
            Err(Refusal::Refused(cause)) => {
                Fault::new(Stage::Guard, FaultCode::AgentRefused).cause(cause)
            }
            Err(Refusal::Unproven(cause)) => Fault::new(Stage::Guard, FaultCode::AgentUnproven)
                .header(RETRY_AFTER, HeaderValue::from(COME_BACK_S_MAX))
                .cause(cause),
        };
        Outcome::Now(Err(match &self.reason {
            Some(reason) => fault.detail(reason.clone()),
            None => fault,
        }))
    }

    fn about(&self) -> Vec<String> {
        let allow = self.allow.as_ref().map(|allow| format!("allows {}", allow.about()));
        let deny = (!self.deny.said.is_empty()).then(|| format!("denies {}", self.deny.about()));
        let missing = match self.missing {
            Verdict::Pass => None,
            Verdict::Refuse => Some("refuses those who do not say what they are".to_owned()),
        };
        let bots =
            self.bots.iter().map(|bot| format!("has `{}` prove it {}", bot.name(), bot.about()));
        let unknown = (self.unknown == Verdict::Pass)
            .then(|| "lets those pass of whom that is not known yet".to_owned());
        bots.chain(unknown).chain(allow).chain(deny).chain(missing).collect()
    }

    fn foresee(&self, _: &Asked<'_>) -> Option<Foreseen> {
        Some(Foreseen::Depends(format!("what the client says it is: {}", self.about().join("; "))))
    }
}
