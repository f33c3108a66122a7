//! Logins as their owners see them: where they are logged in, and the tokens they gave to machines.

use crate::permission::{Permission, Verb};
use crate::{Caller, Control, Problem, problem};
use serde::Serialize;
use store::login::Login;

const NOUN: &str = "token";

/// A token or a session, without what is shown for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// The id of the user.
    pub user: String,
    /// What people call it.
    pub name: String,
    /// What it may do; all that its user may when there is nothing here.
    pub scopes: Vec<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
    /// When it was seen last, in milliseconds since 1970: exact to some minutes.
    pub used_ms: i64,
}

impl From<Login> for Token {
    fn from(kept: Login) -> Self {
        let Login { id, holder, name, scopes, created_ms, expires_ms, used_ms, .. } = kept;
        let scopes = serde_json::from_str(&scopes).unwrap_or_default();
        Self { id, user: holder, name, scopes, created_ms, expires_ms, used_ms }
    }
}

impl Control {
    /// The tokens of a user, newest first; the caller's own without one.
    ///
    /// # Errors
    /// When they are another's and it is not allowed, or the database cannot be read.
    pub async fn token_list(
        &self,
        caller: &Caller,
        user: Option<&str>,
    ) -> Result<Vec<Token>, Problem> {
        self.logins(caller, user, "token").await
    }

    /// Where a user is logged in, newest first; the caller without one.
    ///
    /// # Errors
    /// When it is another and it is not allowed, or the database cannot be read.
    pub async fn session_list(
        &self,
        caller: &Caller,
        user: Option<&str>,
    ) -> Result<Vec<Token>, Problem> {
        self.logins(caller, user, "session").await
    }

    async fn logins(
        &self,
        caller: &Caller,
        user: Option<&str>,
        kind: &str,
    ) -> Result<Vec<Token>, Problem> {
        let user = user.unwrap_or(&caller.user);
        // What is one's own needs no role, but a token that was made for less sees it not.
        if user != caller.user || caller.is_narrow() {
            caller.must(Permission::new(NOUN, Verb::Read), None)?;
        }
        let found = self.store.login_list(user).await.map_err(problem::of(NOUN))?;
        let now_ms = self.store.now_ms();
        let found = found.into_iter().filter(|it| it.kind == kind && it.expires_ms > now_ms);
        Ok(found.map(Token::from).collect())
    }

    /// Ends a token or a session, of the caller or of somebody else.
    ///
    /// # Errors
    /// When it is another's and it is not allowed, or not there.
    pub async fn token_delete(&self, caller: &Caller, id: &str) -> Result<(), Problem> {
        let found = self.store.login_get(id).await;
        let may = caller.may(Permission::new(NOUN, Verb::Delete), None);
        let is_own = |login: &Login| login.holder == caller.user && !caller.is_narrow();
        match found {
            Ok(login) if may || is_own(&login) => {}
            Ok(_) | Err(store::Error::Missing) => return Err(Problem::missing(NOUN)),
            Err(error) => return Err(problem::of(NOUN)(error)),
        }
        let mut write = self.write(caller).await?;
        write.login_delete(id).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))
    }
}
