//! Workspaces: teams, each with names of its own.

use crate::body::Line;
use crate::call::{Answer, Call, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use control::Workspace;
use control::permission::Verb;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NOUN: &str = "workspace";
const ALL: &str = "/v1/workspaces";
const ONE: &str = "/v1/workspaces/{workspace}";

/// What is sent of a workspace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WorkspaceSent")]
struct Sent {
    /// What it is called in paths and files: up to 63 small letters, digits, `-` and `_`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    name: Line,
    /// What people call it: up to 200 letters in one line.
    #[serde(default)]
    #[schemars(length(max = 200), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    title: Line,
}

/// A workspace.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Workspace")]
struct Told {
    /// Its id, which stays when it is renamed.
    id: String,
    /// What it is called in paths and files.
    name: String,
    /// What people call it.
    title: String,
    /// How often it was changed, from 1; also its ETag.
    revision: i64,
    /// When it was made (RFC 3339).
    created: String,
    /// When it was changed last (RFC 3339).
    updated: String,
}

/// A page of workspaces.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WorkspacePage")]
struct Page {
    /// By name.
    items: Vec<Told>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

fn told(workspace: Workspace) -> Told {
    let Workspace { id, name, title, revision, created_ms, updated_ms, .. } = workspace;
    Told { id, name, title, revision, created: time(created_ms), updated: time(updated_ms) }
}

async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let (name, title) = (&sent.name.0, &sent.title.0);
    let made = call.control.workspace_create(&call.caller, name, title).await?;
    let (revision, location) = (made.revision, format!("{ALL}/{}", made.name));
    Ok(Answer::made(&told(made), Some(location))?.at(revision))
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let limit = call.query.limit()?;
    let more = usize::try_from(limit).unwrap_or_default() + 1;
    let read = call.control.workspace_list(&call.caller, call.query.after(), more).await?;
    Answer::page(read, limit, |it| it.name.clone(), told)
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    let found = call.control.workspace_get(&call.caller, &call.workspace).await?;
    let revision = found.revision;
    Ok(Answer::found(&told(found))?.at(revision))
}

async fn update(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let id = &*call.workspace;
    let there = call.control.workspace_find(&call.caller, call.part(NOUN)).await?;
    let revision = call.revision(there.revision);
    let (name, title) = (&sent.name.0, &sent.title.0);
    let became = call.control.workspace_update(&call.caller, (id, revision), name, title).await?;
    let revision = became.revision;
    Ok(Answer::found(&told(became))?.at(revision))
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let there = call.control.workspace_find(&call.caller, call.part(NOUN)).await?;
    let revision = call.revision(there.revision);
    call.control.workspace_delete(&call.caller, &call.workspace, revision).await?;
    Ok(Answer::none())
}

pub(crate) fn operations() -> Vec<Operation> {
    let one = || Shape::of::<Told>();
    let sent = || Shape::of::<Sent>();
    vec![
        Operation::new(
            (Method::GET, ALL),
            "workspace_list",
            crate::Access::Own,
            "The workspaces that you may see, by name",
            list,
        )
        .answers(StatusCode::OK, Shape::of::<Page>())
        .paged(),
        Operation::new(
            (Method::POST, ALL),
            "workspace_create",
            needs(NOUN, Verb::Create),
            "Add a workspace",
            create,
        )
        .takes(sent())
        .answers(StatusCode::CREATED, one())
        .tagged()
        .problems(&[409]),
        Operation::new(
            (Method::GET, ONE),
            "workspace_get",
            needs(NOUN, Verb::Read),
            "One workspace",
            get,
        )
        .answers(StatusCode::OK, one())
        .tagged(),
        Operation::new(
            (Method::PUT, ONE),
            "workspace_update",
            needs(NOUN, Verb::Update),
            "Change a workspace",
            update,
        )
        .takes(sent())
        .answers(StatusCode::OK, one())
        .tagged()
        .problems(&[409]),
        Operation::new(
            (Method::DELETE, ONE),
            "workspace_delete",
            needs(NOUN, Verb::Delete),
            "Take out a workspace that holds nothing",
            delete,
        )
        .problems(&[409]),
    ]
}
