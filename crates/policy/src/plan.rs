//! The plans of a config, ready to hold consumers to them.

use crate::counting::{of_limit, of_quota};
use crate::expression::Scope;
pub use crate::limit::Excess;
use crate::limit::{Algorithm, Limiter, Limits, Refusal, Rule, SharedLimiter, Who};
use crate::quota::{Allotment, Written};
use crate::store::{OnFailure, Store};
use base::Clock;
use base::quotas::Quota;
use base::rates::Limit;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use telemetry::Metrics;
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

/// A claim that gives a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSpec {
    /// Its name; dots lead into objects.
    pub claim: String,
    /// Its values, of which one is enough.
    pub values: Vec<String>,
    /// Who must say it; anybody who is trusted, if there is none.
    pub issuer: Option<String>,
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
    /// How much it allows in windows of the calendar; no end of it when empty.
    pub quotas: Vec<Quota>,
    /// Where gateways share its counts, and what becomes of requests without; none where each counts alone.
    pub store: Option<(Arc<Store>, OnFailure)>,
    /// Who has a share of its own.
    pub each: Each,
    /// What becomes of what is too much.
    pub excess: Excess,
    /// What must be said of callers who have it by that.
    pub claim: Option<ClaimSpec>,
    /// Whether it is the plan of all consumers that have no other.
    pub is_default: bool,
}

/// What one plan allows.
pub(crate) struct Allowance {
    pub(crate) name: Arc<str>,
    pub(crate) each: Each,
    /// None if requests are not limited.
    pub(crate) limits: Option<Limits>,
    /// None if there is no quota.
    pub(crate) allotment: Option<Allotment>,
    pub(crate) excess: Excess,
    pub(crate) refusal: Refusal,
}

impl Allowance {
    /// What it allows, for people who read a config.
    pub(crate) fn about(&self) -> String {
        let limits = self.limits.iter().flat_map(Limits::rules).map(Rule::about);
        let quotas = self.allotment.iter().flat_map(Allotment::about);
        let all: Vec<String> = limits.chain(quotas).collect();
        let all = if all.is_empty() { "no limit".to_owned() } else { all.join(", ") };
        let each = if self.each == Each::Consumer { "consumer" } else { "application" };
        let how: String = self.excess.about().map(|line| format!("; {line}")).collect();
        format!("{}: {all}, per {each}{how}", self.name)
    }

    /// What tells those apart who have a share of their own.
    pub(crate) fn who<'a>(
        &self,
        consumer: Option<&'a str>,
        application: Option<&'a str>,
    ) -> Who<'a> {
        // Who has a plan is a consumer.
        let consumer = consumer.unwrap_or_default();
        match self.each {
            Each::Application => Who::Application(consumer, application),
            Each::Consumer => Who::Consumer(consumer),
        }
    }
}

