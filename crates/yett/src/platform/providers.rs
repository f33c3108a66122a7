//! Identity providers: what the config says of them, the way to them, and what they have signed.

use super::place::resolve;
use super::{Shared, lock};
use crate::disk::Disk;
use base::caps::{IDENTITY_ANSWER_BYTES_MAX, KEY_SET_BYTES_MAX};
use base::{Placed, Secret, Text};
use bytes::Bytes;
use control::provider::{Ask, Asking, GroupRole, Provider, Signed, Way};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Uri};
use model::map::Map;
use policy::jose::{KeySet, Message, Verdict};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use traffic::outbound::{Destination, read};
use traffic::{Body, Headers, Outbound, Request};

/// What is asked for unless said otherwise, besides `openid`.
const SCOPES: [&str; 2] = ["profile", "email"];
/// The claim that names groups, unless said otherwise.
const GROUPS: &str = "groups";

/// Where browsers reach the admin API.
pub(super) fn url(written: &Placed<Text>, disk: &Disk) -> Result<String, String> {
    let text = resolve(written, disk)?.reveal().trim_end_matches('/').to_owned();
    let wrong = || {
        let wanted = "an address such as `https://yett.example.com`, without a path";
        format!("{}: `{}` is not {wanted}", written.place, written.value)
    };
    let parsed: Uri = text.parse().map_err(|_| wrong())?;
    let is_known = matches!(parsed.scheme_str(), Some("http" | "https"));
    let is_whole = parsed.path().len() < 2 && parsed.query().is_none();
    let has_host = parsed.authority().is_some_and(|it| !it.as_str().contains('@'));
    if is_known && is_whole && has_host { Ok(text) } else { Err(wrong()) }
}

/// The name of the host in such an address.
pub(super) fn host(url: &str) -> Option<String> {
    url.parse::<Uri>().ok()?.host().map(str::to_owned)
}

/// All providers of a config.
pub(super) fn all(
    written: &Map<Placed<model::control::Provider>>,
    disk: &Disk,
) -> Result<Vec<Provider>, String> {
    written.iter().map(|(name, provider)| one(name, provider, disk)).collect()
}

fn one(
    name: &Placed<String>,
    written: &Placed<model::control::Provider>,
    disk: &Disk,
) -> Result<Provider, String> {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
    if name.value.is_empty() || name.value.len() > 63 || !name.value.bytes().all(is_plain) {
        let wanted = "up to 63 small letters, digits, `-` and `_`";
        return Err(format!("{}: the name of a provider has {wanted}", name.place));
    }
    let told = &written.value;
    let issuer = &told.issuer;
    if !is_safe(&issuer.value) {
        return Err(format!(
            "{}: `{}` is no address of `https`, without `?` and `#`",
            issuer.place, issuer.value
        ));
    }
    if told.roles.is_empty() {
        return Err(format!(
            "{}: no group has a role, so that nobody could come in: `roles: [{{ group: …, role: … }}]`",
            written.place
        ));
    }
    let role = |it: &model::control::GroupRole| GroupRole {
        group: it.group.clone(),
        role: it.role.clone(),
        workspace: it.workspace.clone(),
    };
    let more = told.scopes.clone().unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec());
    let scopes =
        std::iter::once("openid".to_owned()).chain(more.into_iter().filter(|it| it != "openid"));
    let or = |text: &str, other: &str| if text.is_empty() { other } else { text }.to_owned();
    Ok(Provider {
        name: name.value.clone(),
        title: or(&told.title, &name.value),
        issuer: issuer.value.clone(),
        client: resolve(&told.client_id, disk)?.reveal().to_owned(),
        secret: told.client_secret.as_ref().map(|it| resolve(it, disk)).transpose()?,
        scopes: scopes.collect::<Vec<_>>().join(" "),
        groups: or(&told.groups, GROUPS),
        roles: told.roles.iter().map(role).collect(),
    })
}

