//! Credentials: by what a consumer, or one of its applications, proves who it is. What the platform makes is shown once;
//! nothing that is secret can be read later.

use crate::page::{Ask, Page};
use crate::permission::{Permission, Verb};
use crate::{Caller, Control, Problem, name, problem};
use aws_lc_rs::digest::{Context, SHA256, digest};
use base::caps::{API_KEY_BYTES_MAX, CREDENTIAL_ID_BYTES_MAX, HMAC_SECRET_BYTES_MIN};
use base::{Secret, token};
use model::consumer::{ApiKey, CertificateMatch, FoundBy, password};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use store::credential::Written;
use store::envelope::of_credential;

const NOUN: &str = "credential";

/// What API keys begin with.
const KEY: &str = "yett_";
/// Letters of a key that are kept to tell it by.
const HINT_LETTERS: usize = 9;
/// Bytes of a secret by which messages are signed, at most.
const SECRET_BYTES_MAX: usize = 4_096;
/// How long a credential may go on beside the one that replaces it.
const KEPT_MS_MAX: i64 = 366 * 86_400_000;

/// How a credential proves who shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whoever has the key is it.
    ApiKey,
    /// A user name and a password, for `basic`.
    Password,
    /// A secret by which messages are signed, for `hmac`.
    SharedSecret,
    /// A certificate, or a name in one, for `mtls`.
    Certificate,
    /// Issuer and subject of a token, for `jwt` and `introspection`.
    Token,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ApiKey, Self::Password, Self::SharedSecret, Self::Certificate, Self::Token];

    /// As it is written, and as logs of gateways call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Password => "password",
            Self::SharedSecret => "shared_secret",
            Self::Certificate => "certificate",
            Self::Token => "token",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// By what one of several parts is found; lengths keep two lists of parts from being one text.
    fn hash(self, parts: &[&str]) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        context.update(self.name().as_bytes());
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.finish().as_ref().to_vec()
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A credential, without what is secret of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// Its id.
    pub id: String,
    /// The id of its consumer.
    pub consumer: String,
    /// The id of its application; none of what is the consumer's own.
    pub application: Option<String>,
    /// How it proves who shows it.
    pub kind: Kind,
    /// What people call it.
    pub name: String,
    /// What people tell it by, such as the first letters of a key.
    pub hint: String,
    /// What it says of who shows it: the user name, the id of a secret, names of a certificate, issuer and subject of a
    /// token.
    pub says: Value,
    /// When it begins to be valid; from ever if there is no time. Milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// When it stops being valid; never if there is no time. Milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// By what somebody shall prove who they are.
#[derive(Clone, Debug)]
pub enum Proof<'a> {
    /// A key: a new one, unless the hash of one is given that was made elsewhere (`sha256:` and 64 digits).
    ApiKey {
        /// The hash of a key that was made elsewhere.
        hash: Option<&'a str>,
    },
    /// A user name with a password: a new one unless it or its hash (a PHC string of argon2id) is given.
    Password {
        /// The user name.
        username: &'a str,
        /// The password.
        password: Option<Secret>,
        /// Its hash.
        hash: Option<&'a str>,
    },
    /// A secret by which messages are signed, and by what signatures name it: new ones unless they are given.
    SharedSecret {
        /// By what signatures name it (`keyid`).
        id: Option<&'a str>,
        /// The secret.
        secret: Option<Secret>,
    },
    /// A certificate by one of `fingerprint`, `subject` and `san`, and by who must have signed it.
    Certificate(CertificateMatch),
    /// Whom an issuer of tokens means.
    Token {
        /// The issuer, exactly as tokens say it.
        issuer: &'a str,
        /// The subject.
        subject: &'a str,
    },
}

/// What is sent of a credential.
#[derive(Clone, Debug)]
pub struct Sent<'a> {
    /// What people call it.
    pub name: &'a str,
    /// By what somebody shall prove who they are.
    pub proof: Proof<'a>,
    /// When it begins to be valid, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// When it stops being valid, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

/// A credential that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What can be read of it later.
    pub credential: Credential,
    /// The key, password or secret, if the platform made it: this is the only time that it is shown.
    pub shown: Option<Secret>,
}

/// What becomes of a proof.
struct Forged {
    hash: Vec<u8>,
    hint: String,
    says: Value,
    /// The hash of a password.
    password: Option<String>,
    /// What is to be encrypted.
    secret: Option<Secret>,
    shown: Option<Secret>,
}