/// By which callers find their plan.
#[must_use]
pub fn names(specs: &[PlanSpec]) -> plan::Plans {
    let names = specs.iter().map(|spec| (Arc::clone(&spec.name), spec.priority));
    let default = specs.iter().position(|spec| spec.is_default);
    let claims = specs.iter().enumerate().filter_map(|(plan, spec)| {
        let spec = spec.claim.as_ref()?;
        Some(plan::ByClaim {
            claim: spec.claim.as_str().into(),
            values: spec.values.iter().map(|value| value.as_str().into()).collect(),
            issuer: spec.issuer.as_deref().map(Into::into),
            plan,
        })
    });
    plan::Plans::new(names, default).claimed(claims)
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
    /// The position of the first plan with something that cannot be counted, the field, and why.
    pub fn new(
        specs: &[PlanSpec],
        state: &State,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, (usize, &'static str, String)> {
        let names = Arc::new(names(specs));
        let allowance = |(index, spec): (usize, &PlanSpec)| {
            allowance(spec, state, clock, metrics).map_err(|(field, why)| (index, field, why))
        };
        let allowances = specs.iter().enumerate().map(allowance).collect::<Result<_, _>>()?;
        Ok(Self { names, allowances })
    }

    /// By which consumers find their plan.
    #[must_use]
    pub fn names(&self) -> Arc<plan::Plans> {
        Arc::clone(&self.names)
    }

    /// What is left to whoever has this plan, for people who ask: `limits` and `quotas`. None if the config has no such
    /// plan.
    #[must_use]
    pub fn shown(
        &self,
        plan: &plan::Plan,
        consumer: &str,
        application: Option<&str>,
        clock: &Clock,
    ) -> Option<Value> {
        let allowance = self.allowance(plan)?;
        let who = allowance.who(Some(consumer), application);
        let limits = match &allowance.limits {
            None => Vec::new(),
            Some(Limits::Here(limiter)) => limiter.shown(Some(limiter.key(&who)), clock.now()),
            Some(Limits::Shared(shared)) => shared.shown(shared.key(&who), clock.now()),
        };
        let quotas = allowance.allotment.as_ref().map_or_else(Vec::new, |allotment| {
            allotment.used(allotment.holder(&who), clock.wall())
        });
        Some(json!({
            "plan": &*plan.name,
            "per": if allowance.each == Each::Consumer { "consumer" } else { "application" },
            "limits": limits.into_iter().map(of_limit).collect::<Vec<_>>(),
            "quotas": quotas.into_iter().map(of_quota).collect::<Vec<_>>(),
        }))
    }

    /// Forgets what was used so far by whoever has this plan, in the windows of now.
    pub fn reset(
        &self,
        plan: &plan::Plan,
        consumer: &str,
        application: Option<&str>,
        clock: &Clock,
    ) {
        let Some(allowance) = self.allowance(plan) else { return };
        let who = allowance.who(Some(consumer), application);
        match &allowance.limits {
            None => {}
            Some(Limits::Here(limiter)) => limiter.reset(Some(limiter.key(&who))),
            Some(Limits::Shared(shared)) => shared.reset(&who),
        }
        if let Some(allotment) = &allowance.allotment {
            allotment.reset_for(allotment.holder(&who), &who, clock.wall());
        }
    }

    /// What each plan allows, for people who read a config.
    pub fn about(&self) -> impl Iterator<Item = String> {
        self.allowances.iter().map(Allowance::about)
    }

    /// What each plan allows, in the order of the config.
    pub(crate) fn allowances(&self) -> impl Iterator<Item = (&str, &Allowance)> {
        self.allowances.iter().map(|allowance| (&*allowance.name, allowance))
    }

    pub(crate) fn allowance(&self, plan: &plan::Plan) -> Option<&Allowance> {
        self.allowances.get(plan.index?)
    }
}

/// Whose quotas those of plans are: counts do not depend on the plan, so that who changes it goes on from what was used.
const SCOPE: &str = "plans";

fn allowance(
    spec: &PlanSpec,
    state: &State,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Allowance, (&'static str, String)> {
    let counting = |rule: Rule| rule.counting_refused(spec.excess.count_refused);
    let rules: Vec<Rule> = spec
        .limits
        .iter()
        .map(|limit| Rule::new(*limit, Algorithm::Gcra).map(counting))
        .collect::<Result<_, _>>()
        .map_err(|why| ("limit", why))?;
    let id = format!("plans/{}/limit", spec.name);
    let limits = match &spec.store {
        _ if rules.is_empty() => None,
        None => Some(Limits::Here(Limiter::new(&id, rules, state, clock))),
        Some(_) if spec.excess.count_refused => {
            let why = "what is refused cannot count in a store: refusals are not told to it";
            return Err(("count_refused", why.to_owned()));
        }
        Some((store, on_failure)) => {
            let store = (store, *on_failure);
            Some(Limits::Shared(SharedLimiter::new(&id, rules, store, state, clock)))
        }
    };
    let excess = spec.excess;
    let store = spec.store.as_ref().map(|(store, on_failure)| (store, *on_failure));
    let label = format!("plan:{}", spec.name);
    let written = Written {
        name: &spec.name,
        label: &label,
        quotas: &spec.quotas,
        scope: Scope::default(),
        excess,
        store,
    };
    let allotment = (!spec.quotas.is_empty())
        .then(|| Allotment::new(SCOPE, &written, state, clock, metrics))
        .transpose()
        .map_err(|why| ("quota", why))?;
    let refusal = Refusal::new(excess, &label, metrics);
    let name = Arc::clone(&spec.name);
    Ok(Allowance { name, each: spec.each, limits, allotment, excess, refusal })
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.fmt(f)
    }
}
