use super::{Key, Limiter};
use crate::by::By;
use crate::counting::Apart;
use crate::expression::Scope;
use base::network::owner;
use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use traffic::Exchange;

/// What has a limit of its own.
#[derive(Debug)]
pub(crate) enum Per {
    /// All requests together.
    All,
    /// Each consumer; a request that nobody was identified for counts by its address.
    Consumer,
    /// Each application of a consumer; credentials of none count together, and nobody's by address.
    Application,
    /// Each plan, with all consumers that have it.
    Plan,
    /// Each route.
    Route,
    /// Each network of addresses, so many bits of IPv4 and of IPv6.
    Address(u8, u8),
    /// Whatever else requests are told apart by.
    By(By),
}

/// Whose limit a request counts for.
#[derive(Debug)]
pub(crate) enum Who<'a> {
    /// Everybody's.
    All,
    /// A consumer's.
    Consumer(&'a str),
    /// That of an application of a consumer; of none, that of the consumer's own credentials.
    Application(&'a str, Option<&'a str>),
    /// That of all who have a plan; of none, that of those who have none.
    Plan(Option<&'a str>),
    /// A route's.
    Route(Option<&'a str>),
    /// A network's.
    Address(u64),
    /// That of a value; of none, that of all who lack it.
    Value(Option<Cow<'a, [u8]>>),
}

impl Who<'_> {
    /// Whether it is one of as many as outsiders like to make up.
    pub(crate) const fn is_of_outsiders(&self) -> bool {
        matches!(self, Self::Address(_) | Self::Value(_))
    }
}

/// Bits of an IPv6 address that one client owns.
const OWN_BITS: u8 = 64;

impl Per {
    /// What it is when nothing is said.
    pub(crate) const ALL: &str = "all";

    /// Divides `100/min per consumer` into what passes and what has a limit of its own.
    pub(crate) fn split(text: &str) -> (&str, String) {
        let (passes, per) = text.split_once(" per ").unwrap_or((text, Self::ALL));
        (passes, per.trim().to_owned())
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse<'a>(text: &str, scope: impl Into<Scope<'a>>) -> Result<Self, String> {
        let text = text.trim();
        if let Some(bits) = text.strip_prefix("address/") {
            return bits_of(bits).ok_or_else(|| {
                format!("`{text}` is no prefix of addresses: `address/24`, or `address/24/48` for IPv4 and IPv6")
            });
        }
        Ok(match text {
            Self::ALL => Self::All,
            "consumer" => Self::Consumer,
            "application" => Self::Application,
            "plan" => Self::Plan,
            "route" => Self::Route,
            "address" | "client" => Self::Address(32, OWN_BITS),
            text => By::parse(text, scope).map(Self::By).map_err(|message| {
                format!("`per {text}`: {message}; also `all`, `application`, `plan`, `route`, `address/24`")
            })?,
        })
    }

    /// What is doubtful about it.
    pub(crate) fn doubt(&self, has_plans: bool) -> Option<&'static str> {
        match self {
            Self::By(By::Expression(it)) if it.is_constant() => {
                Some("this is the same for every request: write `all` if all are to count together")
            }
            Self::Plan if !has_plans => {
                Some("there are no plans, so that all requests count together")
            }
            _ => None,
        }
    }

    /// Whose limit a request counts for. One that nobody was identified for counts by its address.
    pub(crate) fn who<'a>(&self, exchange: &'a Exchange) -> Who<'a> {
        let consumer = exchange.consumer.as_ref().map(|consumer| &*consumer.name);
        let by_address = |bits| Who::Address(network(exchange.client(), bits));
        match (self, consumer) {
            (Self::All, _) => Who::All,
            (Self::Consumer, Some(consumer)) => Who::Consumer(consumer),
            (Self::Application, Some(consumer)) => {
                let credential = exchange.credential.as_ref();
                let application = credential.and_then(|it| it.application.as_deref());
                Who::Application(consumer, application)
            }
            (Self::Consumer | Self::Application, None) => by_address((32, OWN_BITS)),
            (Self::Plan, _) => Who::Plan(exchange.plan.as_ref().map(|plan| &*plan.name)),
            (Self::Route, _) => {
                Who::Route(exchange.matched.as_ref().map(|matched| &*matched.route.id))
            }
            (Self::Address(v4, v6), _) => by_address((*v4, *v6)),
            (Self::By(by), _) => Who::Value(by.text(exchange)),
        }
    }

    /// Whose limit an operator means by a name, an address or a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn named<'a>(
        &self,
        key: &'a str,
        application: Option<&'a str>,
    ) -> Result<Who<'a>, String> {
        let some = Some(key).filter(|key| !key.is_empty());
        let address = key.parse::<IpAddr>();
        Ok(match self {
            Self::All => Who::All,
            Self::Consumer | Self::Application if let Ok(address) = address => {
                Who::Address(network(address, (32, OWN_BITS)))
            }
            Self::Consumer => Who::Consumer(key),
            Self::Application => Who::Application(key, application),
            Self::Plan => Who::Plan(some),
            Self::Route => Who::Route(some),
            Self::Address(v4, v6) => {
                let address = address.map_err(|_| format!("`{key}` is not an address"))?;
                Who::Address(network(address, (*v4, *v6)))
            }
            Self::By(_) => Who::Value(some.map(|key| Cow::Borrowed(key.as_bytes()))),
        })
    }

    /// Whether all requests have one limit together.
    pub(crate) const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// What shares are told apart by.
    pub(crate) const fn apart(&self) -> Apart {
        match self {
            Self::All => Apart::Nothing,
            Self::Consumer => Apart::Consumers,
            Self::Application => Apart::Applications,
            Self::Plan => Apart::Plans,
            Self::Route => Apart::Routes,
            Self::Address(..) | Self::By(_) => Apart::Other,
        }
    }

    /// The key of a request; none where all have one limit that needs none.
    pub(crate) fn key(&self, limiter: &Limiter, exchange: &Exchange) -> Option<Key> {
        match self {
            Self::All if limiter.is_lockless() => None,
            _ => Some(limiter.key(&self.who(exchange))),
        }
    }
}

