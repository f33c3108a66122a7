//! Lets consumers and groups pass by their names, or keeps them out. Who is denied is denied even if allowed,
//! and where somebody is allowed, nobody else is.

use crate::kind::{BuildCtx, Group, Kind};
use crate::written::OneOrMany;
use base::report::did_you_mean;
use base::{Node, Report, decode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::any::Any;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;
use traffic::directory::{Consumer, qualified};
use traffic::exchange::Slot;
use traffic::policy::{Asked, Facts, Foreseen, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "acl",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets consumers and groups pass by their names, and refuses all others with 403. Who is on `deny` is refused in any case; \
            without `allow` everybody else who is identified may pass. Where several apply, all must agree.",
    example: "acl: { allow: [alice, \"group:staff\"], deny: [\"group:interns\"] }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// What a group begins with in a list.
const GROUP: &str = "group:";

/// Settings of `acl`; short: the list of those who are allowed.
#[derive(Debug, Default)]
pub struct Settings {
    allow: Option<Vec<String>>,
    deny: Vec<String>,
    reason: Option<String>,
}

/// Settings of `acl`; short: the list of those who are allowed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("minProperties" = 1))]
struct Long {
    /// Who may pass: names of consumers, and groups as `group:NAME`. Everybody who is identified when left out.
    allow: Option<OneOrMany>,
    /// Who may not, even if allowed.
    #[serde(default)]
    deny: OneOrMany,
    /// What a refused client is told.
    reason: Option<String>,
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
        f.write_str("a list such as `[alice, \"group:staff\"]`, or `{ allow, deny, reason }`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Settings, E> {
        Ok(Settings { allow: Some(vec![name.to_owned()]), ..Settings::default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Settings, A::Error> {
        let allow = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(Settings { allow: Some(allow), ..Settings::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Settings, A::Error> {
        let Long { allow, deny, reason } = Long::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Settings { allow: allow.map(|allow| allow.0), deny: deny.0, reason })
    }
}

impl JsonSchema for Settings {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Acl".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<Long>();
        json_schema!({ "anyOf": [
            { "type": "string", "description": "who may pass" },
            { "type": "array", "items": { "type": "string" }, "description": "who may pass" },
            long,
        ] })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    if settings.allow.is_none() && settings.deny.is_empty() {
        ctx.error(report, node, "", "nobody is allowed or denied")
            .help("name somebody: `acl: [alice, \"group:staff\"]`, or `acl: { deny: [mallory] }`");
        return None;
    }
    let mut own = Report::new();
    let is_list = node.field("allow").is_none();
    let allow_at = if is_list { "" } else { "/allow" };
    let allow = settings.allow.map(|names| Names::new(&names, (node, allow_at), ctx, &mut own));
    let deny = Names::new(&settings.deny, (node, "/deny"), ctx, &mut own);
    if let Some(allow) = &allow {
        if allow.consumers.is_empty() && allow.groups.is_empty() && !own.has_errors() {
            ctx.warning(&mut own, node, allow_at, "nobody may pass: the list is empty")
                .help("name somebody: `acl: [alice, \"group:staff\"]`");
        }
        for (index, name) in settings.deny.iter().enumerate().filter(|(_, it)| allow.has(it)) {
            let message = format!("`{name}` is allowed and denied: it is denied");
            ctx.warning(&mut own, node, &format!("/deny/{index}"), message);
        }
    }
    let is_fine = !own.has_errors();
    report.absorb(own);
    let reason = settings.reason.map(Cow::Owned);
    is_fine.then(|| Arc::new(Acl { allow, deny, reason }) as _)
}

/// Consumers and groups.
#[derive(Debug, Default)]
struct Names {
    consumers: HashSet<Box<str>>,
    groups: HashSet<Box<str>>,
}

impl Names {
    fn new(
        written: &[String],
        (node, below): (&Node, &str),
        ctx: &BuildCtx<'_>,
        report: &mut Report,
    ) -> Self {
        let mut names = Self::default();
        for (index, name) in written.iter().enumerate() {
            let at = format!("{below}/{index}");
            let (what, bare, known) = match name.strip_prefix(GROUP) {
                Some(group) => ("group", group, &ctx.access.groups),
                None => ("consumer", name.as_str(), &ctx.access.consumers),
            };
            if bare.is_empty() {
                ctx.error(report, node, &at, format!("the {what} has no name"));
                continue;
            }
            if bare.trim() != bare {
                let message = format!("the name of a {what} neither begins nor ends with a space");
                let meant = name.replace(bare, bare.trim());
                ctx.error(report, node, &at, message).help(format!("write `{meant}`"));
                continue;
            }
            unknown((what, bare, known), (node, &at), ctx, report);
            let set = if what == "group" { &mut names.groups } else { &mut names.consumers };
            let name =
                if what == "group" { bare.to_owned() } else { qualified(ctx.workspace, bare) };
            set.insert(name.into());
        }
        names
    }

    /// Whether what is written so is on the list.
    fn has(&self, written: &str) -> bool {
        match written.strip_prefix(GROUP) {
            Some(group) => self.groups.contains(group),
            None => self.consumers.contains(written),
        }
    }

    /// By what a consumer is on the list.
    fn find<'a>(&'a self, consumer: &'a Consumer) -> Option<(&'static str, &'a str)> {
        if self.consumers.contains(&*consumer.name) {
            return Some(("consumer", consumer.own_name()));
        }
        let group = consumer.groups.iter().find(|group| self.groups.contains(&***group));
        group.map(|group| ("group", &**group))
    }
}

/// Warns of a name that nobody here has: others than the config may know it.
fn unknown(
    (what, name, known): (&str, &str, &BTreeSet<String>),
    (node, at): (&Node, &str),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) {
    // Whom only an issuer of tokens knows has a slash in its name.
    // Consumers of a workspace are kept beside configs.
    if known.contains(name) || name.contains('/') || ctx.directory.workspace().is_some() {
        return;
    }
    let near = did_you_mean(name, known.iter().map(String::as_str));
    let help = match near {
        _ if what == "group" && ctx.access.consumers.contains(name) => {
            format!("`{name}` is a consumer")
        }
        Some(near) => format!("did you mean `{near}`?"),
        // An issuer of tokens may say so.
        None if what == "group" => return,
        None => {
            format!("no consumer of this config is called so; a group is written `{GROUP}{name}`")
        }
    };
    ctx.warning(report, node, at, format!("there is no {what} `{name}`")).help(help);
}

struct Acl {
    allow: Option<Names>,
    deny: Names,
    reason: Option<Cow<'static, str>>,
}

impl Acl {
    /// Whether somebody passes, with the reason.
    fn judge(&self, consumer: Option<&Consumer>) -> Result<Option<(&'static str, String)>, String> {
        let Some(consumer) = consumer else { return Err("nobody is identified".to_owned()) };
        if let Some((what, name)) = self.deny.find(consumer) {
            return Err(format!("the {what} `{name}` is on the list of those who are denied"));
        }
        match self.allow.as_ref().map(|allow| allow.find(consumer)) {
            None => Ok(None),
            Some(Some((what, name))) => Ok(Some((what, name.to_owned()))),
            Some(None) => Err(format!(
                "`{}` is not on the list of those who are allowed",
                consumer.own_name()
            )),
        }
    }

    fn passes(&self, consumer: Option<&Consumer>) -> bool {
        consumer.is_some_and(|consumer| {
            self.deny.find(consumer).is_none()
                && self.allow.as_ref().is_none_or(|allow| allow.find(consumer).is_some())
        })
    }
}

impl Policy for Acl {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let consumer = exchange.consumer.as_deref();
        if self.passes(consumer) {
            return Outcome::Now(Ok(Flow::Continue));
        }
        let fault = Fault::new(Stage::Guard, FaultCode::AccessDenied);
        let fault = fault.cause(self.judge(consumer).err().unwrap_or_default());
        Outcome::Now(Err(match &self.reason {
            Some(reason) => fault.detail(reason.clone()),
            None => fault,
        }))
    }

    fn facts(&self) -> Facts {
        let allowed = self.allow.iter().flat_map(|allow| &allow.groups);
        let groups = allowed.chain(&self.deny.groups).map(ToString::to_string).collect();
        Facts { groups, ..Facts::default() }
    }

    fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        let consumer = asked.exchange.consumer.as_deref();
        let by_groups = !self.deny.groups.is_empty()
            || self.allow.as_ref().is_some_and(|allow| !allow.groups.is_empty());
        Some(match self.judge(consumer) {
            // An issuer says to which groups somebody belongs whom the directory does not know.
            _ if !asked.knows.claims
                && by_groups
                && consumer.is_some_and(|it| !it.is_known && it.groups.is_empty()) =>
            {
                Foreseen::Depends("its groups".to_owned())
            }
            Ok(None) => Foreseen::Passes("not denied".to_owned()),
            Ok(Some((what, name))) => Foreseen::Passes(format!("{what} `{name}`")),
            Err(why) => Foreseen::Refuses(why),
        })
    }
}

/// Whether a policy is of this kind and has a consumer on its list of those who are denied.
#[must_use]
pub fn denies(policy: &dyn Policy, consumer: &Consumer) -> bool {
    let policy: &dyn Any = policy;
    policy.downcast_ref::<Acl>().is_some_and(|acl| acl.deny.find(consumer).is_some())
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::access::Access;
    use crate::fixture::{self, World};
    use serde_json::{Value, json};
    use std::sync::Arc;
    use traffic::Exchange;
    use traffic::directory::Consumer;

    fn called(name: &str, groups: &[&str]) -> Exchange {
        let mut exchange = fixture::exchange("GET /");
        let groups = groups.iter().map(|group| (*group).into()).collect();
        let consumer =
            Consumer { name: name.into(), groups, is_known: true, ..Consumer::default() };
        exchange.consumer = (!name.is_empty()).then(|| Arc::new(consumer));
        exchange
    }

    fn check(settings: &Value, name: &str, groups: &[&str], expected: &str) {
        let policy = fixture::built(&KIND, settings);
        assert_eq!(
            policy.request(&mut called(name, groups)),
            expected,
            "{settings} {name} {groups:?}"
        );
    }

    #[test]
    fn who_is_denied_is_refused_and_where_somebody_is_allowed_nobody_else_is() {
        let both = json!({ "allow": ["alice", "group:staff"], "deny": ["bob", "group:interns"] });
        check(&both, "alice", &[], "continue");
        check(&both, "carol", &["staff"], "continue");
        check(&both, "carol", &["other"], "access_denied");
        check(&both, "bob", &["staff"], "access_denied");
        check(&both, "alice", &["interns"], "access_denied");
        check(&both, "", &[], "access_denied");
        let deny = json!({ "deny": ["bob"] });
        check(&deny, "alice", &[], "continue");
        check(&deny, "bob", &[], "access_denied");
        check(&deny, "", &[], "access_denied");
        check(&json!({ "allow": [] }), "alice", &[], "access_denied");
    }

    #[test]
    fn short_forms_name_those_who_are_allowed() {
        for settings in [json!("alice"), json!(["alice"]), json!({ "allow": ["alice"] })] {
            check(&settings, "alice", &[], "continue");
            check(&settings, "bob", &["alice"], "access_denied");
        }
        check(&json!("group:a"), "group:a", &[], "access_denied");
        check(&json!("idp/bob"), "idp/bob", &[], "continue");
    }

    #[test]
    fn the_reason_is_told_and_the_list_is_not() {
        let policy = fixture::built(&KIND, &json!({ "deny": ["bob"], "reason": "ask sales" }));
        let fault = policy.fault(&mut called("bob", &[]));
        assert_eq!(fault.detail.as_deref(), Some("ask sales"));
        assert!(fault.cause.unwrap().to_string().contains("`bob` is on the list"));
    }

    #[test]
    fn names_that_nobody_has_are_told() {
        let access = Access {
            consumers: ["alice".to_owned()].into(),
            groups: ["staff".to_owned()].into(),
            ..Access::default()
        };
        let world = World::with_access(access);
        for (name, part) in [
            ("alicce", "did you mean `alice`?"),
            ("staff", "a group is written `group:staff`"),
            ("group:staf", "did you mean `staff`?"),
            ("group:alice", "`alice` is a consumer"),
        ] {
            let report = world.warnings(&KIND, &json!([name]));
            assert!(report.contains(part), "{name}: {report}");
        }
        for name in ["alice", "group:staff", "group:remote", "idp/anybody"] {
            assert_eq!(world.warnings(&KIND, &json!([name])), "", "{name}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let world = World::default();
        for (settings, part) in [
            (json!([]), "nobody may pass: the list is empty"),
            (json!({ "allow": [] }), "nobody may pass: the list is empty"),
            (
                json!({ "allow": ["idp/a", "group:a"], "deny": ["group:a"] }),
                "`group:a` is allowed and denied",
            ),
        ] {
            let told = world.warnings(&KIND, &settings);
            assert!(told.contains(part), "{settings}: {told}");
        }
        fixture::refuses(&KIND, &json!(["group: staff"]), "write `group:staff`");
        fixture::refuses(&KIND, &json!([" alice"]), "neither begins nor ends with a space");
    }

    #[test]
    fn a_list_of_nobody_is_refused() {
        fixture::refuses(&KIND, &json!({}), "nobody is allowed or denied");
        fixture::refuses(&KIND, &json!({ "deny": [] }), "nobody is allowed or denied");
        fixture::refuses(&KIND, &json!(["group:"]), "the group has no name");
        fixture::refuses(&KIND, &json!({ "allowed": ["a"] }), "did you mean `allow`");
    }
}
