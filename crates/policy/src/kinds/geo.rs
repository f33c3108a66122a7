//! Lets clients pass by the country and the network (autonomous system) of their addresses, as a database of places
//! says. What is denied is denied whatever is allowed.

use crate::geo::{Country, Geo, Spot, parse_asn};
use crate::kind::{BuildCtx, Group, Kind};
use crate::written::OneOrMany;
use base::caps::GEO_RULES_MAX;
use base::{Node, Report, decode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::{Asked, Foreseen, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "geo",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets clients pass by the country or the network (autonomous system) that a database of places has for \
            their addresses, and refuses all others with 403. The database is a file of yours (`.mmdb`), which is read \
            again when it changes. Where several apply, all must let the client pass.",
    example: "geo: { database: ./country.mmdb, allow: [GB, IE] }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `geo`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// A database of places (`.mmdb`), or several, such as one of countries and one of networks; of what both say, the first
    /// has its way. Those under `geo` at the top of the config if none is named here.
    #[serde(default)]
    database: Option<OneOrMany>,
    /// The countries (`GB`) and networks (`AS64496`, or `asn: 64496`) that may pass; nobody else may. Without it everybody
    /// may who is not denied.
    allow: Option<Vec<Place>>,
    /// Those that may not, whatever is allowed.
    #[serde(default)]
    deny: Vec<Place>,
    /// Whether a client passes of whom the database does not say what is asked: `pass` or `refuse`. Without it such a
    /// client is not among those who are allowed, and not among those who are denied.
    unknown: Option<Unknown>,
    /// What a refused client is told.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Unknown {
    /// It passes.
    Pass,
    /// It does not.
    Refuse,
}

/// Where somebody may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Country(Country),
    System(u32),
}

const EXPECTING: &str = "a country such as `GB`, or a network such as `AS64496` or `asn: 64496`";

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let country = Country::parse(text).map(Self::Country);
        country.or_else(|| parse_asn(text).filter(|_| text.len() > 2).map(Self::System))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct System {
    asn: u32,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Place;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Place, E> {
                Place::parse(text).ok_or_else(|| E::custom(format!("`{text}` is not {EXPECTING}")))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Place, A::Error> {
                let System { asn } = System::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Place::System(asn))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Place {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Place".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "description": EXPECTING, "pattern": "^([A-Za-z]{2}|AS[0-9]{1,10})$" },
            {
                "type": "object",
                "properties": { "asn": {
                    "type": "integer", "minimum": 1, "maximum": u32::MAX,
                    "description": "The number of an autonomous system."
                } },
                "required": ["asn"],
                "additionalProperties": false
            },
        ] })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut own = Report::new();
    if settings.allow.is_none() && settings.deny.is_empty() {
        let message = "it refuses nobody: say who may pass (`allow`), or who may not (`deny`)";
        ctx.error(&mut own, node, "", message);
    }
    let databases = match &settings.database {
        Some(files) => databases(&files.0, node, ctx, &mut own),
        None => shared(node, ctx, &mut own),
    };
    let allow =
        settings.allow.as_deref().map(|places| rules(places, "/allow", node, ctx, &mut own));
    let deny = rules(&settings.deny, "/deny", node, ctx, &mut own);
    if let Some(databases) = &databases {
        let asks = |what: fn(&Rules) -> bool| what(&deny) || allow.as_ref().is_some_and(what);
        if asks(|rules| rules.names_countries) && !databases.says_countries() {
            ctx.error(&mut own, node, "/database", "no database here says countries");
        }
        if asks(|rules| rules.names_systems) && !databases.says_systems() {
            let message = "no database here says networks (autonomous systems)";
            ctx.error(&mut own, node, "/database", message);
        }
    }
    if allow.as_ref().is_some_and(|allow| allow.places.is_empty()) {
        ctx.warning(&mut own, node, "/allow", "nobody is allowed: every request is refused");
    }
    let is_usable = !own.has_errors();
    report.absorb(own);
    let reason = settings.reason.map(Cow::Owned);
    let policy = Located { databases: databases?, allow, deny, unknown: settings.unknown, reason };
    is_usable.then(|| Arc::new(policy) as Arc<dyn Policy>)
}