/// Whether what is told at an address can be believed: it comes by TLS, or from this machine.
fn is_safe(issuer: &str) -> bool {
    let Ok(parsed) = issuer.parse::<Uri>() else { return false };
    let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    let is_whole = parsed.query().is_none() && !issuer.contains('#') && !issuer.contains('@');
    is_whole
        && (parsed.scheme_str() == Some("https") || parsed.scheme_str() == Some("http") && is_here)
}

/// The way to providers: that of the program's own requests.
pub(super) fn way_of(shared: &Arc<Shared>) -> Arc<dyn Way> {
    Arc::new(ByConfig(Arc::downgrade(shared)))
}

struct ByConfig(Weak<Shared>);

impl fmt::Debug for ByConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByConfig")
    }
}

impl ByConfig {
    fn outbound(&self) -> Result<Arc<dyn Outbound>, String> {
        let found = self.0.upgrade().and_then(|shared| lock(&shared.outbound).clone());
        found.ok_or_else(|| "the gateway does not serve yet".to_owned())
    }
}

impl Way for ByConfig {
    fn ask(&self, ask: Ask) -> Asking<'_> {
        Box::pin(async move {
            let outbound = self.outbound()?;
            let Ask { url, form, authorization } = ask;
            // What stands behind a `?` is no business of the log.
            let shown = url.split(['?', '#']).next().unwrap_or_default().to_owned();
            let mut destination = Destination::parse(&url)?;
            // A code works once.
            destination.retries_max = u32::from(form.is_none());
            let remote = outbound.open(destination)?;
            let told = |fault: traffic::Fault| match &fault.cause {
                Some(cause) => format!("{shown}: {cause}"),
                None => format!("{shown}: {}", fault.code.name()),
            };
            let request = request(remote.target().clone(), form, authorization)?;
            let answer = remote.call(None, request).await.map_err(told)?;
            let bytes_max = KEY_SET_BYTES_MAX.max(IDENTITY_ANSWER_BYTES_MAX);
            let body = read(answer.body, bytes_max).await.map_err(told)?;
            Ok((answer.status.as_u16(), body.to_vec()))
        })
    }

    fn verify(&self, keys: &[u8], token: &str) -> Result<Signed, String> {
        let keys = KeySet::parse(keys)?;
        let message = Message::parse(token)?;
        match keys.judge(&message) {
            Verdict::Signed => {
                let claims = serde_json::from_slice(&message.payload);
                claims.map(Signed::By).map_err(|_| "the token says nothing in JSON".to_owned())
            }
            Verdict::Forged => Err("the token is not signed by the key that it names".to_owned()),
            Verdict::Unknown => Ok(Signed::Unknown),
        }
    }
}

fn request(
    target: http::uri::PathAndQuery,
    form: Option<Secret>,
    authorization: Option<Secret>,
) -> Result<Request, String> {
    let mut headers = Headers::new();
    headers.append(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(authorization) = authorization {
        let value = HeaderValue::try_from(authorization.reveal());
        let mut value = value.map_err(|_| "the client's secret cannot be sent".to_owned())?;
        value.set_sensitive(true);
        headers.append(AUTHORIZATION, value);
    }
    let (method, body) = match form {
        None => (Method::GET, Body::empty()),
        Some(form) => {
            let bytes = Bytes::from(form.reveal().to_owned());
            let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.append(CONTENT_TYPE, media_type);
            headers.append(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            (Method::POST, Body::full(bytes))
        }
    };
    Ok(Request { method, target, headers, body, protocol: None })
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn who_can_be_believed_comes_by_tls_or_from_here() {
        for safe in [
            "https://idp.example.com/realms/a",
            "http://127.0.0.1:9",
            "http://[::1]:9",
            "http://localhost:9/x",
        ] {
            assert!(is_safe(safe), "{safe}");
        }
        for other in [
            "",
            "idp.example.com",
            "http://idp.example.com",
            "https://a/?x",
            "https://a/#x",
            "https://u@a",
            "ftp://a",
        ] {
            assert!(!is_safe(other), "{other}");
        }
    }
}
