//! Credentials: by what a consumer, or one of its applications, proves who it is.

use crate::admin::application::application;
use crate::admin::consumer::consumer;
use crate::body::{Any, Line, typed};
use crate::call::{Answer, Call, ms, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use base::{Moment, Secret};
use control::Problem;
use control::credential::{Credential, Made, Proof, Sent as Written};
use control::permission::Verb;
use http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const NOUN: &str = "credential";
const OF_CONSUMER: &str = "/v1/workspaces/{workspace}/consumers/{consumer}/credentials";
const OF_APPLICATION: &str =
    "/v1/workspaces/{workspace}/consumers/{consumer}/applications/{application}/credentials";
const ONE: &str = "/v1/workspaces/{workspace}/credentials/{credential}";
const ROTATE: &str = "/v1/workspaces/{workspace}/credentials/{credential}/rotate";
const PASSWORD: &str = "/v1/workspaces/{workspace}/credentials/{credential}/password";
/// How long an old key goes on beside its successor, unless said otherwise.
const KEEP_MS: i64 = 86_400_000;

/// A credential that is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewCredential")]
struct Sent {
    /// What people call it.
    #[serde(default)]
    #[schemars(length(max = 200), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    name: Line,
    /// By what somebody shall prove who they are.
    proof: SentProof,
    /// When it begins to be valid (RFC 3339); at once unless said otherwise.
    from: Option<Moment>,
    /// When it stops being valid (RFC 3339); never unless said otherwise.
    expires: Option<Moment>,
}

/// By what somebody shall prove who they are: one of these.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
#[schemars(rename = "Proof")]
enum SentProof {
    /// A key: a new one, which is shown once, unless the hash of one is given that was made elsewhere.
    ApiKey(KeySent),
    /// A user name with a password: a new one, which is shown once, unless it or its hash is given.
    Password(PasswordSent),
    /// A secret by which messages are signed: a new one, which is shown once, unless it is given.
    SharedSecret(SecretSent),
    /// A certificate by one of `fingerprint`, `subject` and `san`, and by who must have signed it.
    Certificate(CertificateSent),
    /// Whom an issuer of tokens means.
    Token(TokenSent),
}

/// A key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApiKeyProof")]
struct KeySent {
    /// `sha256:` and 64 hexadecimal digits, of a key that was made elsewhere.
    hash: Option<Line>,
}

/// A user name with a password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PasswordProof")]
struct PasswordSent {
    /// The user name.
    username: Line,
    /// The password.
    password: Option<Line>,
    /// Its hash: a PHC string of argon2id.
    hash: Option<Line>,
}

/// A secret by which messages are signed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SecretProof")]
struct SecretSent {
    /// By what signatures name it (`keyid`).
    id: Option<Line>,
    /// The secret.
    secret: Option<Line>,
}

/// Whom an issuer of tokens means.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TokenProof")]
struct TokenSent {
    /// The issuer, exactly as tokens say it.
    issuer: Line,
    /// The subject.
    subject: Line,
}

/// As in a config.
#[derive(Deserialize)]
#[serde(transparent)]
struct CertificateSent(Any);

impl JsonSchema for CertificateSent {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CertificateProof".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "$ref": "#/components/schemas/ConfigCertificateMatch" })
    }
}

/// What is changed of a credential.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChangedCredential")]
struct Changed {
    /// What people call it.
    #[serde(default)]
    #[schemars(length(max = 200), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    name: Line,
    /// When it begins to be valid (RFC 3339).
    from: Option<Moment>,
    /// When it stops being valid (RFC 3339); never when nothing is said.
    expires: Option<Moment>,
}

/// How a credential is replaced.
#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Rotation")]
struct Rotation {
    /// Seconds that the old one goes on beside the new one: a day unless said otherwise, a year at most.
    #[schemars(range(min = 0, max = 31_622_400))]
    keep_s: Option<i64>,
    /// When the new one stops being valid (RFC 3339); never unless said otherwise.
    expires: Option<Moment>,
}

/// A new password.
#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "NewPassword")]
struct PasswordChange {
    /// The password; a new one is made, and shown once, when there is none.
    #[schemars(length(min = 12, max = 256))]
    password: Option<Line>,
}

