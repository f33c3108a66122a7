//! Who calls: the identified client of a request, and by what it proves who it is.

use crate::Map;
use base::certificate_name::{DistinguishedName, alternative_name};
use base::decode::short_or_long;
use base::{Moment, Placed, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// Hashes of passwords.
pub mod password;

/// Someone or something that calls.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// Groups it belongs to, for policies to ask about.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What it may do, for `rbac`: names of `roles`.
    #[serde(default)]
    pub roles: Vec<Placed<String>>,
    /// The plan by which it uses APIs; the default one, if there is one, when left out.
    pub plan: Option<Placed<String>>,
    /// Its API keys, only ever as hashes; `yett key create` makes one.
    #[serde(default)]
    pub keys: Vec<Placed<ApiKey>>,
    /// Its user names and passwords, for `basic`.
    #[serde(default)]
    pub basic: Vec<Placed<BasicLogin>>,
    /// Secrets with which it signs requests, for `hmac`.
    #[serde(default)]
    pub hmac: Vec<Placed<HmacKey>>,
    /// Certificates it shows, for `mtls`.
    #[serde(default)]
    pub certificates: Vec<Placed<CertificateMatch>>,
    /// Whom issuers of tokens mean by it, for `jwt` and `introspection`.
    #[serde(default)]
    pub tokens: Vec<Placed<TokenSubject>>,
    /// Its applications, each with credentials of its own.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}))]
    pub applications: Map<Application>,
}

/// One of several programs of a consumer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The only roles that it makes use of, of all that its consumer has; all of them unless said otherwise.
    pub roles: Option<Vec<Placed<String>>>,
    /// The plan by which it uses APIs; its consumer's when left out.
    pub plan: Option<Placed<String>>,
    /// Its API keys, only ever as hashes; `yett key create` makes one.
    #[serde(default)]
    pub keys: Vec<Placed<ApiKey>>,
    /// Its user names and passwords, for `basic`.
    #[serde(default)]
    pub basic: Vec<Placed<BasicLogin>>,
    /// Secrets with which it signs requests, for `hmac`.
    #[serde(default)]
    pub hmac: Vec<Placed<HmacKey>>,
    /// Certificates it shows, for `mtls`.
    #[serde(default)]
    pub certificates: Vec<Placed<CertificateMatch>>,
    /// Whom issuers of tokens mean by it, for `jwt` and `introspection`.
    #[serde(default)]
    pub tokens: Vec<Placed<TokenSubject>>,
}

/// All credentials of a consumer, or of one of its applications.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The application, if they are one's.
    pub application: Option<&'a Placed<String>>,
    /// The only roles of the consumer that it makes use of; all if there are none.
    pub roles: Option<&'a [Placed<String>]>,
    /// The plan of that application, if it is another than its consumer's.
    pub plan: Option<&'a Placed<String>>,
    /// API keys.
    pub keys: &'a [Placed<ApiKey>],
    /// User names and passwords.
    pub basic: &'a [Placed<BasicLogin>],
    /// Secrets by which messages are signed.
    pub hmac: &'a [Placed<HmacKey>],
    /// Certificates.
    pub certificates: &'a [Placed<CertificateMatch>],
    /// Subjects of tokens.
    pub tokens: &'a [Placed<TokenSubject>],
}

impl Consumer {
    /// Its own credentials, then those of its applications.
    pub fn credentials(&self) -> impl Iterator<Item = Credentials<'_>> {
        let own = Credentials {
            application: None,
            roles: None,
            plan: None,
            keys: &self.keys,
            basic: &self.basic,
            hmac: &self.hmac,
            certificates: &self.certificates,
            tokens: &self.tokens,
        };
        let of_applications = self.applications.iter().map(|(name, application)| Credentials {
            application: Some(name),
            roles: application.roles.as_deref(),
            plan: application.plan.as_ref(),
            keys: &application.keys,
            basic: &application.basic,
            hmac: &application.hmac,
            certificates: &application.certificates,
            tokens: &application.tokens,
        });
        std::iter::once(own).chain(of_applications)
    }
}

