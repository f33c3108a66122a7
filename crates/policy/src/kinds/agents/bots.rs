//! Bots, and where they come from: addresses that their owners publish, or names of theirs.

use super::Proof;
use super::proofs::{Domains, Proofs};
use crate::addresses::{Addresses, WrittenAddresses};
use crate::kind::BuildCtx;
use crate::written::{OneOrMany, Short, Written};
use base::caps::AGENT_DOMAINS_MAX;
use base::{Node, Report};
use regex::bytes::{RegexSet, RegexSetBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use traffic::Exchange;

/// Bots that everybody knows: their names, what they say they are, and the domains of their owners.
const KNOWN: &[(&str, &[&str], &[&str])] = &[
    ("googlebot", &["googlebot"], &["googlebot.com", "google.com"]),
    ("bingbot", &["bingbot"], &["search.msn.com"]),
    ("applebot", &["applebot"], &["applebot.apple.com"]),
    ("yandexbot", &["yandexbot"], &["yandex.ru", "yandex.net", "yandex.com"]),
    ("baiduspider", &["baiduspider"], &["baidu.com", "baidu.jp"]),
    ("seznambot", &["seznambot"], &["seznam.cz"]),
];

/// How a bot proves that it is one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(super) struct Settings {
    /// What it says that it is: a text in its `User-Agent`, in any case, or several. Its name unless said otherwise.
    says: Option<OneOrMany>,
    /// Where it comes from: networks, or files of them, also as its owner publishes them (JSON with `prefixes`).
    addresses: Option<WrittenAddresses>,
    /// Domains to which the names of its addresses belong (reverse and forward DNS). Of a bot that everybody knows they
    /// need not be said.
    domains: Option<OneOrMany>,
}

/// The same in either form.
pub(super) type WrittenBot = Written<Settings>;

impl Short for Settings {
    const EXPECTING: &'static str =
        "`dns`, addresses such as `file:./googlebot.json`, or `{ says, addresses, domains }`";
    const SAMPLE: &'static str = "dns";

    fn short(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            // The domains are those that everybody knows.
            "dns" => Self::default(),
            text => Self { addresses: Some(WrittenAddresses::word(text)), ..Self::default() },
        })
    }
}

impl fmt::Debug for WrittenBot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A bot, ready to be recognised.
pub(super) struct Bot {
    name: Box<str>,
    says: RegexSet,
    addresses: Option<Addresses>,
    names: Option<(Domains, Arc<Proofs>)>,
}

impl WrittenBot {
    /// What is written under `bots`. Whatever is wrong is told.
    pub(super) fn build(
        &self,
        name: &str,
        node: &Node,
        ctx: &BuildCtx<'_>,
        report: &mut Report,
    ) -> Option<Bot> {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        let below = |field: &str| format!("/bots/{escaped}{field}");
        let known = KNOWN.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        let settings = &self.0;
        let says: Vec<&str> = match (&settings.says, known) {
            (Some(says), _) => says.0.iter().map(|says| says.trim()).collect(),
            (None, Some((_, says, _))) => says.to_vec(),
            (None, None) => vec![name],
        };
        if says.is_empty() || says.contains(&"") {
            ctx.error(report, node, &below("/says"), "it must say something by which it is known");
            return None;
        }
        let patterns = says.iter().map(|says| format!("(?i:{})", regex::escape(says)));
        let says = RegexSetBuilder::new(patterns).build().map_err(|error| {
            ctx.error(report, node, &below("/says"), error.to_string());
        });
        let addresses = settings.addresses.as_ref();
        let addresses = addresses.map(|list| list.build((node, &below("/addresses")), ctx, report));
        let domains = match (&settings.domains, known) {
            (Some(domains), _) => Some(domains.0.clone()),
            (None, Some((.., domains))) if addresses.is_none() => {
                Some(domains.iter().map(|domain| (*domain).to_owned()).collect())
            }
            _ => None,
        };
        if domains.is_none() && addresses.is_none() {
            let message = format!(
                "nothing says by what `{name}` is known: give the `addresses` that its owner publishes, or its owner's `domains`"
            );
            ctx.error(report, node, &below(""), message);
            return None;
        }
        let names = domains.map(|domains| {
            let domains = check(&domains, (node, &below("/domains")), ctx, report)?;
            Some((domains, Proofs::of(ctx)))
        });
        // All are built before any ends it, so that all problems are told.
        let addresses = addresses.map_or(Ok(None), |list| list.map(Some).ok_or(())).ok()?;
        let names = names.map_or(Ok(None), |names| names.map(Some).ok_or(())).ok()?;
        Some(Bot { name: name.into(), says: says.ok()?, addresses, names })
    }
}

fn check(
    domains: &[String],
    (node, below): (&Node, &str),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Domains> {
    if domains.is_empty() || domains.len() > AGENT_DOMAINS_MAX {
        let message = format!("name at least one domain, and at most {AGENT_DOMAINS_MAX}");
        ctx.error(report, node, below, message);
        return None;
    }
    let mut checked = Vec::with_capacity(domains.len());
    for (index, written) in domains.iter().enumerate() {
        let domain = written.trim().trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
        let is_label = |label: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(is_plain)
        };
        // Whoever may have a name below a top-level domain is nobody in particular.
        if domain.split('.').count() < 2 || !domain.split('.').all(is_label) {
            let message = format!("`{written}` is not a domain such as `googlebot.com`");
            ctx.error(report, node, &format!("{below}/{index}"), message);
            continue;
        }
        checked.push(Box::from(domain));
    }
    (checked.len() == domains.len()).then(|| checked.into())
}

impl Bot {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether somebody says that it is this bot.
    pub(super) fn is_said(&self, says: &[u8]) -> bool {
        self.says.is_match(says)
    }

    /// Whether name servers are asked about it.
    pub(super) fn asks_names(&self) -> bool {
        self.names.is_some()
    }

    /// Whether a request is its own, as far as that is known now.
    pub(super) fn prove(&self, exchange: &Exchange) -> Proof {
        let client = exchange.client_ip();
        if self.addresses.as_ref().is_some_and(|addresses| addresses.hold(client)) {
            return Proof::Holds;
        }
        match (&self.names, client) {
            (Some((domains, proofs)), Some(client)) => proofs.find(client, domains),
            _ => Proof::Lies,
        }
    }

    pub(super) fn about(&self) -> String {
        let addresses = self.addresses.as_ref().map(|it| format!("by addresses: {}", it.about()));
        let names = self.names.as_ref();
        let names = names.map(|(domains, _)| format!("by names below {}", domains.join(", ")));
        addresses.into_iter().chain(names).collect::<Vec<_>>().join(", or ")
    }
}