/// A credential, without what is secret of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Credential")]
struct Told {
    /// Its id.
    id: String,
    /// The id of its consumer.
    consumer: String,
    /// The id of its application; null for what is the consumer's own.
    application: Option<String>,
    /// How it proves who shows it: `api_key`, `password`, `shared_secret`, `certificate` or `token`.
    kind: String,
    /// What people call it.
    name: String,
    /// What people tell it by, such as the first letters of a key.
    hint: String,
    /// What it says of who shows it: user name, id of a secret, names of a certificate, issuer and subject of a token.
    says: Value,
    /// When it begins to be valid (RFC 3339); null for from ever.
    from: Option<String>,
    /// When it stops being valid (RFC 3339); null for never.
    expires: Option<String>,
    /// How often it was changed, from 1; also its ETag.
    revision: i64,
    /// When it was made (RFC 3339).
    created: String,
    /// When it was changed last (RFC 3339).
    updated: String,
}

/// A credential that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CredentialMade")]
struct MadeTold {
    /// What can be read of it later.
    credential: Told,
    /// The key, password or secret, if the platform made it: this is the only time that it is shown.
    shown: Option<String>,
}

/// A page of credentials.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CredentialPage")]
struct Page {
    /// The oldest first.
    items: Vec<Told>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

fn told(credential: Credential) -> Told {
    let Credential { id, consumer, application, kind, name, hint, says, revision, .. } = credential;
    let (from, expires) = (credential.from_ms.map(time), credential.expires_ms.map(time));
    let (created, updated) = (time(credential.created_ms), time(credential.updated_ms));
    let kind = kind.name().to_owned();
    Told {
        id,
        consumer,
        application,
        kind,
        name,
        hint,
        says,
        from,
        expires,
        revision,
        created,
        updated,
    }
}

fn made(call: &Call, made: Made) -> Result<Answer, Refusal> {
    let Made { credential, shown } = made;
    let workspace = call.part("workspace");
    let location = format!("/v1/workspaces/{workspace}/credentials/{}", credential.id);
    let revision = credential.revision;
    let shown = shown.map(|shown| shown.reveal().to_owned());
    let told = MadeTold { credential: told(credential), shown };
    Ok(Answer::made(&told, Some(location))?.at(revision))
}

fn text(line: Option<&Line>) -> Option<&str> {
    line.map(|line| &*line.0)
}

fn secret(line: Option<&Line>) -> Option<Secret> {
    line.map(|line| Secret::new(line.0.clone()))
}

fn proof(sent: &SentProof) -> Result<Proof<'_>, Refusal> {
    Ok(match sent {
        SentProof::ApiKey(sent) => Proof::ApiKey { hash: text(sent.hash.as_ref()) },
        SentProof::Password(sent) => Proof::Password {
            username: &sent.username.0,
            password: secret(sent.password.as_ref()),
            hash: text(sent.hash.as_ref()),
        },
        SentProof::SharedSecret(sent) => {
            Proof::SharedSecret { id: text(sent.id.as_ref()), secret: secret(sent.secret.as_ref()) }
        }
        SentProof::Certificate(sent) => Proof::Certificate(typed(&sent.0.0, false)?),
        SentProof::Token(sent) => Proof::Token { issuer: &sent.issuer.0, subject: &sent.subject.0 },
    })
}

/// What is wrong with a proof, as a place in what was sent.
fn within(mut problem: Problem, body: &Value) -> Problem {
    let kind = body["proof"].as_object().and_then(|proof| proof.keys().next());
    for finding in &mut problem.findings {
        let is_around = ["/name", "/from", "/expires"].contains(&&*finding.pointer);
        if let Some(kind) = kind.filter(|_| !is_around) {
            finding.pointer.insert_str(0, &format!("/proof/{kind}"));
        }
    }
    problem
}

/// Makes one of a consumer, or of the application that the path names.
async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let owner = consumer(&call).await?.id;
    let part = match call.part("application") {
        "" => None,
        _ => Some(application(&call, &owner).await?.id),
    };
    let written = Written {
        name: &sent.name.0,
        proof: proof(&sent.proof)?,
        from_ms: sent.from.map(ms),
        expires_ms: sent.expires.map(ms),
    };
    let of = (&*call.workspace, &*owner, part.as_deref());
    let done = call.control.credential_create(&call.caller, of, written).await;
    made(&call, done.map_err(|problem| within(problem, &call.body))?)
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let ask = call.query.ask()?;
    let owner = consumer(&call).await?.id;
    let part = match call.part("application") {
        "" => None,
        _ => Some(application(&call, &owner).await?.id),
    };
    let of = (&*call.workspace, &*owner, part.as_deref());
    let page = call.control.credential_list(&call.caller, of, &ask).await?.map(told);
    Answer::found(&Page { items: page.items, next: page.next })
}

async fn there(call: &Call) -> Result<Credential, Refusal> {
    let of = (&*call.workspace, call.part(NOUN));
    Ok(call.control.credential_get(&call.caller, of).await?)
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    let found = there(&call).await?;
    let revision = found.revision;
    Ok(Answer::found(&told(found))?.at(revision))
}

