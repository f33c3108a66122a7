//! By which plan a consumer uses APIs.

use crate::claims::{Claim, KeptClaims};
use crate::directory::{Consumer, Credential};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Who goes first when there is not enough for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Goes without first.
    Low,
    /// As everybody of whom nothing else is said.
    #[default]
    Normal,
    /// Goes without last.
    High,
}

impl Priority {
    /// All of them, the lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// Its name in configs, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Its position in [`Priority::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What requests are held to by whoever makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: Arc<str>,
    /// Who goes first when there is not enough for all.
    pub priority: Priority,
    /// Its position among the plans of its config; none of a plan that the config does not have.
    pub index: Option<usize>,
}

/// What must be said of somebody who has a plan by that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByClaim {
    /// The claim; dots lead into objects.
    pub claim: Box<str>,
    /// Its values, of which one is enough: a text, or one of a list of texts.
    pub values: Box<[Box<str>]>,
    /// Who must say it (`iss`); anybody who is trusted, if there is none.
    pub issuer: Option<Box<str>>,
    /// The position of the plan.
    pub plan: usize,
}

impl ByClaim {
    fn is_said(&self, claims: &KeptClaims) -> bool {
        let text = |name: &str| claims.get(name).and_then(Claim::as_str);
        if self.issuer.as_deref().is_some_and(|issuer| text("iss") != Some(issuer)) {
            return false;
        }
        let is_wanted = |said: &Claim| {
            said.as_str().is_some_and(|said| self.values.iter().any(|value| **value == *said))
        };
        match claims.find(&self.claim) {
            Some(Claim::List(items)) => items.iter().any(is_wanted),
            Some(said) => is_wanted(said),
            None => false,
        }
    }
}

/// The plans of a config.
#[derive(Default)]
pub struct Plans {
    by_name: HashMap<Arc<str>, Arc<Plan>>,
    by_claim: Box<[(ByClaim, Arc<Plan>)]>,
    default: Option<Arc<Plan>>,
}

impl Plans {
    /// Those of a config, in its order; `default` is the position of the plan of all who have no other.
    #[must_use]
    pub fn new(
        plans: impl IntoIterator<Item = (Arc<str>, Priority)>,
        default: Option<usize>,
    ) -> Self {
        let plans: Vec<Arc<Plan>> = plans
            .into_iter()
            .enumerate()
            .map(|(index, (name, priority))| Plan { name, priority, index: Some(index) })
            .map(Arc::new)
            .collect();
        let default = default.and_then(|index| plans.get(index)).cloned();
        let by_name = plans.into_iter().map(|plan| (Arc::clone(&plan.name), plan)).collect();
        Self { by_name, by_claim: Box::default(), default }
    }

    /// The same, some of which callers have by what is said of them; of several that fit the first counts.
    #[must_use]
    pub fn claimed(mut self, by_claim: impl IntoIterator<Item = ByClaim>) -> Self {
        let plan = |index| self.by_name.values().find(|plan| plan.index == Some(index)).cloned();
        let with_plan = |rule: ByClaim| plan(rule.plan).map(|plan| (rule, plan));
        self.by_claim = by_claim.into_iter().filter_map(with_plan).collect();
        self
    }

