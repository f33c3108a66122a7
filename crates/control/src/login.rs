//! How somebody comes in: with a password, by a link that works once, with the session that came of either, or with a token
//! for machines. What is shown is 256 bits of randomness; what is kept is its SHA-256.

use crate::{Caller, Code, Control, Problem, problem};
use aws_lc_rs::digest::{SHA256, digest};
use base::{Secret, random};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::net::IpAddr;
use store::login::Written;

/// What sessions begin with.
const SESSION: &str = "yett_session_";
/// What tokens begin with, so that scanners find those that are lost.
const TOKEN: &str = "yett_token_";
/// What links end with.
const LINK: &str = "yett_link_";
/// The name of links that were made by whoever has the host.
const OF_HOST: &str = "host";
const BYTES: usize = 32;

const HOUR_MS: i64 = 3_600_000;
/// How long a link works.
const LINK_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// What is read of anything that is shown.
const SHOWN_MAX: usize = 128;

/// Somebody who has come in.
#[derive(Debug)]
pub struct Session {
    /// What the browser shows from now on.
    pub shown: Secret,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
    /// The id of the user.
    pub user: String,
}

/// New randomness behind a prefix, and its hash.
fn fresh(prefix: &str) -> Result<(Secret, Vec<u8>), Problem> {
    let mut bytes = [0; BYTES];
    random::fill(&mut bytes).map_err(|why| {
        let cause = Some(why.to_string());
        Problem { cause, ..Problem::new(Code::Internal, "the system has no randomness") }
    })?;
    let shown = Secret::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)));
    let hash = hash(shown.reveal());
    Ok((shown, hash))
}

fn hash(shown: &str) -> Vec<u8> {
    digest(&SHA256, shown.as_bytes()).as_ref().to_vec()
}

fn refused() -> Problem {
    Problem::new(
        Code::LoginRefused,
        "name and password do not belong together, or nobody has this name",
    )
}

impl Control {
    /// Logs in with a name and a password, for who has no second factor.
    ///
    /// # Errors
    /// As for [`session_begin`](Self::session_begin).
    pub async fn session_create(
        &self,
        name: &str,
        password: Secret,
        from: IpAddr,
    ) -> Result<Session, Problem> {
        self.session_begin(name, password, None, from).await
    }

    /// Logs in with a name and a password, and with a one-time password where the user is asked for one.
    ///
    /// # Errors
    /// Whatever is wrong, it is told in the same words and takes as long. [`Code::CodeRequired`] when name and password are
    /// right and a one-time password is missing.
    pub async fn session_begin(
        &self,
        name: &str,
        password: Secret,
        code: Option<&str>,
        from: IpAddr,
    ) -> Result<Session, Problem> {
        let keys =
            [format!("name {}", name.chars().take(64).collect::<String>()), format!("from {from}")];
        self.attempts.begin(&keys)?;
        let proof = self.store.user_proof(name).await.map_err(problem::of("user"))?;
        let known = proof.filter(|proof| proof.is_disabled == 0);
        let hash = known.as_ref().and_then(|proof| proof.password.clone());
        let is_right = self.attempts.verify(hash, password).await?;
        let Some(proof) = known.filter(|_| is_right) else { return Err(refused()) };
        let mut caller = Caller::new(&proof.id, name);
        caller.address = Some(from.to_string());
        if !self.second_factor_shown(&caller, code).await? {
            return Err(refused());
        }
        self.attempts.forget(&keys);
        self.begin_session(&caller).await
    }

    /// Makes a link by which a user logs in once. One of the host is for who has lost everything else: it asks for no second
    /// factor, since whoever has the host has the database.
    ///
    /// # Errors
    /// When there is no such user.
    pub(crate) async fn link_create(
        &self,
        caller: &Caller,
        user: &str,
        is_of_host: bool,
    ) -> Result<Secret, Problem> {
        let name = if is_of_host { OF_HOST } else { "" };
        let (shown, hash) = fresh(LINK)?;
        let mut write = self.write(caller).await?;
        let expires_ms = write.at_ms() + LINK_MS;
        let written =
            Written { hash: &hash, holder: user, kind: "link", name, scopes: "", expires_ms };
        write.login_create(written).await.map_err(problem::of("user"))?;
        write.commit().await.map_err(problem::of("link"))?;
        Ok(shown)
    }

