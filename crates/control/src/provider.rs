//! Identity providers: people log in there, and here have the roles of their groups (OpenID Connect Core 1.0, the code flow
//! with PKCE). What is sent is told apart by one secret that only the browser keeps: `state`, `nonce` and the verifier of
//! the code come of it, so that any process can end what another has begun.

use crate::login::Session;
use crate::{Caller, Code, Control, Problem, problem};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base::{Secret, random};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use store::user::{User, Written};

/// Who somebody is, by what a token says.
mod person;
/// What providers say, and how they are asked.
mod says;

use person::{Person, plain_name};
pub(crate) use says::Providers;
use says::{Known, form};

const NOUN: &str = "provider";
/// Bytes of what comes back with a person.
const RETURNED_BYTES_MAX: usize = 4_096;
/// Names that are tried for somebody new whose name is taken.
const NAMES_TRIED_MAX: u32 = 20;

/// An identity provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in paths.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Its name for itself.
    pub issuer: String,
    /// What this program is called there.
    pub client: String,
    /// The secret that goes with it.
    pub secret: Option<Secret>,
    /// What is asked for, with spaces between.
    pub scopes: String,
    /// The claim that names groups.
    pub groups: String,
    /// Which roles groups have.
    pub roles: Vec<GroupRole>,
}

/// The role of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRole {
    /// The group, as the provider calls it.
    pub group: String,
    /// The name of the role.
    pub role: String,
    /// The name of the workspace; all of them without one.
    pub workspace: Option<String>,
}

/// A request to a provider.
#[derive(Debug)]
pub struct Ask {
    /// Where to.
    pub url: String,
    /// The form to send; without one it is asked for a document.
    pub form: Option<Secret>,
    /// What `Authorization` says.
    pub authorization: Option<Secret>,
}

/// What keys say of a token.
#[derive(Debug)]
pub enum Signed {
    /// One of them signed it; this is what it says.
    By(Map<String, Value>),
    /// It names a key that is not there.
    Unknown,
}

/// An answer: its status and its body; or why there is none.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<(u16, Vec<u8>), String>> + Send + 'a>>;

/// What a login by a provider takes, and `control` has not: a way out of this machine, and keys of others.
pub trait Way: Send + Sync + fmt::Debug {
    /// Sends a request. Bodies are bounded.
    fn ask(&self, ask: Ask) -> Asking<'_>;

    /// Who signed a token, by a set of keys as its owner publishes it.
    ///
    /// # Errors
    /// Why it is not to be believed, for the log.
    fn verify(&self, keys: &[u8], token: &str) -> Result<Signed, String>;
}

/// A login that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub url: String,
    /// What the browser keeps until it is back.
    pub flow: Secret,
}

/// What the browser comes back with.
#[derive(Debug, Default)]
pub struct Returned {
    /// What the browser has kept.
    pub flow: String,
    /// `state`.
    pub state: String,
    /// `code`.
    pub code: String,
    /// `iss`.
    pub issuer: Option<String>,
    /// `error`.
    pub error: Option<String>,
}

fn refused(cause: impl Into<String>) -> Problem {
    let cause = Some(cause.into());
    let detail =
        "this login cannot be believed; begin it again, within ten minutes and in one browser";
    Problem { cause, ..Problem::new(Code::LoginRefused, detail) }
}

fn unavailable(cause: impl Into<String>) -> Problem {
    let detail = "the identity provider cannot be asked at the moment; try again, or log in with a password or a link";
    Problem { cause: Some(cause.into()), ..Problem::new(Code::ProviderUnavailable, detail) }
}

