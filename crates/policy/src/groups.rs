//! Groups of callers whom the config does not know. Whoever vouches for them may say any name, so that it stands
//! behind the voucher's own, `idp.example.com/staff`, unless the config says that this is a group of its own.

use crate::written::{OneOrMany, Short, Written};
use base::caps::TOKEN_GROUPS_MAX;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use traffic::policy::Gives;

/// What stands for all groups.
const ALL: &str = "*";

/// Where the groups of callers are said whom the config does not know. Short: where.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// The claim, header or member that holds them.
    pub from: String,
    /// Groups of this config that may be said so. Every other one stands behind the prefix of whoever says it,
    /// `idp.example.com/staff`. `"*"` means all: then it is for others to say who is in which group.
    #[serde(default, rename = "as")]
    pub as_own: OneOrMany,
}

impl Short for Settings {
    const EXPECTING: &'static str = "where groups are said, such as `groups`, or `{ from, as }`";
    const SAMPLE: &'static str = "groups";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self { from: text.to_owned(), as_own: OneOrMany::default() })
    }
}

impl fmt::Debug for Written<Settings> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The same, ready to be gone by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    /// Where they are said.
    pub(crate) from: Box<str>,
    own: Box<[Arc<str>]>,
    is_all: bool,
}

impl Groups {
    /// What settings say.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            from: settings.from.as_str().into(),
            own: settings.as_own.0.iter().map(|name| name.as_str().into()).collect(),
            is_all: settings.as_own.0.iter().any(|name| name == ALL),
        }
    }

    /// The groups of somebody, as a voucher of this prefix says them.
    pub(crate) fn said<'a>(
        &self,
        prefix: &str,
        said: impl Iterator<Item = &'a str>,
    ) -> Box<[Arc<str>]> {
        let group = |name: &str| {
            if self.is_all {
                return name.into();
            }
            let own = self.own.iter().find(|own| ***own == *name);
            own.map_or_else(|| format!("{prefix}/{name}").into(), Arc::clone)
        };
        said.take(TOKEN_GROUPS_MAX).map(group).collect()
    }

    /// Which groups of the config it gives.
    pub(crate) fn gives(&self) -> Gives {
        if self.is_all { Gives::All } else { Gives::These(self.own.to_vec()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Groups, Settings, Written};

    fn check(settings: &str, expected: &[&str]) {
        let Written(settings) = serde_json::from_str::<Written<Settings>>(settings).unwrap();
        let said = Groups::new(&settings).said("idp", ["staff", "boss", "idp/x"].into_iter());
        let said: Vec<&str> = said.iter().map(|group| &**group).collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn a_group_that_others_say_is_theirs_unless_the_config_gives_it() {
        check("\"groups\"", &["idp/staff", "idp/boss", "idp/idp/x"]);
        check("{\"from\":\"groups\"}", &["idp/staff", "idp/boss", "idp/idp/x"]);
        check("{\"from\":\"groups\",\"as\":\"staff\"}", &["staff", "idp/boss", "idp/idp/x"]);
        check("{\"from\":\"groups\",\"as\":[\"boss\",\"staff\"]}", &["staff", "boss", "idp/idp/x"]);
        check("{\"from\":\"groups\",\"as\":\"*\"}", &["staff", "boss", "idp/x"]);
    }
}