    /// Logs in by a link, which does not work again, and with a one-time password where the user is asked for one and the
    /// link is not one of the host.
    ///
    /// # Errors
    /// When it was used, an hour has passed, or the user may not log in. [`Code::CodeRequired`] when a one-time password is
    /// missing: the link works on.
    pub async fn link_take(
        &self,
        shown: &str,
        code: Option<&str>,
        from: IpAddr,
    ) -> Result<Session, Problem> {
        let used = || Problem::new(Code::LoginRefused, "this link was used already, or is too old");
        let hash = hash(shown);
        let link = self.store.login_link(&hash).await.map_err(problem::of("link"))?;
        let link = link.ok_or_else(used)?;
        let user = self.store.user_get(&link.holder).await.map_err(problem::of("user"))?;
        if user.is_disabled != 0 {
            return Err(used());
        }
        let mut caller = Caller::new(&user.id, &user.name);
        caller.address = Some(from.to_string());
        if link.name != OF_HOST {
            let keys = [format!("code {}", user.id)];
            if code.is_some() {
                self.attempts.begin(&keys)?;
            }
            if !self.second_factor_shown(&caller, code).await? {
                return Err(Problem::new(
                    Code::LoginRefused,
                    "this is not the code that the app shows now",
                ));
            }
            self.attempts.forget(&keys);
        }
        let mut write = self.write(&Caller::system("login")).await?;
        let taken = write.login_take(&hash).await.map_err(problem::of("link"))?;
        taken.ok_or_else(used)?;
        write.commit().await.map_err(problem::of("link"))?;
        self.begin_session(&caller).await
    }

    pub(crate) async fn begin_session(&self, caller: &Caller) -> Result<Session, Problem> {
        let (shown, hash) = fresh(SESSION)?;
        let hours = self.setting_number("session_hours").await?;
        let mut write = self.write(caller).await?;
        let expires_ms = write.at_ms() + hours * HOUR_MS;
        let holder = &*caller.user;
        let written =
            Written { hash: &hash, holder, kind: "session", name: "", scopes: "", expires_ms };
        write.login_create(written).await.map_err(problem::of("session"))?;
        write.commit().await.map_err(problem::of("session"))?;
        Ok(Session { shown, expires_ms, user: caller.user.clone() })
    }

    /// Makes a token for machines, which may do no more than its user, and no more than `scopes` where they are given.
    /// What is returned is shown once.
    ///
    /// # Errors
    /// When a scope is no permission, or the time is over a year.
    pub async fn token_create(
        &self,
        caller: &Caller,
        name: &str,
        scopes: &[&str],
        length_ms: i64,
    ) -> Result<Secret, Problem> {
        let days = self.setting_number("token_days_max").await?;
        if !(1..=days * DAY_MS).contains(&length_ms) {
            let wanted = format!("a token lasts {days} days at most");
            return Err(Problem::invalid("/expires", wanted));
        }
        let is_scope = |scope: &&str| {
            scope.split_once(':').is_some_and(|(noun, verb)| !noun.is_empty() && !verb.is_empty())
        };
        if let Some(at) = scopes.iter().position(|scope| !is_scope(scope)) {
            let pointer = format!("/scopes/{at}");
            return Err(Problem::invalid(
                &pointer,
                "a scope is a noun and a verb: `api:update`, `*:read`",
            ));
        }
        if !caller.may_pass_on(scopes) {
            return Err(Problem::new(
                Code::Forbidden,
                "a token makes no token that may do more than it may itself",
            ));
        }
        let (shown, hash) = fresh(TOKEN)?;
        let scopes =
            if scopes.is_empty() { String::new() } else { serde_json::json!(scopes).to_string() };
        let mut write = self.write(caller).await?;
        let expires_ms = write.at_ms().saturating_add(length_ms);
        let holder = &*caller.user;
        let written =
            Written { hash: &hash, holder, kind: "token", name, scopes: &scopes, expires_ms };
        write.login_create(written).await.map_err(problem::of("user"))?;
        write.commit().await.map_err(problem::of("token"))?;
        Ok(shown)
    }

    /// Who shows a session or a token.
    ///
    /// # Errors
    /// [`Code::LoginRequired`] when it is not known any more.
    pub async fn caller(&self, shown: &str) -> Result<Caller, Problem> {
        let required =
            || Problem::new(Code::LoginRequired, "log in first, or show a token that is valid");
        let is_ours =
            shown.len() <= SHOWN_MAX && (shown.starts_with(SESSION) || shown.starts_with(TOKEN));
        if !is_ours {
            return Err(required());
        }
        let login = self.store.login_find(&hash(shown)).await.map_err(problem::of("login"))?;
        let login = login.ok_or_else(required)?;
        let user = self.store.user_get(&login.holder).await.map_err(problem::of("user"))?;
        if user.is_disabled != 0 {
            return Err(required());
        }
        let mut caller = Caller::new(&user.id, &user.name);
        caller.is_person = login.kind == "session";
        for grant in self.store.user_roles(&user.id).await.map_err(problem::of("role"))? {
            let may = self.role_may(&grant.role).await?;
            caller.grant(&grant.workspace, may.iter().map(|it| &**it));
        }
        if !login.scopes.is_empty() {
            // What cannot be read allows nothing.
            caller.narrow(serde_json::from_str(&login.scopes).unwrap_or_default());
        }
        Ok(caller)
    }

    /// Ends the session or token that was shown.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn session_delete(&self, caller: &Caller, shown: &str) -> Result<(), Problem> {
        let login = self.store.login_find(&hash(shown)).await.map_err(problem::of("login"))?;
        let Some(login) = login else { return Ok(()) };
        let mut write = self.write(caller).await?;
        write.login_delete(&login.id).await.map_err(problem::of("session"))?;
        write.commit().await.map_err(problem::of("session"))
    }
}
