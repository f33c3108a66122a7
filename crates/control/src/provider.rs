//! Identity providers: people log in there, and here have the roles of their groups (OpenID Connect Core 1.0, the code flow
//! with PKCE). What is sent is told apart by one secret that only the browser keeps: `state`, `nonce` and the verifier of
//! the code come of it, so that any process can end what another has begun.

use crate::login::Session;
use crate::{Caller, Code, Control, Problem, name, problem};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base::caps::{IDENTITY_GROUPS_MAX, IDENTITY_NAME_BYTES_MAX};
use base::{Clock, Secret, random};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::user::{User, Written};

const NOUN: &str = "provider";
/// How long what a provider says of itself, and its keys, are believed.
const BELIEVED: Duration = Duration::from_secs(600);
/// How long keys that lack one are not asked for again.
const KEYS_COOLDOWN: Duration = Duration::from_secs(10);
/// Seconds by which clocks may differ.
const LEEWAY_S: i64 = 60;
/// Bytes of what comes back with a person.
const RETURNED_BYTES_MAX: usize = 4_096;
/// Names that are tried for somebody new whose name is taken.
const NAMES_TRIED_MAX: u32 = 20;
/// Bytes of a name that are kept, so that a number fits behind it.
const NAME_KEPT_MAX: usize = 56;

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

/// All providers, with what is known of them.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    way: Arc<dyn Way>,
    all: Arc<[(Provider, Mutex<Known>)]>,
}

/// What a provider has said.
#[derive(Debug, Default)]
struct Known {
    says: Option<(Instant, Says)>,
    keys: Option<(Instant, Arc<[u8]>)>,
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, 3).
#[derive(Clone, Debug)]
struct Says {
    authorization: String,
    token: String,
    keys: String,
    /// Whether its answers name it (RFC 9207, 3).
    has_iss: bool,
    /// Whether the secret goes into the form, since it takes no other way.
    is_post: bool,
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

/// Somebody as a provider knows them.
#[derive(Debug)]
struct Person {
    subject: String,
    /// Names to be called by, the best first.
    names: Vec<String>,
    email: String,
    groups: BTreeSet<String>,
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

/// With all that is not plain in `%`.
fn encoded(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~');
    let one = |c: u8| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") };
    text.bytes().map(one).collect()
}

/// Fields as they stand in a query or a form.
fn form(fields: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", encoded(value));
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn text(from: &Map<String, Value>, name: &str) -> Option<String> {
    from.get(name)?.as_str().map(str::to_owned)
}

impl Says {
    /// Reads what a provider says of itself.
    fn read(issuer: &str, document: &[u8]) -> Result<Self, String> {
        let read: Map<String, Value> =
            serde_json::from_slice(document).map_err(|_| "its document is not JSON".to_owned())?;
        if text(&read, "issuer").as_deref() != Some(issuer) {
            return Err("its document is about another issuer".to_owned());
        }
        let address = |name: &str| {
            let found = text(&read, name).ok_or_else(|| format!("its document has no `{name}`"))?;
            match issuer.starts_with("https:") && !found.starts_with("https:") {
                true => Err(format!("`{name}` of its document is not safe")),
                false => Ok(found),
            }
        };
        let ways = read.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let takes = |way: &str| ways.is_some_and(|ways| ways.iter().any(|it| it == way));
        Ok(Self {
            authorization: address("authorization_endpoint")?,
            token: address("token_endpoint")?,
            keys: address("jwks_uri")?,
            has_iss: read.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
            is_post: takes("client_secret_post") && !takes("client_secret_basic"),
        })
    }
}

impl Provider {
    /// Who a token is about.
    fn person(
        &self,
        claims: &Map<String, Value>,
        nonce: &str,
        now_s: i64,
    ) -> Result<Person, &'static str> {
        let is_plain =
            |it: &String| it.len() <= IDENTITY_NAME_BYTES_MAX && !it.chars().any(char::is_control);
        let said = |name: &str| text(claims, name).filter(is_plain);
        if said("iss").as_deref() != Some(&self.issuer) {
            return Err("the token is of another issuer");
        }
        let is_for_us = match claims.get("aud") {
            Some(Value::String(only)) => *only == self.client,
            Some(Value::Array(all)) => {
                let is_named = all.iter().any(|it| it.as_str() == Some(&self.client));
                is_named && (all.len() == 1 || said("azp").as_deref() == Some(&self.client))
            }
            _ => false,
        };
        if !is_for_us || claims.contains_key("azp") && said("azp").as_deref() != Some(&self.client)
        {
            return Err("the token is for another client");
        }
        let time = |name: &str| claims.get(name)?.as_i64();
        if time("exp").is_none_or(|it| it.saturating_add(LEEWAY_S) <= now_s) {
            return Err("the token has expired");
        }
        if time("iat").is_none_or(|it| it.saturating_sub(LEEWAY_S) > now_s) {
            return Err("the token is of the future");
        }
        if time("nbf").is_some_and(|it| it.saturating_sub(LEEWAY_S) > now_s) {
            return Err("the token is not valid yet");
        }
        let shown = said("nonce").unwrap_or_default();
        if verify_slices_are_equal(shown.as_bytes(), nonce.as_bytes()).is_err() {
            return Err("the token is of another login");
        }
        let subject = said("sub").filter(|it| !it.is_empty()).ok_or("the token is about nobody")?;
        let email = said("email").filter(|it| name::title("/email", it).is_ok());
        let email = email.unwrap_or_default();
        let local = email.split_once('@').map(|(local, _)| local.to_owned());
        let names = [said("preferred_username"), local, Some(subject.clone())];
        let names = names.into_iter().flatten().collect();
        Ok(Person { subject, names, email, groups: groups(claims, &self.groups)? })
    }
}

/// The groups that a claim names.
fn groups(claims: &Map<String, Value>, claim: &str) -> Result<BTreeSet<String>, &'static str> {
    let within = || {
        let mut parts = claim.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    };
    match claims.get(claim).or_else(within) {
        None | Some(Value::Null) => Ok(BTreeSet::new()),
        Some(Value::String(only)) => Ok(BTreeSet::from([only.clone()])),
        Some(Value::Array(all)) if all.len() <= IDENTITY_GROUPS_MAX => {
            Ok(all.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect())
        }
        Some(Value::Array(_)) => Err("the token names too many groups"),
        Some(_) => Err("the claim of groups is no list of names"),
    }
}

/// A name as it can stand anywhere, of what somebody is called elsewhere.
fn plain_name(text: &str) -> Option<String> {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-' | '_') => c,
        _ => '-',
    };
    let name: String = text.chars().map(plain).take(NAME_KEPT_MAX).collect();
    let name = name.trim_matches(['-', '_']);
    (!name.is_empty()).then(|| name.to_owned())
}