impl From<store::credential::Credential> for Credential {
    fn from(kept: store::credential::Credential) -> Self {
        let store::credential::Credential { id, consumer, application, name, hint, .. } = kept;
        let kind = Kind::parse(&kept.kind).unwrap_or(Kind::ApiKey);
        // It was JSON when it was kept.
        let says = serde_json::from_str(&kept.body).unwrap_or_default();
        let (from_ms, expires_ms, revision) = (kept.from_ms, kept.expires_ms, kept.revision);
        let (created_ms, updated_ms) = (kept.created_ms, kept.updated_ms);
        Self {
            id,
            consumer,
            application,
            kind,
            name,
            hint,
            says,
            from_ms,
            expires_ms,
            revision,
            created_ms,
            updated_ms,
        }
    }
}

fn fresh(prefix: &str) -> Result<Secret, Problem> {
    token::generate(prefix).map_err(problem::random)
}

fn identifier<'a>(pointer: &str, text: &'a str) -> Result<&'a str, Problem> {
    let is_fine = !text.is_empty()
        && text.len() <= CREDENTIAL_ID_BYTES_MAX
        && !text.chars().any(char::is_control);
    let wanted = "it has 1 to 256 bytes and no control characters";
    is_fine.then_some(text).ok_or_else(|| Problem::invalid(pointer, wanted))
}

fn begin_of(text: &str) -> String {
    let begin: String = text.chars().take(HINT_LETTERS).collect();
    format!("{begin}…")
}

impl Proof<'_> {
    const fn kind(&self) -> Kind {
        match self {
            Self::ApiKey { .. } => Kind::ApiKey,
            Self::Password { .. } => Kind::Password,
            Self::SharedSecret { .. } => Kind::SharedSecret,
            Self::Certificate(_) => Kind::Certificate,
            Self::Token { .. } => Kind::Token,
        }
    }
}

fn api_key(hash: Option<&str>) -> Result<Forged, Problem> {
    let forged = |hash, hint, shown| Forged {
        hash,
        hint,
        says: json!({}),
        password: None,
        secret: None,
        shown,
    };
    let Some(hash) = hash else {
        let key = fresh(KEY)?;
        let hash = digest(&SHA256, key.reveal().as_bytes()).as_ref().to_vec();
        return Ok(forged(hash, begin_of(key.reveal()), Some(key)));
    };
    let read = ApiKey::parse(hash).map_err(|why| Problem::invalid("/hash", why))?;
    Ok(forged(read.hash.to_vec(), "made elsewhere".to_owned(), None))
}

fn certificate(by: &CertificateMatch) -> Result<Forged, Problem> {
    let found = by.found_by().map_err(|why| Problem::invalid("", why))?;
    let issuer = by.issued_by().map_err(|why| Problem::invalid("/issuer", why))?;
    let (kind, name) = match &found {
        FoundBy::Fingerprint(digits) => ("fingerprint", digits),
        FoundBy::Subject(subject) => ("subject", subject),
        FoundBy::San(kind, name) => (*kind, name),
    };
    let says = json!({ "fingerprint": by.fingerprint, "subject": by.subject, "san": by.san, "issuer": by.issuer });
    if says.to_string().len() > 8 * CREDENTIAL_ID_BYTES_MAX {
        return Err(Problem::invalid("", "the names of the certificate are too long"));
    }
    let hash = Kind::Certificate.hash(&[kind, name, &issuer.unwrap_or_default()]);
    let hint = format!("{kind} {}", name.chars().take(64).collect::<String>());
    Ok(Forged { hash, hint, says, password: None, secret: None, shown: None })
}

impl Control {
    async fn forge(&self, id: &str, proof: Proof<'_>) -> Result<Forged, Problem> {
        match proof {
            Proof::ApiKey { hash } => api_key(hash),
            Proof::Password { username, password, hash } => {
                self.password(username, password, hash).await
            }
            Proof::SharedSecret { id: key, secret } => {
                let key = identifier("/id", key.unwrap_or(id))?;
                let shown = if secret.is_none() { Some(fresh("")?) } else { None };
                let secret = secret.or_else(|| shown.clone()).filter(|secret| {
                    (HMAC_SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.reveal().len())
                });
                let wanted =
                    format!("a secret has {HMAC_SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes");
                let secret = secret.ok_or_else(|| Problem::invalid("/secret", wanted))?;
                let (hash, says) = (Kind::SharedSecret.hash(&[key]), json!({ "id": key }));
                let hint = key.chars().take(64).collect();
                Ok(Forged { hash, hint, says, password: None, secret: Some(secret), shown })
            }
            Proof::Certificate(by) => certificate(&by),
            Proof::Token { issuer, subject } => {
                let issuer = identifier("/issuer", issuer)?;
                let subject = identifier("/subject", subject)?;
                let hash = Kind::Token.hash(&[issuer, subject]);
                let says = json!({ "issuer": issuer, "subject": subject });
                let hint = subject.chars().take(64).collect();
                Ok(Forged { hash, hint, says, password: None, secret: None, shown: None })
            }
        }
    }