fn databases(
    files: &[String],
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Arc<Geo>> {
    if files.is_empty() {
        ctx.error(report, node, "/database", "no database of places is named");
        return None;
    }
    // All are opened, so that all problems are told.
    let open = |file: &String| crate::files::open(file, (node, "/database"), ctx, report);
    let opened: Vec<_> = files.iter().map(open).collect();
    let opened: Option<Vec<_>> = opened.into_iter().collect();
    Some(Arc::new(Geo::new(opened?)))
}

/// Those at the top of the config.
fn shared(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<Geo>> {
    if ctx.geo.is_none() {
        ctx.error(report, node, "", "no database of places is named")
            .help("name one here (`database: ./country.mmdb`), or for all at the top of the config: `geo: { database: ./country.mmdb }`");
    }
    ctx.geo.cloned()
}

/// Places, and what must be known of an address to find it among them.
struct Rules {
    places: HashSet<Place>,
    names_countries: bool,
    names_systems: bool,
}

fn rules(
    places: &[Place],
    below: &str,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Rules {
    if places.len() > GEO_RULES_MAX {
        ctx.error(report, node, below, format!("at most {GEO_RULES_MAX} can be named here"));
    }
    for (index, place) in places.iter().enumerate() {
        if let Place::Country(country) = place
            && !country.is_assigned()
        {
            let message = format!("`{country:?}` is no country's code (ISO 3166-1)");
            let told = ctx.warning(report, node, &format!("{below}/{index}"), message);
            if country.as_str() == "UK" {
                told.help("the United Kingdom is `GB`");
            }
        }
    }
    Rules {
        places: places.iter().copied().collect(),
        names_countries: places.iter().any(|place| matches!(place, Place::Country(_))),
        names_systems: places.iter().any(|place| matches!(place, Place::System(_))),
    }
}

impl Rules {
    fn hold(&self, spot: Spot) -> bool {
        let places = [spot.country.map(Place::Country), spot.asn.map(Place::System)];
        places.into_iter().flatten().any(|place| self.places.contains(&place))
    }

    /// Whether something is not known that they ask for.
    fn lack(&self, spot: Spot) -> bool {
        self.names_countries && spot.country.is_none() || self.names_systems && spot.asn.is_none()
    }

    fn about(&self) -> String {
        let mut countries: Vec<&str> = Vec::new();
        let mut systems = Vec::new();
        for place in &self.places {
            match place {
                Place::Country(country) => countries.push(country.as_str()),
                Place::System(number) => systems.push(*number),
            }
        }
        countries.sort_unstable();
        systems.sort_unstable();
        let systems = systems.into_iter().map(|number| format!("AS{number}"));
        let all: Vec<String> = countries.into_iter().map(str::to_owned).chain(systems).collect();
        if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
    }
}

struct Located {
    databases: Arc<Geo>,
    allow: Option<Rules>,
    deny: Rules,
    unknown: Option<Unknown>,
    reason: Option<Cow<'static, str>>,
}

impl Located {
    /// Why somebody at a spot does not pass.
    fn refusal(&self, spot: Spot) -> Option<&'static str> {
        if self.deny.hold(spot) {
            return Some("which is denied");
        }
        if self.unknown == Some(Unknown::Refuse) && self.deny.lack(spot) {
            return Some("so that it may be denied");
        }
        match &self.allow {
            Some(allow) if !allow.hold(spot) => {
                let passes = self.unknown == Some(Unknown::Pass) && allow.lack(spot);
                (!passes).then_some("which is not allowed")
            }
            _ => None,
        }
    }
}

impl Policy for Located {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let client = exchange.client_ip();
        let spot = self.databases.find(client);
        let Some(why) = self.refusal(spot) else { return Outcome::Now(Ok(Flow::Continue)) };
        let who =
            client.map_or_else(|| "a client without an address".to_owned(), |ip| ip.to_string());
        let country = spot
            .country
            .map_or_else(|| "of no known country".to_owned(), |it| format!("of {it:?}"));
        let system =
            spot.asn.map_or_else(|| "no known network".to_owned(), |number| format!("AS{number}"));
        let fault = Fault::new(Stage::Guard, FaultCode::CountryRefused)
            .cause(format!("{who} is {country} and {system}, {why}"));
        Outcome::Now(Err(match &self.reason {
            Some(reason) => fault.detail(reason.clone()),
            None => fault,
        }))
    }

    fn about(&self) -> Vec<String> {
        let allow = self.allow.as_ref().map(|allow| format!("allows {}", allow.about()));
        let deny = (!self.deny.places.is_empty()).then(|| format!("denies {}", self.deny.about()));
        let unknown = self.unknown.map(|unknown| match unknown {
            Unknown::Pass => "lets those pass of whom the database says nothing".to_owned(),
            Unknown::Refuse => "refuses those of whom the database says nothing".to_owned(),
        });
        let files: Vec<String> =
            self.databases.paths().map(|path| path.display().to_string()).collect();
        let files = format!("by {}", files.join(", "));
        allow.into_iter().chain(deny).chain(unknown).chain([files]).collect()
    }

    fn foresee(&self, _: &Asked<'_>) -> Option<Foreseen> {
        Some(Foreseen::Depends(format!("where the client is: {}", self.about().join("; "))))
    }
}
