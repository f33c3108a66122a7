use super::{Ask, Provider, Signed, Way, refused, unavailable};
use crate::Problem;
use base::{Clock, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what a provider says of itself, and its keys, are believed.
const BELIEVED: Duration = Duration::from_secs(600);
/// How long keys that lack one are not asked for again.
const KEYS_COOLDOWN: Duration = Duration::from_secs(10);

/// All providers, with what is known of them.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    way: Arc<dyn Way>,
    pub(super) all: Arc<[(Provider, Mutex<Known>)]>,
}

/// What a provider has said.
#[derive(Debug, Default)]
pub(super) struct Known {
    says: Option<(Instant, Says)>,
    keys: Option<(Instant, Arc<[u8]>)>,
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, 3).
#[derive(Clone, Debug)]
pub(super) struct Says {
    pub(super) authorization: String,
    pub(super) token: String,
    pub(super) keys: String,
    /// Whether its answers name it (RFC 9207, 3).
    pub(super) has_iss: bool,
    /// Whether the secret goes into the form, since it takes no other way.
    pub(super) is_post: bool,
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

impl Providers {
    pub(crate) fn new(all: Vec<Provider>, way: Arc<dyn Way>) -> Self {
        Self { way, all: all.into_iter().map(|it| (it, Mutex::default())).collect() }
    }

    pub(super) fn find(&self, name: &str) -> Option<(&Provider, &Mutex<Known>)> {
        self.all.iter().find(|(it, _)| it.name == name).map(|(it, known)| (it, known))
    }

    pub(super) async fn document(&self, url: &str) -> Result<Vec<u8>, Problem> {
        let ask = Ask { url: url.to_owned(), form: None, authorization: None };
        match self.way.ask(ask).await {
            Ok((200, body)) => Ok(body),
            Ok((status, _)) => Err(unavailable(format!("{url} answers {status}"))),
            Err(why) => Err(unavailable(why)),
        }
    }

    /// What a provider says of itself.
    pub(super) async fn says(
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
    pub(super) async fn keys(
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
    pub(super) async fn claims(
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
    pub(super) async fn token(
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

/// With all that is not plain in `%`.
pub(super) fn encoded(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~');
    let one = |c: u8| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") };
    text.bytes().map(one).collect()
}

/// Fields as they stand in a query or a form.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", encoded(value));
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

pub(super) fn text(from: &Map<String, Value>, name: &str) -> Option<String> {
    from.get(name)?.as_str().map(str::to_owned)
}