/// The same for all versions of the program, since journals keep what comes of it.
impl Hash for Who<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::All => "all".hash(state),
            Self::Consumer(consumer) => ("consumer", consumer).hash(state),
            Self::Application(consumer, application) => {
                let is_one = u8::from(application.is_some());
                ("application", consumer, is_one, application.unwrap_or_default()).hash(state);
            }
            Self::Plan(plan) => {
                ("plan", u8::from(plan.is_some()), plan.unwrap_or_default()).hash(state);
            }
            Self::Route(route) => {
                ("route", u8::from(route.is_some()), route.unwrap_or_default()).hash(state);
            }
            Self::Address(network) => ("address", network).hash(state),
            Self::Value(value) => {
                "value".hash(state);
                state.write_u8(u8::from(value.is_some()));
                state.write(value.as_deref().unwrap_or_default());
            }
        }
    }
}

fn bits_of(text: &str) -> Option<Per> {
    let (v4, v6) = text.split_once('/').unwrap_or((text, "64"));
    let bits = |text: &str, max| text.parse().ok().filter(|bits| (1..=max).contains(bits));
    Some(Per::Address(bits(v4, 32)?, bits(v6, OWN_BITS)?))
}

/// The network of an address, as a number; those of both families never meet.
fn network(address: IpAddr, (v4, v6): (u8, u8)) -> u64 {
    let (bits, unused) = match address.to_canonical() {
        IpAddr::V4(_) => (32, 32 - v4),
        IpAddr::V6(_) => (OWN_BITS, OWN_BITS - v6),
    };
    let whole = owner(address);
    if unused >= bits { 0 } else { whole >> unused << unused }
}

#[cfg(test)]
mod tests {
    use super::{Per, network};

    #[test]
    fn prefixes_of_addresses_keep_their_bits() {
        let of = |address: &str, bits| network(address.parse().unwrap(), bits);
        assert_eq!(of("192.0.2.7", (24, 64)), of("192.0.2.200", (24, 64)));
        assert_ne!(of("192.0.2.7", (24, 64)), of("192.0.3.7", (24, 64)));
        assert_ne!(of("192.0.2.7", (32, 64)), of("192.0.2.8", (32, 64)));
        assert_eq!(of("2001:db8:1:2::1", (32, 48)), of("2001:db8:1:ffff::9", (32, 48)));
        assert_ne!(of("2001:db8:1:2::1", (32, 64)), of("2001:db8:1:3::1", (32, 64)));
        assert_eq!(of("::ffff:192.0.2.7", (24, 64)), of("192.0.2.9", (24, 64)));
    }

    #[test]
    fn wrong_words_are_refused() {
        for (text, part) in [
            ("address/0", "is no prefix"),
            ("address/33", "is no prefix"),
            ("address/24/65", "is no prefix"),
            ("address/", "is no prefix"),
            ("planet", "also `all`"),
        ] {
            let message = Per::parse(text, &[]).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        assert!(matches!(Per::parse("address/24/48", &[]), Ok(Per::Address(24, 48))));
    }
}
