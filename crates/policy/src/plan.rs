//! The plans of a config, ready to hold consumers to them.

use crate::limit::{Algorithm, Limiter, Rule};
use base::Clock;
use base::rates::Limit;
use std::fmt;
use std::sync::Arc;
use traffic::State;
use traffic::plan::{self, Priority};

/// Who has a share of its own in what a plan allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Each {
    /// Each application; credentials of no application have one share together.
    #[default]
    Application,
    /// Each consumer, with all its applications.
    Consumer,
}

/// What a config says of one plan.
#[derive(Clone, Debug)]
pub struct PlanSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Who goes first when there is not enough for all.
    pub priority: Priority,
    /// How many requests it allows; no end of them when empty.
    pub limits: Vec<Limit>,
    /// Who has a share of its own.
    pub each: Each,
    /// Whether it is the plan of all consumers that have no other.
    pub is_default: bool,
}

/// What one plan allows.
pub(crate) struct Allowance {
    pub(crate) name: Arc<str>,
    pub(crate) each: Each,
    /// None if requests are not limited.
    pub(crate) limiter: Option<Limiter>,
}

/// The plans of a config.
#[derive(Default)]
pub struct Plans {
    names: Arc<plan::Plans>,
    /// In the order of [`plan::Plan::index`].
    allowances: Box<[Allowance]>,
}

impl Plans {
    /// Makes them; what was used so far lives on in `state`.
    ///
    /// # Errors
    /// The position of the first plan with a limit that cannot be counted, and why.
    pub fn new(specs: &[PlanSpec], state: &State, clock: &Clock) -> Result<Self, (usize, String)> {
        let names = specs.iter().map(|spec| (Arc::clone(&spec.name), spec.priority));
        let default = specs.iter().position(|spec| spec.is_default);
        let names = Arc::new(plan::Plans::new(names, default));
        let allowance = |(index, spec): (usize, &PlanSpec)| {
            allowance(spec, state, clock).map_err(|why| (index, why))
        };
        let allowances = specs.iter().enumerate().map(allowance).collect::<Result<_, _>>()?;
        Ok(Self { names, allowances })
    }

    /// By which consumers find their plan.
    #[must_use]
    pub fn names(&self) -> Arc<plan::Plans> {
        Arc::clone(&self.names)
    }

    /// What each plan allows, in the order of the config.
    pub(crate) fn allowances(&self) -> impl Iterator<Item = (&str, &Allowance)> {
        self.allowances.iter().map(|allowance| (&*allowance.name, allowance))
    }

    pub(crate) fn allowance(&self, plan: &plan::Plan) -> Option<&Allowance> {
        self.allowances.get(plan.index?)
    }
}

fn allowance(spec: &PlanSpec, state: &State, clock: &Clock) -> Result<Allowance, String> {
    let rules: Vec<Rule> = spec
        .limits
        .iter()
        .map(|limit| Rule::new(*limit, Algorithm::Gcra))
        .collect::<Result<_, _>>()?;
    let limiter = (!rules.is_empty())
        .then(|| Limiter::new(&format!("plans/{}/limit", spec.name), rules, state, clock));
    Ok(Allowance { name: Arc::clone(&spec.name), each: spec.each, limiter })
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.fmt(f)
    }
}
