//! Applications: programs of consumers, each with credentials of its own.

use super::consumer::{consumer, texts};
use crate::body::Line;
use crate::call::{Answer, Call, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use control::application::{Application, Sent as Written};
use control::permission::Verb;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NOUN: &str = "application";
const OF_ALL: &str = "/v1/workspaces/{workspace}/applications";
const ALL: &str = "/v1/workspaces/{workspace}/consumers/{consumer}/applications";
const ONE: &str = "/v1/workspaces/{workspace}/consumers/{consumer}/applications/{application}";

/// What is sent of an application.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApplicationSent")]
struct Sent {
    /// What its consumer calls it: up to 63 small letters, digits, `-` and `_`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    name: Line,
    /// What people call it: up to 200 letters in one line.
    #[serde(default)]
    #[schemars(length(max = 200), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    title: Line,
    /// The plan by which it uses APIs, if it is another than its consumer's.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    plan: Option<Line>,
    /// The only roles that it makes use of, of all that its consumer has; all of them when nothing is said.
    roles: Option<Vec<Line>>,
    /// Whether its credentials are not accepted for the time being.
    #[serde(default)]
    suspended: bool,
}

/// An application.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Application")]
struct Told {
    /// Its id, which stays when it is renamed.
    id: String,
    /// The name of its consumer; null where it stands in the path.
    consumer: Option<String>,
    /// What its consumer calls it.
    name: String,
    /// What people call it.
    title: String,
    /// The plan by which it uses APIs, if it is another than its consumer's.
    plan: Option<String>,
    /// The only roles that it makes use of.
    roles: Option<Vec<String>>,
    /// Whether its credentials are not accepted for the time being.
    suspended: bool,
    /// How often it was changed, from 1; also its ETag.
    revision: i64,
    /// When it was made (RFC 3339).
    created: String,
    /// When it was changed last (RFC 3339).
    updated: String,
}

/// A page of applications.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApplicationPage")]
struct Page {
    /// By name.
    items: Vec<Told>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

fn told(application: Application) -> Told {
    let Application { id, name, title, plan, roles, is_suspended, revision, .. } = application;
    let (created, updated) = (time(application.created_ms), time(application.updated_ms));
    let (suspended, consumer) = (is_suspended, application.owner);
    Told { id, consumer, name, title, plan, roles, suspended, revision, created, updated }
}

/// The application of the path, of a consumer.
pub(crate) async fn application(call: &Call, consumer: &str) -> Result<Application, Refusal> {
    let (of, name) = ((&*call.workspace, consumer), call.part(NOUN));
    Ok(call.control.application_find(&call.caller, of, name).await?)
}

fn written<'a>(sent: &'a Sent, roles: Option<&'a [String]>) -> Written<'a> {
    let plan = sent.plan.as_ref().map(|plan| &*plan.0);
    let (name, title, is_suspended) = (&*sent.name.0, &*sent.title.0, sent.suspended);
    Written { name, title, plan, roles, is_suspended }
}

async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let owner = consumer(&call).await?;
    let roles = sent.roles.as_deref().map(texts);
    let written = written(&sent, roles.as_deref());
    let of = (&*call.workspace, &*owner.id);
    let made = call.control.application_create(&call.caller, of, written).await?;
    let (revision, name) = (made.revision, made.name.clone());
    Answer::made_here(&call, &name, &told(made), revision)
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let (ask, owner) = (call.query.ask()?, consumer(&call).await?);
    let of = (&*call.workspace, Some(&*owner.id));
    let page = call.control.application_list(&call.caller, of, &ask).await?.map(told);
    Answer::found(&Page { items: page.items, next: page.next })
}

async fn list_all(call: Call) -> Result<Answer, Refusal> {
    let (ask, of) = (call.query.ask()?, (&*call.workspace, None));
    let page = call.control.application_list(&call.caller, of, &ask).await?.map(told);
    Answer::found(&Page { items: page.items, next: page.next })
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    let owner = consumer(&call).await?;
    let found = application(&call, &owner.id).await?;
    let revision = found.revision;
    Answer::one(&told(found), revision)
}

async fn update(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let owner = consumer(&call).await?;
    let there = application(&call, &owner.id).await?;
    let roles = sent.roles.as_deref().map(texts);
    let written = written(&sent, roles.as_deref());
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    let became = call.control.application_update(&call.caller, of, revision, written).await?;
    let revision = became.revision;
    Answer::one(&told(became), revision)
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let owner = consumer(&call).await?;
    let there = application(&call, &owner.id).await?;
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    call.control.application_delete(&call.caller, of, revision).await?;
    Ok(Answer::none())
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, OF_ALL),
            "workspace_application_list",
            needs(NOUN, Verb::Read),
            "Applications of all consumers, by name",
            list_all,
        )
        .answers(StatusCode::OK, Shape::of::<Page>())
        .searched(),
        Operation::new(
            (Method::GET, ALL),
            "application_list",
            needs(NOUN, Verb::Read),
            "Applications of a consumer, by name",
            list,
        )
        .answers(StatusCode::OK, Shape::of::<Page>())
        .searched(),
        Operation::new(
            (Method::POST, ALL),
            "application_create",
            needs(NOUN, Verb::Create),
            "Add an application",
            create,
        )
        .makes::<Sent, Told>()
        .problems(&[404, 409]),
        Operation::new(
            (Method::GET, ONE),
            "application_get",
            needs(NOUN, Verb::Read),
            "Read an application",
            get,
        )
        .answers(StatusCode::OK, Shape::of::<Told>())
        .tagged(),
        Operation::new(
            (Method::PUT, ONE),
            "application_update",
            needs(NOUN, Verb::Update),
            "Change an application; gateways know within a second",
            update,
        )
        .changes::<Sent, Told>()
        .problems(&[409]),
        Operation::new(
            (Method::DELETE, ONE),
            "application_delete",
            needs(NOUN, Verb::Delete),
            "Take out an application, with all that belongs to it",
            delete,
        ),
    ]
}