async fn update(call: Call) -> Result<Answer, Refusal> {
    let sent: Changed = call.sent()?;
    let there = there(&call).await?;
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    let (caller, times) = (&call.caller, (sent.from.map(ms), sent.expires.map(ms)));
    let became = call.control.credential_update(caller, of, revision, &sent.name.0, times).await?;
    let revision = became.revision;
    Ok(Answer::found(&told(became))?.at(revision))
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let revision = match call.goes {
        crate::precondition::Goes::By(revision) => Some(revision),
        crate::precondition::Goes::ByAny => None,
    };
    let of = (&*call.workspace, call.part(NOUN));
    call.control.credential_delete(&call.caller, of, revision).await?;
    Ok(Answer::none())
}

async fn rotate(call: Call) -> Result<Answer, Refusal> {
    let sent: Rotation = call.sent()?;
    let keep_ms = sent.keep_s.map_or(KEEP_MS, |keep_s| keep_s.saturating_mul(1_000));
    let of = (&*call.workspace, call.part(NOUN));
    let expires_ms = sent.expires.map(ms);
    let done = call.control.credential_rotate(&call.caller, of, keep_ms, expires_ms).await?;
    made(&call, done)
}

async fn password(call: Call) -> Result<Answer, Refusal> {
    let sent: PasswordChange = call.sent()?;
    let there = there(&call).await?;
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    let password = secret(sent.password.as_ref());
    let done = call.control.credential_password_set(&call.caller, of, revision, password).await?;
    let Made { credential, shown } = done;
    let (revision, shown) = (credential.revision, shown.map(|shown| shown.reveal().to_owned()));
    Ok(Answer::found(&MadeTold { credential: told(credential), shown })?.at(revision))
}

/// Making and listing them, of a consumer or an application.
fn of(path: &'static str, prefix: &str, whose: &str) -> [Operation; 2] {
    [
        Operation::new(
            (Method::GET, path),
            format!("{prefix}credential_list"),
            needs(NOUN, Verb::Read),
            format!("Credentials of {whose}, the oldest first"),
            list,
        )
        .answers(StatusCode::OK, Shape::of::<Page>())
        .paged(),
        Operation::new(
            (Method::POST, path),
            format!("{prefix}credential_create"),
            needs(NOUN, Verb::Create),
            format!("Make a credential of {whose}"),
            create,
        )
        .about("What the platform makes is shown in this answer and never again. Gateways know it within a second.")
        .takes(Shape::of::<Sent>())
        .answers(StatusCode::CREATED, Shape::of::<MadeTold>())
        .tagged()
        .private()
        .problems(&[404, 409]),
    ]
}

pub(crate) fn operations() -> Vec<Operation> {
    let mut all = Vec::from(of(OF_CONSUMER, "", "a consumer, with those of its applications"));
    all.extend(of(OF_APPLICATION, "application_", "an application"));
    all.extend([
        Operation::new(
            (Method::GET, ONE),
            "credential_get",
            needs(NOUN, Verb::Read),
            "Read a credential, without what is secret of it",
            get,
        )
        .answers(StatusCode::OK, Shape::of::<Told>())
        .tagged(),
        Operation::new(
            (Method::PUT, ONE),
            "credential_update",
            needs(NOUN, Verb::Update),
            "Change name and times of a credential",
            update,
        )
        .takes(Shape::of::<Changed>())
        .answers(StatusCode::OK, Shape::of::<Told>())
        .tagged(),
        Operation::new(
            (Method::DELETE, ONE),
            "credential_delete",
            needs(NOUN, Verb::Delete),
            "Revoke a credential: gateways refuse it within a second, and end what goes on by it",
            delete,
        ),
        Operation::new(
            (Method::POST, ROTATE),
            "credential_rotate",
            needs(NOUN, Verb::Update),
            "Make a new key or secret beside an old one, which ends",
            rotate,
        )
        .takes(Shape::of::<Rotation>())
        .optional_body()
        .answers(StatusCode::CREATED, Shape::of::<MadeTold>())
        .tagged()
        .problems(&[409, 412]),
        Operation::new(
            (Method::PUT, PASSWORD),
            "credential_password_set",
            needs(NOUN, Verb::Update),
            "Set the password of a credential that has one",
            password,
        )
        .takes(Shape::of::<PasswordChange>())
        .answers(StatusCode::OK, Shape::of::<MadeTold>())
        .tagged()
        .private(),
    ]);
    all
}
