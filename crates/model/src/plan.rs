//! Plans: how much consumers may call, and who goes first.

use base::Placed;
use base::decode::short_or_long;
use base::quotas::Quotas;
use base::rates::Limits;
use base::stores::OnStoreFailure;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// What a consumer is held to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How many requests pass, per how long; several limits hold together. No end of them when left out.
    pub limit: Option<Placed<Limits>>,
    /// How much may be used in windows of the calendar, such as a month; several quotas hold together. No end of it
    /// when left out.
    pub quota: Option<Placed<Quotas>>,
    /// The store in which all gateways count together; each counts for itself when left out.
    pub store: Option<Placed<String>>,
    /// What becomes of requests while the store cannot be asked: `local` (each gateway allows its share), `refuse` (503), or
    /// `{ allow: "why that is right" }`. `local` when left out.
    pub on_store_failure: Option<Placed<OnStoreFailure>>,
    /// Who has a share of its own in what the plan allows.
    #[serde(default)]
    pub per: Per,
    /// What a token must say of callers who have the plan by that: `tier=gold`. It is for those who have none by name,
    /// such as users whom only an issuer knows; of several plans that fit, the first counts.
    pub claim: Option<Placed<Claim>>,
    /// Who goes first when there is not enough for all.
    #[serde(default)]
    pub priority: Priority,
    /// Whether nothing is refused: what would be is counted (`yett_limit_would_refuse_total`) and logged.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether what is refused counts, too. Otherwise refused requests count for nothing.
    #[serde(default)]
    pub count_refused: bool,
    /// Whether answers have the headers `RateLimit-Policy` and `RateLimit`. They have, but in a dry run.
    pub headers: Option<bool>,
    /// Whether it is the plan of all consumers that have no other; one plan at most is.
    #[serde(default)]
    pub default: bool,
}

/// A claim that gives a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name; dots lead into objects.
    pub name: String,
    /// Its values, of which one is enough: the claim is that text, or a list with it.
    pub values: Vec<String>,
    /// The issuer that must say it (`iss`); anybody whom an identity policy trusts, when left out.
    pub issuer: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct ClaimLong {
    /// The claim, such as `tier`; dots lead into objects.
    name: String,
    /// Its values, of which one is enough: the claim is that text, or a list with it.
    #[schemars(length(min = 1))]
    values: Vec<String>,
    /// The issuer that must say it (`iss`); anybody whom an identity policy trusts, when left out.
    issuer: Option<String>,
}

impl From<ClaimLong> for Claim {
    fn from(ClaimLong { name, values, issuer }: ClaimLong) -> Self {
        Self { name, values, issuer }
    }
}

const EXPECTING: &str = "a claim and its value such as `tier=gold`, or `{ name, values, issuer }`";

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let short = |text: &str| {
            let parts = text.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
            let parts = parts.filter(|(name, value)| !name.is_empty() && !value.is_empty());
            let (name, value) = parts.ok_or_else(|| format!("`{text}` is not {EXPECTING}"))?;
            Ok(Self { name: name.to_owned(), values: vec![value.to_owned()], issuer: None })
        };
        let claim: Self = short_or_long::<D, ClaimLong, Self>(deserializer, EXPECTING, short)?;
        if claim.values.is_empty() {
            return Err(D::Error::custom("a claim without `values` would give the plan to nobody"));
        }
        Ok(claim)
    }
}

impl JsonSchema for Claim {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PlanClaim".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<ClaimLong>();
        schemars::json_schema!({ "description": EXPECTING, "anyOf": [
            { "type": "string", "examples": ["tier=gold"] },
            long,
        ] })
    }
}

/// Who has a share of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each application; a consumer's own credentials have one share together.
    #[default]
    Application,
    /// Each consumer, with all its applications.
    Consumer,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Goes without first.
    Low,
    /// As everybody of whom nothing else is said.
    #[default]
    Normal,
    /// Goes without last.
    High,
}