    /// By which claims callers may have a plan.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.by_claim.iter().map(|(rule, _)| &*rule.claim)
    }

    /// The plan of a consumer that has no other.
    #[must_use]
    pub const fn default_plan(&self) -> Option<&Arc<Plan>> {
        self.default.as_ref()
    }

    /// The names of all plans.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }

    /// The plan of whoever calls: that of the application, else that of the consumer, else the one that claims give,
    /// else the default one. A plan that this config does not have is one without a position, which nobody may use
    /// anything by.
    #[must_use]
    pub fn of<'a>(
        &self,
        consumer: Option<&Consumer>,
        credential: Option<&Credential>,
        said: &(impl Iterator<Item = &'a KeptClaims> + Clone),
    ) -> Option<Arc<Plan>> {
        let of_application = credential.and_then(|credential| credential.plan.as_ref());
        let named = of_application.or_else(|| consumer.and_then(|consumer| consumer.plan.as_ref()));
        let Some(name) = named else {
            // Of several who vouch for the caller each speaks for itself.
            let is_said = |rule: &ByClaim| said.clone().any(|claims| rule.is_said(claims));
            let given = self.by_claim.iter().find(|(rule, _)| is_said(rule));
            let plan = given.map(|(_, plan)| plan).or(self.default.as_ref());
            return plan.filter(|_| consumer.is_some()).cloned();
        };
        Some(self.by_name.get(name).cloned().unwrap_or_else(|| {
            let (name, priority) = (Arc::clone(name), Priority::Low);
            Arc::new(Plan { name, priority, index: None })
        }))
    }
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{ByClaim, KeptClaims, Plans, Priority};
    use crate::directory::{Consumer, Credential, CredentialKind};
    use serde_json::json;
    use std::iter::empty;
    use std::sync::Arc;

    fn check(
        consumer: Option<&str>,
        application: Option<&str>,
        expected: Option<(&str, Option<usize>)>,
    ) {
        let plans = [("free", Priority::Low), ("gold", Priority::High)];
        let plans = Plans::new(plans.map(|(name, priority)| (name.into(), priority)), Some(0));
        let of_consumer = Consumer { plan: consumer.map(Into::into), ..Consumer::default() };
        let of_consumer = Arc::new(of_consumer);
        let credential = Credential {
            plan: application.map(Into::into),
            ..Credential::new(CredentialKind::ApiKey, Arc::clone(&of_consumer))
        };
        let plan = plans.of(Some(&of_consumer), Some(&credential), &empty());
        let found = plan.as_ref().map(|plan| (&*plan.name, plan.index));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_application_counts_before_the_consumer_and_both_before_the_default() {
        check(Some("gold"), Some("free"), Some(("free", Some(0))));
        check(Some("gold"), None, Some(("gold", Some(1))));
        check(None, None, Some(("free", Some(0))));
        check(Some("gone"), None, Some(("gone", None)));
        assert!(Plans::default().of(Some(&Consumer::default()), None, &empty()).is_none());
        let default = Plans::new([("free".into(), Priority::Low)], Some(0));
        assert!(default.of(None, None, &empty()).is_none(), "nobody has no plan");
    }

    #[test]
    fn who_has_no_plan_by_name_has_the_first_that_claims_give() {
        let rule = |claim: &str, values: &[&str], issuer: Option<&str>, plan| ByClaim {
            claim: claim.into(),
            values: values.iter().map(|value| (*value).into()).collect(),
            issuer: issuer.map(Into::into),
            plan,
        };
        let plans = ["free", "gold", "partner"].map(|name| (name.into(), Priority::Normal));
        let plans = Plans::new(plans, Some(0)).claimed([
            rule("tier", &["gold", "platinum"], None, 1),
            rule("org.tags", &["friend"], Some("https://idp"), 2),
        ]);
        let named = |plan: Option<&str>, said: serde_json::Value| {
            let consumer = Consumer { plan: plan.map(Into::into), ..Consumer::default() };
            let claims: KeptClaims = said.as_object().unwrap().into();
            plans.of(Some(&consumer), None, &[&claims].into_iter()).unwrap().name.to_string()
        };
        let friend = json!({ "tags": ["x", "friend"] });
        for (plan, said, expected) in [
            (None, json!({ "tier": "platinum" }), "gold"),
            (None, json!({ "tier": "Gold" }), "free"),
            (None, json!({ "tier": ["gold"] }), "gold"),
            (None, json!({ "tier": { "gold": true } }), "free"),
            (None, json!({ "org": friend, "iss": "https://idp" }), "partner"),
            (None, json!({ "org": friend, "iss": "https://evil" }), "free"),
            (None, json!({ "org": friend }), "free"),
            (None, json!({ "tier": "gold", "org": friend, "iss": "https://idp" }), "gold"),
            (Some("free"), json!({ "tier": "gold" }), "free"),
        ] {
            assert_eq!(named(plan, said.clone()), expected, "{plan:?} {said}");
        }
        let said = json!({ "tier": "gold" });
        let said: KeptClaims = said.as_object().unwrap().into();
        assert!(plans.of(None, None, &[&said].into_iter()).is_none(), "nobody has no plan");
    }
}