    async fn password(
        &self,
        username: &str,
        given: Option<Secret>,
        hash: Option<&str>,
    ) -> Result<Forged, Problem> {
        let username = identifier("/username", username)?;
        if username.contains(':') {
            // RFC 7617, 2.
            return Err(Problem::invalid("/username", "a colon would end it; choose one without"));
        }
        let mut shown = None;
        let kept = match (given, hash) {
            (Some(_), Some(_)) => {
                return Err(Problem::invalid("/hash", "give the password or its hash, not both"));
            }
            (None, Some(hash)) => {
                password::check(hash).map_err(|why| Problem::invalid("/hash", why))?;
                hash.to_owned()
            }
            (Some(password), None) => self.attempts.hash(password).await?,
            (None, None) => {
                let password = fresh("")?;
                shown = Some(password.clone());
                self.attempts.hash(password).await?
            }
        };
        let hash = Kind::Password.hash(&[username]);
        let hint = username.chars().take(64).collect();
        let says = json!({ "username": username });
        Ok(Forged { hash, hint, says, password: Some(kept), secret: None, shown })
    }

    fn times(&self, from_ms: Option<i64>, expires_ms: Option<i64>) -> Result<(), Problem> {
        let latest = 253_402_300_799_999;
        for (pointer, time) in [("/from", from_ms), ("/expires", expires_ms)] {
            if time.is_some_and(|time| !(0..=latest).contains(&time)) {
                return Err(Problem::invalid(pointer, "a time is from 1970 to 9999"));
            }
        }
        if expires_ms.is_some_and(|until| until <= self.store.now_ms()) {
            return Err(Problem::invalid("/expires", "that is over already"));
        }
        match (from_ms, expires_ms) {
            (Some(from), Some(until)) if from >= until => {
                Err(Problem::invalid("/expires", "it would end before it begins"))
            }
            _ => Ok(()),
        }
    }