/// Something that only who has the secret of a login can know, and nothing else follows from.
fn derived(flow: &str, provider: &str, what: &str) -> String {
    let text = format!("yett login\n{what}\n{provider}\n{flow}");
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

impl Control {
    /// With providers by which people log in. Clones that are made afterwards have them, too.
    #[must_use]
    pub fn with_providers(mut self, all: Vec<Provider>, way: Arc<dyn Way>) -> Self {
        self.providers = Some(Providers::new(all, way));
        self
    }

    /// Names and titles of all providers.
    #[must_use]
    pub fn provider_list(&self) -> Vec<(String, String)> {
        let all = self.providers.iter().flat_map(|it| it.all.iter());
        all.map(|(it, _)| (it.name.clone(), it.title.clone())).collect()
    }

    fn provider(&self, name: &str) -> Result<(&Providers, &Provider, &Mutex<Known>), Problem> {
        let providers = self.providers.as_ref().ok_or_else(|| Problem::missing(NOUN))?;
        let (provider, known) = providers.find(name).ok_or_else(|| Problem::missing(NOUN))?;
        Ok((providers, provider, known))
    }

    /// Begins a login by a provider, which sends the browser back to an address.
    ///
    /// # Errors
    /// When there is no such provider, or it cannot be asked.
    pub async fn provider_begin(&self, name: &str, back: &str) -> Result<Begun, Problem> {
        let (providers, provider, known) = self.provider(name)?;
        let says = providers.says((provider, known), &self.clock).await?;
        let mut bytes = [0; 32];
        random::fill(&mut bytes).map_err(problem::random)?;
        let flow = URL_SAFE_NO_PAD.encode(bytes);
        let derive = |what: &str| derived(&flow, name, what);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, derive("verifier").as_bytes()));
        let query = form(&[
            ("response_type", "code"),
            ("client_id", &provider.client),
            ("redirect_uri", back),
            ("scope", &provider.scopes),
            ("state", &derive("state")),
            ("nonce", &derive("nonce")),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let joint = if says.authorization.contains('?') { '&' } else { '?' };
        let url = format!("{}{joint}{query}", says.authorization);
        Ok(Begun { url, flow: Secret::new(flow) })
    }

    /// Ends a login by a provider. Whoever comes for the first time becomes a user, of a name that nobody has; nobody becomes
    /// a user who is there already by what they are called or where their mail goes. The roles are those of the groups.
    ///
    /// # Errors
    /// When the login is not the one that this browser has begun, the provider says otherwise or cannot be asked, or none of
    /// the groups has a role here.
    pub async fn provider_end(
        &self,
        name: &str,
        back: &str,
        returned: Returned,
        from: IpAddr,
    ) -> Result<Session, Problem> {
        let (providers, provider, known) = self.provider(name)?;
        let Returned { flow, state, code, issuer, error } = returned;
        let is_long = [&flow, &state, &code].iter().any(|it| it.len() > RETURNED_BYTES_MAX);
        let wanted = derived(&flow, name, "state");
        if is_long
            || flow.is_empty()
            || verify_slices_are_equal(state.as_bytes(), wanted.as_bytes()).is_err()
        {
            return Err(refused("the browser comes back with a login that it has not begun"));
        }
        let says = providers.says((provider, known), &self.clock).await?;
        // RFC 9207, 2.4: an answer of one provider is not taken to another.
        let is_named = issuer.as_ref().map_or(!says.has_iss, |it| *it == provider.issuer);
        if !is_named {
            return Err(refused("the answer is of another issuer"));
        }
        if let Some(error) = error {
            let error: String = error.chars().take(64).collect();
            let cause = Some(format!("the provider says `{}`", error.escape_debug()));
            let detail =
                "the identity provider did not let you in; begin the login again, or ask there";
            return Err(Problem { cause, ..Problem::new(Code::LoginRefused, detail) });
        }
        let verifier = derived(&flow, name, "verifier");
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", back),
            ("code_verifier", &verifier),
        ];
        let token = providers.token(provider, &says, &fields).await?;
        let claims = providers.claims(known, (&says.keys, &token), &self.clock).await?;
        let (_, now_ms) = self.now();
        let person = provider.person(&claims, &derived(&flow, name, "nonce"), now_ms / 1_000);
        let person = person.map_err(refused)?;
        let user = self.provider_user(provider, &person, from).await?;
        let mut caller = Caller::new(&user.id, &user.name);
        caller.address = Some(from.to_string());
        self.begin_session(&caller).await
    }

    /// Somebody as a user, with the roles of the groups and no other.
    async fn provider_user(
        &self,
        provider: &Provider,
        person: &Person,
        from: IpAddr,
    ) -> Result<User, Problem> {
        let of_user = problem::of("user");
        let wanted = self.wanted(provider, person).await?;
        let known =
            self.store.user_of(&provider.issuer, &person.subject).await.map_err(&of_user)?;
        if known.as_ref().is_some_and(|user| user.is_disabled != 0) {
            return Err(Problem::new(Code::LoginRefused, "this user may not log in any more"));
        }
        let has = match &known {
            Some(user) => self.store.user_roles(&user.id).await.map_err(&of_user)?,
            None => Vec::new(),
        };
        let name = match &known {
            None if wanted.is_empty() => return Err(nobody()),
            None => self.free_name(&person.names).await?,
            Some(user) => user.name.clone(),
        };
        let mut system = Caller::system(&format!("login by {}", provider.name));
        system.address = Some(from.to_string());
        let mut write = self.write(&system).await?;
        let had = write.user_has_owner("owner").await.map_err(&of_user)?;
        let user = match known {
            Some(user) => user,
            None => {
                let written = Written { name: &name, email: &person.email, is_disabled: false };
                let of = (&*provider.issuer, &*person.subject);
                write.user_create_of(of, written).await.map_err(&of_user)?
            }
        };
        for grant in &has {
            if !wanted.iter().any(|(place, role)| *place == grant.workspace && *role == grant.role)
            {
                write
                    .user_role_remove(&user.id, &grant.workspace, &grant.role)
                    .await
                    .map_err(&of_user)?;
            }
        }
        for (place, role) in &wanted {
            if !has.iter().any(|grant| *place == grant.workspace && *role == grant.role) {
                write.user_role_add(&user.id, place, role).await.map_err(&of_user)?;
            }
        }
        self.keep_an_owner(&mut write, had).await?;
        write.commit().await.map_err(&of_user)?;
        if wanted.is_empty() { Err(nobody()) } else { Ok(user) }
    }

    /// Workspaces, empty for all, and roles that the groups of somebody have. What is not there is given to nobody.
    async fn wanted(
        &self,
        provider: &Provider,
        person: &Person,
    ) -> Result<BTreeSet<(String, String)>, Problem> {
        let mut wanted = BTreeSet::new();
        for GroupRole { group, role, workspace } in &provider.roles {
            if !person.groups.contains(group) || self.role_may(role).await?.is_empty() {
                continue;
            }
            let place = match workspace {
                None => String::new(),
                Some(name) => match self.store.workspace_find(name).await {
                    Ok(found) => found.id,
                    Err(store::Error::Missing) => continue,
                    Err(error) => return Err(problem::of("workspace")(error)),
                },
            };
            wanted.insert((place, role.clone()));
        }
        Ok(wanted)
    }

    /// A name that no user has.
    async fn free_name(&self, names: &[String]) -> Result<String, Problem> {
        let base = names.iter().find_map(|it| plain_name(it)).unwrap_or_else(|| "user".to_owned());
        for number in 1..=NAMES_TRIED_MAX {
            let name = if number == 1 { base.clone() } else { format!("{base}-{number}") };
            match self.store.user_find(&name).await {
                Ok(_) => {}
                Err(store::Error::Missing) => return Ok(name),
                Err(error) => return Err(problem::of("user")(error)),
            }
        }
        Err(Problem::new(
            Code::Taken,
            "too many users have this name; ask an administrator to rename one",
        ))
    }
}

fn nobody() -> Problem {
    let detail = "none of your groups has a role here; ask an administrator for one";
    Problem::new(Code::LoginRefused, detail)
}
