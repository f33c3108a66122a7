//! The control plane: a database, and an admin API to it.

use crate::listener::CertificateFiles;
use crate::map::Map;
use base::{Placed, Text};
use schemars::JsonSchema;
use serde::Deserialize;

/// Port of the admin API on loopback, unless said otherwise.
pub const CONTROL_PORT: u16 = 9181;

/// The control plane: users, workspaces and what they publish, in a database, and an admin API to it. `control: {}` is
/// enough; without this field there is none of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlPlane {
    /// Address of the admin API; `127.0.0.1:9181` unless said otherwise. Nobody does anything there without a login. Where
    /// others than this machine reach it, it takes `tls`, or `plain` with a reason.
    pub bind: Option<Placed<Text>>,
    /// Certificate and key with which the admin API is served by TLS. Changed files are read again.
    pub tls: Option<CertificateFiles>,
    /// Why passwords and tokens may come to an address beyond this machine without TLS, such as `the load balancer ends TLS`:
    /// browsers are told all the same to send sessions by HTTPS only.
    pub plain: Option<Placed<String>>,
    /// Names under which the admin API may be asked for, besides addresses and `localhost`: a web page could reach it
    /// under a name of its own. On loopback others are refused, elsewhere only if there are names here.
    #[serde(default)]
    pub hosts: Vec<Placed<String>>,
    /// Where the database is: `postgres://user:${env:PASSWORD}@host/name`. Unless said otherwise it is the file `yett.db`
    /// in `state_dir`, made at the first start.
    pub database: Option<Placed<Text>>,
    /// The keys by which secrets in the database are encrypted, lines of a number and 64 hexadecimal digits:
    /// `${file:/run/secrets/master}`. Unless
    /// said otherwise it is the file `master.key` in `state_dir`, made at the first start.
    pub master_key: Option<Placed<Text>>,
    /// Where browsers reach the admin API, if TLS or another name is in front of it: `https://yett.example.com`. Cookies are
    /// for TLS only then. Identity providers send people back there.
    pub url: Option<Placed<Text>>,
    /// Identity providers by which people log in besides their passwords (OpenID Connect), each with a name of its own.
    /// What is said here holds from the next start on.
    #[serde(default)]
    pub providers: Map<Placed<Provider>>,
    /// Whether there is no control plane after all.
    #[serde(default)]
    pub off: bool,
}

/// An identity provider. Register `URL/login/from/NAME` there as the address to which people are sent back.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// What people call it; its name unless said otherwise.
    #[serde(default)]
    pub title: String,
    /// Its name for itself, whose `/.well-known/openid-configuration` tells the rest: `https://idp.example.com/realms/corp`.
    pub issuer: Placed<String>,
    /// What this gateway is called there.
    pub client_id: Placed<Text>,
    /// The secret that goes with it: `${env:CLIENT_SECRET}`. Without one the code alone proves who asks (PKCE).
    pub client_secret: Option<Placed<Text>>,
    /// What to ask for besides `openid`; `profile` and `email` unless said otherwise.
    pub scopes: Option<Vec<String>>,
    /// The claim of ID tokens that names groups; `groups` unless said otherwise. Dots lead into claims:
    /// `realm_access.roles`.
    #[serde(default)]
    pub groups: String,
    /// Which roles groups have. They are looked at anew at each login; who is in none of these groups does not come in.
    pub roles: Vec<GroupRole>,
}

/// The role of a group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupRole {
    /// The group, as the provider calls it.
    pub group: String,
    /// A role: `owner`, `admin`, `publisher`, `auditor`, `viewer`, `support`, or one of your own.
    pub role: String,
    /// The workspace in which they have it; all of them unless said otherwise.
    pub workspace: Option<String>,
}

impl ControlPlane {
    /// Whether what is sent to it passes a network that others read, for no reason that is said.
    #[must_use]
    pub fn is_in_plain(&self) -> bool {
        let is_https = |url: &Placed<Text>| url.value.to_string().starts_with("https:");
        self.tls.is_none()
            && self.plain.as_ref().is_none_or(|why| why.value.trim().is_empty())
            && !self.url.as_ref().is_some_and(is_https)
    }
}