    /// Makes a credential of a consumer, or of one of its applications. Gateways know it within a second.
    ///
    /// # Errors
    /// When it is not allowed, consumer or application are not there, another of the workspace shows the same, there are
    /// too many, or something of it will not do.
    pub async fn credential_create(
        &self,
        caller: &Caller,
        (workspace, consumer, application): (&str, &str, Option<&str>),
        sent: Sent<'_>,
    ) -> Result<Made, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), Some(workspace))?;
        let Sent { name, proof, from_ms, expires_ms } = sent;
        name::title("/name", name)?;
        self.times(from_ms, expires_ms)?;
        let kind = proof.kind().name();
        let id = self.store.new_id().map_err(problem::of(NOUN))?;
        let Forged { hash, hint, says, password, secret, shown } = self.forge(&id, proof).await?;
        let of = of_credential(workspace, &id);
        let sealed = match &secret {
            Some(secret) => Some(self.seal(&of, secret)?),
            None => None,
        };
        let body = says.to_string();
        let password = password.as_deref();
        let written = Written {
            kind,
            name,
            hash: &hash,
            hint: &hint,
            body: &body,
            password,
            from_ms,
            expires_ms,
        };
        let mut write = self.write(caller).await?;
        let of = (workspace, consumer, application);
        let made = write.credential_create(&id, of, written, sealed.as_ref()).await;
        let made = made.map_err(|error| match error {
            store::Error::Taken => Problem::new(
                crate::Code::Taken,
                "another credential of this workspace shows the same",
            ),
            error => problem::part_of("consumer or application", NOUN)(error),
        })?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(Made { credential: made.into(), shown })
    }

    /// Makes a new key or secret beside one that ends `kept_ms` from now, if it does not end before.
    ///
    /// # Errors
    /// As for a new one; and when it is of a kind of which the platform makes nothing.
    pub async fn credential_rotate(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        kept_ms: i64,
        expires_ms: Option<i64>,
    ) -> Result<Made, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), Some(workspace))?;
        caller.must(Permission::new(NOUN, Verb::Update), Some(workspace))?;
        if !(0..=KEPT_MS_MAX).contains(&kept_ms) {
            return Err(Problem::invalid("/keep", "the old one goes on for a year at most"));
        }
        self.times(None, expires_ms)?;
        let old = self.store.credential_get(workspace, id).await.map_err(problem::of(NOUN))?;
        let proof = match Kind::parse(&old.kind) {
            Some(Kind::ApiKey) => Proof::ApiKey { hash: None },
            Some(Kind::SharedSecret) => Proof::SharedSecret { id: None, secret: None },
            _ => {
                let why = "only keys and secrets are rotated; change a password, or add another certificate or token";
                return Err(Problem::invalid("/kind", why));
            }
        };
        let kind = proof.kind().name();
        let new = self.store.new_id().map_err(problem::of(NOUN))?;
        let Forged { hash, hint, says, password, secret, shown } = self.forge(&new, proof).await?;
        let of = of_credential(workspace, &new);
        let sealed = match &secret {
            Some(secret) => Some(self.seal(&of, secret)?),
            None => None,
        };
        let (body, password, name) = (says.to_string(), password.as_deref(), &*old.name);
        let (hash, hint, body) = (&*hash, &*hint, &*body);
        let written = Written { kind, name, hash, hint, body, password, from_ms: None, expires_ms };
        let mut write = self.write(caller).await?;
        let of = (workspace, &*old.consumer, old.application.as_deref());
        let made = write.credential_create(&new, of, written, sealed.as_ref()).await;
        let made = made.map_err(problem::of(NOUN))?;
        let end_ms = write.at_ms().saturating_add(kept_ms);
        let end_ms = old.expires_ms.map_or(end_ms, |end| end.min(end_ms));
        let times = (old.from_ms.filter(|from| *from < end_ms), Some(end_ms));
        let ended = write.credential_update((workspace, id), Some(old.revision), name, times).await;
        ended.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(Made { credential: made.into(), shown })
    }

    /// Changes name and times of a credential that has this revision.
    ///
    /// # Errors
    /// When it is not allowed, is not there, was changed meanwhile, or something of it will not do.
    pub async fn credential_update(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        revision: i64,
        name: &str,
        (from_ms, expires_ms): (Option<i64>, Option<i64>),
    ) -> Result<Credential, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), Some(workspace))?;
        name::title("/name", name)?;
        self.times(from_ms, expires_ms)?;
        let mut write = self.write(caller).await?;
        let times = (from_ms, expires_ms);
        let became = write.credential_update((workspace, id), Some(revision), name, times).await;
        let became = became.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(became.into())
    }

    /// Sets the password of a credential that has one: the given one, or a new one that is shown once.
    ///
    /// # Errors
    /// When it is not allowed, is not there, has no password, was changed meanwhile, or the password will not do.
    pub async fn credential_password_set(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        revision: i64,
        password: Option<Secret>,
    ) -> Result<Made, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), Some(workspace))?;
        let shown = if password.is_none() { Some(fresh("")?) } else { None };
        let Some(password) = password.or_else(|| shown.clone()) else {
            return Err(Problem::missing("password"));
        };
        let hash = self.attempts.hash(password).await?;
        let mut write = self.write(caller).await?;
        let became = write.credential_password_set((workspace, id), revision, &hash).await;
        let became = became.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(Made { credential: became.into(), shown })
    }

    /// Revokes a credential. Gateways refuse it within a second, and end what goes on by it. Without a revision it is
    /// revoked whatever was changed meanwhile.
    ///
    /// # Errors
    /// When it is not allowed, is not there, or was changed meanwhile.
    pub async fn credential_delete(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        revision: Option<i64>,
    ) -> Result<(), Problem> {
        caller.must(Permission::new(NOUN, Verb::Delete), Some(workspace))?;
        let mut write = self.write(caller).await?;
        write.credential_delete((workspace, id), revision).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// One credential.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn credential_get(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
    ) -> Result<Credential, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let found = self.store.credential_get(workspace, id).await;
        found.map(Credential::from).map_err(problem::of(NOUN))
    }

    /// Whose an API key is: for who found one and wants to have it revoked.
    ///
    /// # Errors
    /// When it is not allowed, or nobody's of this workspace.
    pub async fn credential_find(
        &self,
        caller: &Caller,
        workspace: &str,
        key: &Secret,
    ) -> Result<Credential, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        if key.reveal().len() > API_KEY_BYTES_MAX {
            return Err(Problem::missing(NOUN));
        }
        let hash = digest(&SHA256, key.reveal().as_bytes());
        let kind = Kind::ApiKey.name();
        let found = self.store.credential_find(workspace, kind, hash.as_ref()).await;
        found.map(Credential::from).map_err(problem::of(NOUN))
    }

    /// Credentials of a consumer with those of its applications, or of one of these, oldest first.
    ///
    /// # Errors
    /// When it is not allowed, what is asked makes no sense, or the database cannot be read.
    pub async fn credential_list(
        &self,
        caller: &Caller,
        of: (&str, &str, Option<&str>),
        ask: &Ask<'_>,
    ) -> Result<Page<Credential>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(of.0))?;
        let ((_, after), limit) = (ask.after()?, ask.limit()?);
        let found = self.store.credential_list(of, &after, limit + 1).await;
        let found = found.map_err(problem::of(NOUN))?.into_iter().map(Credential::from);
        Ok(Page::new(found.collect(), limit, |it| ("", &it.id)))
    }
}