impl<'a> Credentials<'a> {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.basic.is_empty()
            && self.hmac.is_empty()
            && self.certificates.is_empty()
            && self.tokens.is_empty()
    }

    /// What all of them are called, and when they are valid.
    pub fn validities(self) -> impl Iterator<Item = Validity> + use<'a> {
        let keys = self.keys.iter().map(|it| it.validity.clone());
        let certificates = self.certificates.iter().map(|it| it.validity());
        let tokens = self.tokens.iter().map(|it| it.validity());
        let basic = self.basic.iter().map(|it| it.validity());
        keys.chain(certificates)
            .chain(tokens)
            .chain(basic)
            .chain(self.hmac.iter().map(|it| it.validity()))
    }
}

/// What all credentials have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// What people call it, for logs.
    pub name: Option<String>,
    /// When it begins to be valid.
    pub from: Option<Placed<Moment>>,
    /// When it stops being valid.
    pub expires: Option<Placed<Moment>>,
}

/// The hash of an API key: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// Its name and its times.
    pub validity: Validity,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyLong {
    /// `sha256:` and 64 hexadecimal digits.
    hash: HashText,
    /// What people call it, for logs.
    name: Option<String>,
    /// When it begins to be valid; from ever unless said otherwise.
    from: Option<Placed<Moment>>,
    /// When it stops being valid; never unless said otherwise.
    expires: Option<Placed<Moment>>,
}

/// A user name and a password (RFC 7617).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicLogin {
    /// The user name; nobody else has the same.
    #[schemars(length(min = 1, max = 256))]
    pub username: String,
    /// The hash of the password by argon2id, as `yett password hash` prints it.
    pub password: Placed<Text>,
    /// What people call it, for logs; the user name unless said otherwise.
    pub name: Option<String>,
    /// When it begins to be valid; from ever unless said otherwise.
    pub from: Option<Placed<Moment>>,
    /// When it stops being valid; never unless said otherwise.
    pub expires: Option<Placed<Moment>>,
}

/// A secret with which requests are signed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacKey {
    /// By what a signature names the secret (`keyid`); nobody else has the same.
    #[schemars(length(min = 1, max = 256))]
    pub id: String,
    /// The secret, by reference: `${env:SHOP_SECRET}`. At least 32 bytes.
    pub secret: Placed<Text>,
    /// What people call it, for logs; the id unless said otherwise.
    pub name: Option<String>,
    /// When it begins to be valid; from ever unless said otherwise.
    pub from: Option<Placed<Moment>>,
    /// When it stops being valid; never unless said otherwise.
    pub expires: Option<Placed<Moment>>,
}

/// A certificate by what it says: one of `fingerprint`, `subject` and `san`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateMatch {
    /// The SHA-256 digest of its DER form: 64 hexadecimal digits, with or without colons.
    pub fingerprint: Option<String>,
    /// Whom it is for, as `openssl x509 -noout -subject` shows it, its parts in the order of the certificate:
    /// `C=GB, O=Example, CN=shop`. A comma within a part is written `\\,` (RFC 4514).
    pub subject: Option<String>,
    /// One of its alternative names: `dns:shop.example.com`, `email:shop@example.com`, `uri:spiffe://example/shop` or
    /// `ip:192.0.2.7`.
    pub san: Option<String>,
    /// Who signed it: the subject of one of the listener's authorities (`ca`), or `sha256:` and the fingerprint of the
    /// certificate of any authority on the way there. Anybody whom the listener trusts unless said otherwise.
    pub issuer: Option<String>,
    /// What people call it, for logs; what it is found by unless said otherwise.
    pub name: Option<String>,
    /// When it begins to be valid; from ever unless said otherwise.
    pub from: Option<Placed<Moment>>,
    /// When it stops being valid; never unless said otherwise.
    pub expires: Option<Placed<Moment>>,
}

/// Whom an issuer of tokens means by a subject.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenSubject {
    /// The issuer, exactly as tokens say it (`iss`).
    pub issuer: String,
    /// The subject (`sub`), or what the policy reads the subject from.
    pub subject: String,
    /// What people call it, for logs; the subject unless said otherwise.
    pub name: Option<String>,
    /// When it begins to be valid; from ever unless said otherwise.
    pub from: Option<Placed<Moment>>,
    /// When it stops being valid; never unless said otherwise.
    pub expires: Option<Placed<Moment>>,
}

macro_rules! validity {
    ($($type:ident: $default:expr),*) => {$(
        impl $type {
            /// Its name and its times.
            #[must_use]
            pub fn validity(&self) -> Validity {
                let default: fn(&Self) -> Option<&String> = $default;
                let name = self.name.as_ref().or_else(|| default(self)).cloned();
                Validity { name, from: self.from.clone(), expires: self.expires.clone() }
            }
        }
    )*};
}

