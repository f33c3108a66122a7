//! Plans: how much consumers may call, and who goes first.

use base::Placed;
use base::quotas::Quotas;
use base::rates::Limits;
use schemars::JsonSchema;
use serde::Deserialize;

/// What a consumer is held to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How many requests pass, per how long; several limits hold together. No end of them when left out.
    pub limit: Option<Placed<Limits>>,
    /// How much may be used in windows of the calendar, such as a month; several quotas hold together. No end of it
    /// when left out.
    pub quota: Option<Placed<Quotas>>,
    /// Who has a share of its own in what the plan allows.
    #[serde(default)]
    pub per: Per,
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