impl Providers {
    pub(crate) fn new(all: Vec<Provider>, way: Arc<dyn Way>) -> Self {
        Self { way, all: all.into_iter().map(|it| (it, Mutex::default())).collect() }
    }

    fn find(&self, name: &str) -> Option<(&Provider, &Mutex<Known>)> {
        self.all.iter().find(|(it, _)| it.name == name).map(|(it, known)| (it, known))
    }

    async fn document(&self, url: &str) -> Result<Vec<u8>, Problem> {
        let ask = Ask { url: url.to_owned(), form: None, authorization: None };
        match self.way.ask(ask).await {
            Ok((200, body)) => Ok(body),
            Ok((status, _)) => Err(unavailable(format!("{url} answers {status}"))),
            Err(why) => Err(unavailable(why)),
        }
    }

    /// What a provider says of itself.
    async fn says(
        &self,
        (provider, known): (&Provider, &Mutex<Known>),
        clock: &Clock,
    ) -> Result<Says, Problem> {
        let now = clock.now();
        let fresh = lock(known).says.clone().filter(|(at, _)| now < *at + BELIEVED);
        if let Some((_, says)) = fresh {
            return Ok(says);
        }
        let issuer = provider.issuer.trim_end_matches('/');
        let document = self.document(&format!("{issuer}/.well-known/openid-configuration")).await?;
        let says = Says::read(&provider.issuer, &document);
        let says = says.map_err(|why| unavailable(format!("{}: {why}", provider.issuer)))?;
        lock(known).says = Some((now, says.clone()));
        Ok(says)
    }

    /// The keys of a provider; newer ones than before, where they lack one.
    async fn keys(
        &self,
        known: &Mutex<Known>,
        (url, lacks_one): (&str, bool),
        clock: &Clock,
    ) -> Result<Arc<[u8]>, Problem> {
        let now = clock.now();
        let good_for = if lacks_one { KEYS_COOLDOWN } else { BELIEVED };
        let fresh = lock(known).keys.clone().filter(|(at, _)| now < *at + good_for);
        if let Some((_, keys)) = fresh {
            return Ok(keys);
        }
        let keys: Arc<[u8]> = self.document(url).await?.into();
        lock(known).keys = Some((now, Arc::clone(&keys)));
        Ok(keys)
    }

    /// What a token says, if the provider signed it.
    async fn claims(
        &self,
        known: &Mutex<Known>,
        (url, token): (&str, &str),
        clock: &Clock,
    ) -> Result<Map<String, Value>, Problem> {
        for lacks_one in [false, true] {
            let keys = self.keys(known, (url, lacks_one), clock).await?;
            match self.way.verify(&keys, token) {
                Ok(Signed::By(claims)) => return Ok(claims),
                Ok(Signed::Unknown) => {}
                Err(why) => return Err(refused(why)),
            }
        }
        Err(refused("the token is signed by a key that the provider does not publish"))
    }

    /// Exchanges a code for a token (OpenID Connect Core 1.0, 3.1.3).
    async fn token(
        &self,
        provider: &Provider,
        says: &Says,
        fields: &[(&str, &str)],
    ) -> Result<String, Problem> {
        let mut fields = fields.to_vec();
        let mut authorization = None;
        match &provider.secret {
            Some(secret) if !says.is_post => {
                // RFC 6749, 2.3.1: both are encoded as in a form before they are put together.
                let [id, secret] = [&*provider.client, secret.reveal()].map(encoded);
                authorization = Some(Secret::new(format!(
                    "Basic {}",
                    STANDARD.encode(format!("{id}:{secret}"))
                )));
            }
            Some(secret) => fields
                .extend([("client_id", &*provider.client), ("client_secret", secret.reveal())]),
            None => fields.push(("client_id", &provider.client)),
        }
        let ask =
            Ask { url: says.token.clone(), form: Some(Secret::new(form(&fields))), authorization };
        let (status, body) = self.way.ask(ask).await.map_err(unavailable)?;
        let told: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
        if status != 200 {
            let error: String = text(&told, "error").unwrap_or_default().chars().take(64).collect();
            let told = format!("{} answers {status} {}", says.token, error.escape_debug());
            return Err(if status >= 500 { unavailable(told) } else { refused(told) });
        }
        text(&told, "id_token")
            .ok_or_else(|| refused("the provider sent no ID token; is `openid` among the scopes?"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
