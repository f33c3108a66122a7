//! Secrets of workspaces: configs name them as `${secret:NAME}`. They can be set and never read.

use crate::body::Line;
use crate::call::{Answer, Call, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use base::Secret as Text;
use control::permission::Verb;
use control::secret::Secret;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NOUN: &str = "secret";
const ALL: &str = "/v1/workspaces/{workspace}/secrets";
const ONE: &str = "/v1/workspaces/{workspace}/secrets/{secret}";

/// A secret that is to be kept.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSecret")]
struct Sent {
    /// What configs call it: up to 63 small letters, digits, `-` and `_`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    name: Line,
    /// What it is.
    #[schemars(length(min = 1, max = 16384))]
    value: Line,
}

/// Another value of a secret.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChangedSecret")]
struct Changed {
    /// What it is from now on.
    #[schemars(length(min = 1, max = 16384))]
    value: Line,
}

/// A secret, without its value.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Secret")]
struct Told {
    /// Its id.
    id: String,
    /// What configs call it.
    name: String,
    /// How often it was changed, from 1; also its ETag.
    revision: i64,
    /// When it was made (RFC 3339).
    created: String,
    /// When its value was set last (RFC 3339).
    updated: String,
}

/// What was encrypted anew.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rewrapped")]
struct Rewrapped {
    /// How many secrets of workspaces, credentials and users.
    count: u64,
}

/// A page of secrets.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecretPage")]
struct Page {
    /// By name.
    items: Vec<Told>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

fn told(secret: Secret) -> Told {
    let Secret { id, name, revision, created_ms, updated_ms } = secret;
    Told { id, name, revision, created: time(created_ms), updated: time(updated_ms) }
}

async fn there(call: &Call) -> Result<Secret, Refusal> {
    let of = (&*call.workspace, call.part(NOUN));
    Ok(call.control.secret_find(&call.caller, of).await?)
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let ask = call.query.ask()?;
    let page = call.control.secret_list(&call.caller, &call.workspace, &ask).await?.map(told);
    Answer::found(&Page { items: page.items, next: page.next })
}

async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let (of, value) = ((&*call.workspace, &*sent.name.0), Text::new(sent.value.0));
    let made = call.control.secret_create(&call.caller, of, value).await?;
    let (revision, location) = (made.revision, format!("{}/{}", call.path, made.name));
    Ok(Answer::made(&told(made), Some(location))?.at(revision))
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
    let value = Text::new(sent.value.0);
    let became = call.control.secret_update(&call.caller, of, revision, value).await?;
    let revision = became.revision;
    Ok(Answer::found(&told(became))?.at(revision))
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let there = there(&call).await?;
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    call.control.secret_delete(&call.caller, of, revision).await?;
    Ok(Answer::none())
}

async fn rewrap(call: Call) -> Result<Answer, Refusal> {
    let count = call.control.secret_rewrap(&call.caller).await?;
    Answer::found(&Rewrapped { count })
}

pub(crate) fn operations() -> Vec<Operation> {
    let one = || Shape::of::<Told>();
    vec![
        Operation::new(
            (Method::GET, ALL),
            "secret_list",
            needs(NOUN, Verb::Read),
            "Secrets by name, without their values",
            list,
        )
        .answers(StatusCode::OK, Shape::of::<Page>())
        .searched(),
        Operation::new(
            (Method::POST, ALL),
            "secret_create",
            needs(NOUN, Verb::Create),
            "Keep a secret",
            create,
        )
        .about("Configs of the workspace name it as `${secret:NAME}`. It is encrypted, and no operation shows it.")
        .takes(Shape::of::<Sent>())
        .private()
        .answers(StatusCode::CREATED, one())
        .tagged()
        .problems(&[409]),
        Operation::new(
            (Method::GET, ONE),
            "secret_get",
            needs(NOUN, Verb::Read),
            "Read when a secret was set, without its value",
            get,
        )
        .answers(StatusCode::OK, one())
        .tagged(),
        Operation::new(
            (Method::PUT, ONE),
            "secret_update",
            needs(NOUN, Verb::Update),
            "Give a secret another value",
            update,
        )
        .takes(Shape::of::<Changed>())
        .private()
        .answers(StatusCode::OK, one())
        .tagged(),
        Operation::new(
            (Method::DELETE, ONE),
            "secret_delete",
            needs(NOUN, Verb::Delete),
            "Take out a secret that no config names",
            delete,
        )
        .problems(&[409]),
        Operation::new(
            (Method::POST, "/v1/secrets/rewrap"),
            "secret_rewrap",
            needs("setting", Verb::Update),
            "Encrypt all secrets with the newest master key",
            rewrap,
        )
        .about("After `yett master-key add`, once every gateway has the new key. What they are stays as it is.")
        .answers(StatusCode::OK, Shape::of::<Rewrapped>()),
    ]
}
