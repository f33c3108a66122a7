//! Settings of the platform as a whole. Which there are, and what they may say, is in one table.

use crate::permission::{Permission, Verb};
use crate::{Caller, Control, Problem, problem};
use serde::Serialize;
use serde_json::Value;

const NOUN: &str = "setting";

/// A setting that there may be.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What holds while it is not set, as JSON.
    pub default: &'static str,
    check: fn(&Value) -> Result<(), &'static str>,
}

/// All settings.
pub const SETTINGS: &[Known] = &[
    Known {
        name: "session_hours",
        about: "After how many hours a login in a browser ends.",
        default: "12",
        check: |value| match value.as_i64() {
            Some(1..=168) => Ok(()),
            _ => Err("it is a number of hours from 1 to 168"),
        },
    },
    Known {
        name: "token_days_max",
        about: "For how many days a token of a machine may last.",
        default: "366",
        check: |value| match value.as_i64() {
            Some(1..=366) => Ok(()),
            _ => Err("it is a number of days from 1 to 366"),
        },
    },
    Known {
        name: "audit_days",
        about: "For how many days the audit trail is kept, at least; 0 keeps all of it.",
        default: "0",
        check: |value| match value.as_i64() {
            Some(0 | 30..=36_500) => Ok(()),
            _ => Err("it is 0, which keeps all, or a number of days from 30 to 36500"),
        },
    },
];

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: &'static str,
    /// What it says.
    pub value: Value,
    /// How often it was set; 0 while the default holds.
    pub revision: i64,
}

fn known(name: &str) -> Result<&'static Known, Problem> {
    SETTINGS.iter().find(|known| known.name == name).ok_or_else(|| Problem::missing(NOUN))
}

impl Known {
    fn said(&self, kept: Option<&store::setting::Setting>) -> Setting {
        let revision = kept.map_or(0, |it| it.revision);
        let text = kept.map_or(self.default, |it| &*it.body);
        let value = serde_json::from_str(text).unwrap_or_default();
        Setting { name: self.name.to_owned(), about: self.about, value, revision }
    }
}

impl Control {
    /// Sets what has this revision; 0 of what was never set.
    ///
    /// # Errors
    /// When it is not allowed, there is no such setting, it was changed meanwhile, or the value will not do.
    pub async fn setting_update(
        &self,
        caller: &Caller,
        name: &str,
        revision: i64,
        value: &Value,
    ) -> Result<Setting, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), None)?;
        let known = known(name)?;
        (known.check)(value).map_err(|why| Problem::invalid("/value", why))?;
        let mut write = self.write(caller).await?;
        let became = write.setting_update(known.name, revision, &value.to_string()).await;
        let became = became.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(known.said(Some(&became)))
    }

    /// Goes back to the default of what has this revision.
    ///
    /// # Errors
    /// When it is not allowed, there is no such setting or it was not set, or it was changed meanwhile.
    pub async fn setting_delete(
        &self,
        caller: &Caller,
        name: &str,
        revision: i64,
    ) -> Result<(), Problem> {
        caller.must(Permission::new(NOUN, Verb::Delete), None)?;
        let known = known(name)?;
        let mut write = self.write(caller).await?;
        write.setting_delete(known.name, revision).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// One setting, or its default.
    ///
    /// # Errors
    /// When it is not allowed, or there is no such setting.
    pub async fn setting_get(&self, caller: &Caller, name: &str) -> Result<Setting, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), None)?;
        let known = known(name)?;
        self.setting(known).await
    }

    /// All settings.
    ///
    /// # Errors
    /// When it is not allowed, or the database cannot be read.
    pub async fn setting_list(&self, caller: &Caller) -> Result<Vec<Setting>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), None)?;
        let kept = self.store.setting_list().await.map_err(problem::of(NOUN))?;
        let said =
            SETTINGS.iter().map(|known| known.said(kept.iter().find(|it| it.name == known.name)));
        Ok(said.collect())
    }

    async fn setting(&self, known: &Known) -> Result<Setting, Problem> {
        match self.store.setting_get(known.name).await {
            Ok(kept) => Ok(known.said(Some(&kept))),
            Err(store::Error::Missing) => Ok(known.said(None)),
            Err(error) => Err(problem::of(NOUN)(error)),
        }
    }

    /// What a setting says, for the program itself.
    pub(crate) async fn setting_number(&self, name: &str) -> Result<i64, Problem> {
        let known = known(name)?;
        Ok(self.setting(known).await?.value.as_i64().unwrap_or(1))
    }
}