validity! {
    BasicLogin: |it| Some(&it.username),
    HmacKey: |it| Some(&it.id),
    CertificateMatch: |it| it.fingerprint.as_ref().or(it.subject.as_ref()).or(it.san.as_ref()),
    TokenSubject: |it| Some(&it.subject)
}

/// By what a certificate is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FoundBy {
    /// Its digest, in lower-case hexadecimal digits.
    Fingerprint(String),
    /// Whom it is for.
    Subject(String),
    /// The kind of an alternative name, and the name.
    San(&'static str, String),
}

/// Kinds of alternative names.
pub const SAN_KINDS: [&str; 4] = ["dns", "email", "uri", "ip"];

impl CertificateMatch {
    /// Who must have signed it: the name of an authority, or `sha256:` and the digest of its certificate.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn issued_by(&self) -> Result<Option<String>, String> {
        let Some(issuer) = &self.issuer else { return Ok(None) };
        let digest = issuer.trim().strip_prefix("sha256:");
        Ok(Some(match digest {
            Some(digits) => format!("sha256:{}", fingerprint(digits)?),
            None => DistinguishedName::parse(issuer)?.to_string(),
        }))
    }

    /// By what it is found.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn found_by(&self) -> Result<FoundBy, String> {
        match (&self.fingerprint, &self.subject, &self.san) {
            (Some(text), None, None) => fingerprint(text).map(FoundBy::Fingerprint),
            (None, Some(subject), None) if !subject.trim().is_empty() => {
                Ok(FoundBy::Subject(DistinguishedName::parse(subject)?.to_string()))
            }
            (None, None, Some(san)) => {
                let (kind, name) = san.split_once(':').unwrap_or(("", san));
                // As openssl shows them as well.
                let is_kind = |known: &&str| {
                    known.eq_ignore_ascii_case(kind)
                        || (*known == "ip" && kind.eq_ignore_ascii_case("ip address"))
                };
                let kind = SAN_KINDS.into_iter().find(is_kind);
                let name = kind.and_then(|kind| Some((kind, alternative_name(kind, name.trim())?)));
                match name {
                    Some((kind, name)) => Ok(FoundBy::San(kind, name)),
                    None => Err(format!(
                        "`{san}` is no alternative name such as `dns:shop.example.com`, `email:…`, `uri:…` or `ip:…`"
                    )),
                }
            }
            _ => {
                Err("a certificate is found by one of `fingerprint`, `subject` and `san`"
                    .to_owned())
            }
        }
    }
}

fn fingerprint(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).replace(':', "");
    let is_digest = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let wrong = "a fingerprint is a SHA-256 digest: 64 hexadecimal digits";
    is_digest.then(|| digits.to_ascii_lowercase()).ok_or_else(|| wrong.to_owned())
}

#[derive(JsonSchema)]
#[schemars(transparent)]
struct HashText(#[schemars(with = "String", regex(pattern = r"^sha256:[0-9a-f]{64}$"))] [u8; 32]);

impl<'de> Deserialize<'de> for HashText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hash(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl From<ApiKeyLong> for ApiKey {
    fn from(long: ApiKeyLong) -> Self {
        let ApiKeyLong { hash, name, from, expires } = long;
        Self { hash: hash.0, validity: Validity { name, from, expires } }
    }
}

impl ApiKey {
    /// Reads the short form.
    ///
    /// # Errors
    /// A sentence that says what is expected; it never repeats what was written, which may be a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse_hash(text).map(|hash| Self { hash, validity: Validity::default() })
    }
}

fn parse_hash(text: &str) -> Result<[u8; 32], String> {
    let wrong = || {
        "a key is kept as its hash, `sha256:` and 64 hexadecimal digits; `yett key create` makes one"
            .to_owned()
    };
    let digits = text.strip_prefix("sha256:").filter(|d| d.len() == 64).ok_or_else(wrong)?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

impl<'de> Deserialize<'de> for ApiKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, ApiKeyLong, Self>(
            deserializer,
            "the hash of a key (`sha256:…`), or `{ hash, name, from, expires }`",
            Self::parse,
        )
    }
}

impl JsonSchema for ApiKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ApiKey".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<ApiKeyLong>();
        schemars::json_schema!({
            "oneOf": [{ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" }, long]
        })
    }
}
