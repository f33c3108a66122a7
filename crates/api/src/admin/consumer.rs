//! Consumers and their applications: who calls APIs. What is said of them takes effect at once, without a revision.

use crate::body::Line;
use crate::call::{Answer, Call, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use control::application::{Application, Sent as ApplicationWritten};
use control::consumer::{Consumer, Sent as ConsumerWritten};
use control::permission::Verb;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const CONSUMER: &str = "consumer";
const APPLICATION: &str = "application";
const CONSUMERS: &str = "/v1/workspaces/{workspace}/consumers";
const ONE: &str = "/v1/workspaces/{workspace}/consumers/{consumer}";
const APPLICATIONS: &str = "/v1/workspaces/{workspace}/consumers/{consumer}/applications";
const ALL: &str = "/v1/workspaces/{workspace}/applications";
const PART: &str = "/v1/workspaces/{workspace}/consumers/{consumer}/applications/{application}";

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

/// What is sent of an application.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApplicationSent")]
struct PartSent {
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
struct PartTold {
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
struct PartPage {
    /// By name.
    items: Vec<PartTold>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.0.clone()).collect()
}

fn told(consumer: Consumer) -> Told {
    let Consumer { id, name, title, plan, groups, roles, is_suspended, revision, .. } = consumer;
    let (created, updated) = (time(consumer.created_ms), time(consumer.updated_ms));
    let suspended = is_suspended;
    Told { id, name, title, plan, groups, roles, suspended, revision, created, updated }
}

fn part_told(application: Application) -> PartTold {
    let Application { id, name, title, plan, roles, is_suspended, revision, .. } = application;
    let (created, updated) = (time(application.created_ms), time(application.updated_ms));
    let (suspended, consumer) = (is_suspended, application.owner);
    PartTold { id, consumer, name, title, plan, roles, suspended, revision, created, updated }
}

/// The consumer of the path.
pub(crate) async fn consumer(call: &Call) -> Result<Consumer, Refusal> {
    let of = (&*call.workspace, call.part(CONSUMER));
    Ok(call.control.consumer_find(&call.caller, of).await?)
}

/// The application of the path, of a consumer.
pub(crate) async fn application(call: &Call, consumer: &str) -> Result<Application, Refusal> {
    let (of, name) = ((&*call.workspace, consumer), call.part(APPLICATION));
    Ok(call.control.application_find(&call.caller, of, name).await?)
}

async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let (groups, roles) = (texts(&sent.groups), texts(&sent.roles));
    let written = written(&sent, &groups, &roles);
    let made = call.control.consumer_create(&call.caller, &call.workspace, written).await?;
    let (revision, location) = (made.revision, format!("{}/{}", call.path, made.name));
    Ok(Answer::made(&told(made), Some(location))?.at(revision))
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
    Ok(Answer::found(&told(found))?.at(revision))
}

async fn update(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let there = consumer(&call).await?;
    let (groups, roles) = (texts(&sent.groups), texts(&sent.roles));
    let written = written(&sent, &groups, &roles);
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    let became = call.control.consumer_update(&call.caller, of, revision, written).await?;
    let revision = became.revision;
    Ok(Answer::found(&told(became))?.at(revision))
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let there = consumer(&call).await?;
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    call.control.consumer_delete(&call.caller, of, revision).await?;
    Ok(Answer::none())
}

fn part_written<'a>(sent: &'a PartSent, roles: Option<&'a [String]>) -> ApplicationWritten<'a> {
    let plan = sent.plan.as_ref().map(|plan| &*plan.0);
    let (name, title, is_suspended) = (&*sent.name.0, &*sent.title.0, sent.suspended);
    ApplicationWritten { name, title, plan, roles, is_suspended }
}

async fn part_create(call: Call) -> Result<Answer, Refusal> {
    let sent: PartSent = call.sent()?;
    let owner = consumer(&call).await?;
    let roles = sent.roles.as_deref().map(texts);
    let written = part_written(&sent, roles.as_deref());
    let of = (&*call.workspace, &*owner.id);
    let made = call.control.application_create(&call.caller, of, written).await?;
    let (revision, location) = (made.revision, format!("{}/{}", call.path, made.name));
    Ok(Answer::made(&part_told(made), Some(location))?.at(revision))
}

async fn part_list(call: Call) -> Result<Answer, Refusal> {
    let (ask, owner) = (call.query.ask()?, consumer(&call).await?);
    let of = (&*call.workspace, Some(&*owner.id));
    let page = call.control.application_list(&call.caller, of, &ask).await?.map(part_told);
    Answer::found(&PartPage { items: page.items, next: page.next })
}

async fn part_list_all(call: Call) -> Result<Answer, Refusal> {
    let (ask, of) = (call.query.ask()?, (&*call.workspace, None));
    let page = call.control.application_list(&call.caller, of, &ask).await?.map(part_told);
    Answer::found(&PartPage { items: page.items, next: page.next })
}

async fn part_get(call: Call) -> Result<Answer, Refusal> {
    let owner = consumer(&call).await?;
    let found = application(&call, &owner.id).await?;
    let revision = found.revision;
    Ok(Answer::found(&part_told(found))?.at(revision))
}

async fn part_update(call: Call) -> Result<Answer, Refusal> {
    let sent: PartSent = call.sent()?;
    let owner = consumer(&call).await?;
    let there = application(&call, &owner.id).await?;
    let roles = sent.roles.as_deref().map(texts);
    let written = part_written(&sent, roles.as_deref());
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    let became = call.control.application_update(&call.caller, of, revision, written).await?;
    let revision = became.revision;
    Ok(Answer::found(&part_told(became))?.at(revision))
}

async fn part_delete(call: Call) -> Result<Answer, Refusal> {
    let owner = consumer(&call).await?;
    let there = application(&call, &owner.id).await?;
    let (of, revision) = ((&*call.workspace, &*there.id), call.revision(there.revision));
    call.control.application_delete(&call.caller, of, revision).await?;
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
        .takes(Shape::of::<Sent>())
        .answers(StatusCode::CREATED, Shape::of::<Told>())
        .tagged()
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
        .takes(Shape::of::<Sent>())
        .answers(StatusCode::OK, Shape::of::<Told>())
        .tagged()
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

/// Those of applications.
pub(crate) fn parts() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, ALL),
            "workspace_application_list",
            needs(APPLICATION, Verb::Read),
            "Applications of all consumers, by name",
            part_list_all,
        )
        .answers(StatusCode::OK, Shape::of::<PartPage>())
        .searched(),
        Operation::new(
            (Method::GET, APPLICATIONS),
            "application_list",
            needs(APPLICATION, Verb::Read),
            "Applications of a consumer, by name",
            part_list,
        )
        .answers(StatusCode::OK, Shape::of::<PartPage>())
        .searched(),
        Operation::new(
            (Method::POST, APPLICATIONS),
            "application_create",
            needs(APPLICATION, Verb::Create),
            "Add an application",
            part_create,
        )
        .takes(Shape::of::<PartSent>())
        .answers(StatusCode::CREATED, Shape::of::<PartTold>())
        .tagged()
        .problems(&[404, 409]),
        Operation::new(
            (Method::GET, PART),
            "application_get",
            needs(APPLICATION, Verb::Read),
            "Read an application",
            part_get,
        )
        .answers(StatusCode::OK, Shape::of::<PartTold>())
        .tagged(),
        Operation::new(
            (Method::PUT, PART),
            "application_update",
            needs(APPLICATION, Verb::Update),
            "Change an application; gateways know within a second",
            part_update,
        )
        .takes(Shape::of::<PartSent>())
        .answers(StatusCode::OK, Shape::of::<PartTold>())
        .tagged()
        .problems(&[409]),
        Operation::new(
            (Method::DELETE, PART),
            "application_delete",
            needs(APPLICATION, Verb::Delete),
            "Take out an application, with all that belongs to it",
            part_delete,
        ),
    ]
}
