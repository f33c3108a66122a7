//! Consumers: who calls APIs. What is said of them takes effect at once, without a revision.

use crate::body::Line;
use crate::call::{Answer, Call, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use control::consumer::{Consumer, Sent as ConsumerWritten};
use control::permission::Verb;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const CONSUMER: &str = "consumer";
const CONSUMERS: &str = "/v1/workspaces/{workspace}/consumers";
const ONE: &str = "/v1/workspaces/{workspace}/consumers/{consumer}";

/// What is sent of a consumer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ConsumerSent")]
struct Sent {
    /// What it is called: up to 63 small letters, digits, `-` and `_`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    name: Line,
    /// What people call it: up to 200 letters in one line.
    #[serde(default)]
    #[schemars(length(max = 200), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    title: Line,
    /// The plan by which it uses APIs; the default one, if there is one, when there is none here.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    plan: Option<Line>,
    /// Groups it belongs to, for policies to ask about.
    #[serde(default)]
    groups: Vec<Line>,
    /// What it may do, for `rbac`: names of `roles`.
    #[serde(default)]
    roles: Vec<Line>,
    /// Whether its credentials are not accepted for the time being.
    #[serde(default)]
    suspended: bool,
}

/// A consumer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Consumer")]
struct Told {
    /// Its id, which stays when it is renamed.
    id: String,
    /// What it is called in its workspace.
    name: String,
    /// What people call it.
    title: String,
    /// The plan by which it uses APIs.
    plan: Option<String>,
    /// Groups it belongs to.
    groups: Vec<String>,
    /// What it may do, for `rbac`.
    roles: Vec<String>,
    /// Whether its credentials are not accepted for the time being.
    suspended: bool,
    /// How often it was changed, from 1; also its ETag.
    revision: i64,
    /// When it was made (RFC 3339).
    created: String,
    /// When it was changed last (RFC 3339).
    updated: String,
}

/// A page of consumers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConsumerPage")]
struct Page {
    /// By name.
    items: Vec<Told>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

pub(crate) fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.0.clone()).collect()
}

fn told(consumer: Consumer) -> Told {
    let Consumer { id, name, title, plan, groups, roles, is_suspended, revision, .. } = consumer;
    let (created, updated) = (time(consumer.created_ms), time(consumer.updated_ms));
    let suspended = is_suspended;
    Told { id, name, title, plan, groups, roles, suspended, revision, created, updated }
}

/// The consumer of the path.
pub(crate) async fn consumer(call: &Call) -> Result<Consumer, Refusal> {
    let of = (&*call.workspace, call.part(CONSUMER));
    Ok(call.control.consumer_find(&call.caller, of).await?)
}

async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let (groups, roles) = (texts(&sent.groups), texts(&sent.roles));
    let written = written(&sent, &groups, &roles);
    let made = call.control.consumer_create(&call.caller, &call.workspace, written).await?;
    let (revision, name) = (made.revision, made.name.clone());
    Answer::made_here(&call, &name, &told(made), revision)
}

fn written<'a>(sent: &'a Sent, groups: &'a [String], roles: &'a [String]) -> ConsumerWritten<'a> {
    let plan = sent.plan.as_ref().map(|plan| &*plan.0);
    let (name, title, is_suspended) = (&*sent.name.0, &*sent.title.0, sent.suspended);
    ConsumerWritten { name, title, plan, groups, roles, is_suspended }
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let ask = call.query.ask()?;
    let page = call.control.consumer_list(&call.caller, &call.workspace, &ask).await?;
    let page = page.map(told);
    Answer::found(&Page { items: page.items, next: page.next })
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    let found = consumer(&call).await?;
    let revision = found.revision;
    Answer::one(&told(found), revision)
}

async fn update(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let there = consumer(&call).await?;
    let (groups, roles) = (texts(&sent.groups), texts(&sent.roles));
    let written = written(&sent, &groups, &roles);
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    let became = call.control.consumer_update(&call.caller, of, revision, written).await?;
    let revision = became.revision;
    Answer::one(&told(became), revision)
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let there = consumer(&call).await?;
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    call.control.consumer_delete(&call.caller, of, revision).await?;
    Ok(Answer::none())
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, CONSUMERS),
            "consumer_list",
            needs(CONSUMER, Verb::Read),
            "Consumers, by name",
            list,
        )
        .answers(StatusCode::OK, Shape::of::<Page>())
        .searched(),
        Operation::new(
            (Method::POST, CONSUMERS),
            "consumer_create",
            needs(CONSUMER, Verb::Create),
            "Add a consumer",
            create,
        )
        .makes::<Sent, Told>()
        .problems(&[404, 409]),
        Operation::new(
            (Method::GET, ONE),
            "consumer_get",
            needs(CONSUMER, Verb::Read),
            "Read a consumer",
            get,
        )
        .answers(StatusCode::OK, Shape::of::<Told>())
        .tagged(),
        Operation::new(
            (Method::PUT, ONE),
            "consumer_update",
            needs(CONSUMER, Verb::Update),
            "Change a consumer; gateways know within a second",
            update,
        )
        .changes::<Sent, Told>()
        .problems(&[409]),
        Operation::new(
            (Method::DELETE, ONE),
            "consumer_delete",
            needs(CONSUMER, Verb::Delete),
            "Take out a consumer, with all that belongs to it",
            delete,
        ),
    ]
}
