//! What the platform delegates to workspaces.

use crate::call::{Answer, Call};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use control::Grants;
use control::permission::Verb;
use http::{Method, StatusCode};

const ONE: &str = "/v1/grants/{name}";

async fn get(call: Call) -> Result<Answer, Refusal> {
    let (grants, workspace) = call.control.grants_get(&call.caller, call.part("name")).await?;
    Ok(Answer::found(&grants)?.at(workspace.revision))
}

async fn update(call: Call) -> Result<Answer, Refusal> {
    let sent: Grants = call.sent()?;
    let name = call.part("name");
    let (_, there) = call.control.grants_get(&call.caller, name).await?;
    let revision = call.revision(there.revision);
    let became = call.control.grants_update(&call.caller, (name, revision), &sent).await?;
    Ok(Answer::found(&sent)?.at(became.revision))
}

pub(crate) fn operations() -> Vec<Operation> {
    let grants = || Shape::of::<Grants>();
    let (read, change) = (needs("workspace", Verb::Read), needs("workspace", Verb::Update));
    vec![
        Operation::new((Method::GET, ONE), "grants_get", read, "What a workspace may use", get)
            .answers(StatusCode::OK, grants())
            .tagged(),
        Operation::new((Method::PUT, ONE), "grants_update", change, "Say what a workspace may use", update)
            .about("Hosts and paths, listeners, and whether its targets may lead inward. It takes the permission in all workspaces: none delegates anything to itself. The ETag is that of the workspace.")
            .takes(grants())
            .answers(StatusCode::OK, grants())
            .tagged(),
    ]
}
