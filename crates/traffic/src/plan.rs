//! By which plan a consumer uses APIs.

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

/// The plans of a config.
#[derive(Default)]
pub struct Plans {
    by_name: HashMap<Arc<str>, Arc<Plan>>,
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
        Self {
            by_name: plans.into_iter().map(|plan| (Arc::clone(&plan.name), plan)).collect(),
            default,
        }
    }

    /// The names of all plans.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }

    /// The plan of whoever calls: that of the application, else that of the consumer, else the default one. A plan
    /// that this config does not have is one without a position, which nobody may use anything by.
    #[must_use]
    pub fn of(
        &self,
        consumer: Option<&Consumer>,
        credential: Option<&Credential>,
    ) -> Option<Arc<Plan>> {
        let of_application = credential.and_then(|credential| credential.plan.as_ref());
        let named = of_application.or_else(|| consumer.and_then(|consumer| consumer.plan.as_ref()));
        let Some(name) = named else {
            return self.default.as_ref().filter(|_| consumer.is_some()).cloned();
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
    use super::{Plans, Priority};
    use crate::directory::{Consumer, Credential, CredentialKind};
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
        let plan = plans.of(Some(&of_consumer), Some(&credential));
        let found = plan.as_ref().map(|plan| (&*plan.name, plan.index));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_application_counts_before_the_consumer_and_both_before_the_default() {
        check(Some("gold"), Some("free"), Some(("free", Some(0))));
        check(Some("gold"), None, Some(("gold", Some(1))));
        check(None, None, Some(("free", Some(0))));
        check(Some("gone"), None, Some(("gone", None)));
        assert!(Plans::default().of(Some(&Consumer::default()), None).is_none());
        let default = Plans::new([("free".into(), Priority::Low)], Some(0));
        assert!(default.of(None, None).is_none(), "nobody has no plan");
    }
}
