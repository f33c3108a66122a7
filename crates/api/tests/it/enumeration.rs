//! What holds for every operation of the table.

use super::kit::World;
use api::{Access, Operation, operations};
use control::permission::ROLES;
use serde_json::json;

fn line(operation: &Operation, workspace: &str) -> String {
    let path = operation.path_of(&[workspace, "none", "none", "none"]);
    format!("{} {path}", operation.method())
}

async fn status(world: &World, operation: &Operation, workspace: &str, session: &str) -> u16 {
    let headers: &[_] = if operation.is_conditional() { &[("if-match", "*")] } else { &[] };
    let told = world.send(&line(operation, workspace), session, headers, Some(json!({}))).await;
    if told.status >= 400 {
        assert_eq!(told.header("content-type"), "application/problem+json", "{operation:?}");
        assert_eq!(told.json()["status"], told.status, "{operation:?}");
        assert_eq!(told.json()["request_id"], told.header("x-request-id"), "{operation:?}");
    }
    told.status
}

#[tokio::test]
async fn every_operation_refuses_strangers() {
    let world = World::new().await;
    world.workspace("team").await;
    for operation in operations().iter().filter(|it| it.access() != Access::Open) {
        for session in ["", "yett_session_unknown", "yett_token_unknown", "x"] {
            let told = world.send(&line(operation, "team"), session, &[], Some(json!({}))).await;
            assert_eq!(told.status, 401, "{operation:?}");
            assert_eq!(told.header("www-authenticate"), "Bearer realm=\"yett\"", "{operation:?}");
        }
    }
}

#[tokio::test]
async fn every_operation_refuses_the_wrong_workspace_as_if_it_were_not_there() {
    let world = World::new().await;
    world.workspace("team").await;
    let other = world.workspace("other").await;
    let stranger = world.somebody("eve", &other, "owner").await;
    for operation in operations().iter().filter(|it| it.path().contains("{workspace}")) {
        for workspace in ["team", "nowhere"] {
            let status = status(&world, operation, workspace, &stranger).await;
            assert_eq!(status, 404, "{operation:?} in {workspace}");
        }
    }
    for operation in operations().iter().filter(|it| !it.path().contains("{workspace}")) {
        if operation.name() == "session_delete" {
            continue;
        }
        let is_needed = matches!(operation.access(), Access::Needs(_));
        let status = status(&world, operation, "none", &stranger).await;
        assert_eq!(status == 403, is_needed, "{operation:?}: {status}");
    }
}

#[tokio::test]
async fn every_operation_lets_in_the_roles_that_have_its_permission_and_no_other() {
    let world = World::new().await;
    let team = world.workspace("team").await;
    for role in ROLES {
        let session = world.somebody(role.name, &team, role.name).await;
        let everywhere = world.somebody(&format!("{}2", role.name), "", role.name).await;
        for operation in operations() {
            let Access::Needs(permission) = operation.access() else { continue };
            let may = role.may.iter().any(|pattern| permission.is_in(pattern));
            let is_local = operation.path().contains("{workspace}");
            // Nobody empties the workspace on the way.
            let workspace =
                if operation.name() == "workspace_delete" && may { continue } else { "team" };
            let here = status(&world, operation, workspace, &session).await;
            assert_eq!(here == 403, !(may && is_local), "{}: {operation:?}: {here}", role.name);
            let there = status(&world, operation, workspace, &everywhere).await;
            assert_eq!(there == 403, !may, "{} everywhere: {operation:?}: {there}", role.name);
        }
    }
}

#[test]
fn names_of_operations_are_unique_and_paths_are_plain() {
    let mut seen = std::collections::HashSet::new();
    for operation in operations() {
        assert!(seen.insert(operation.name()), "{operation:?}");
        assert!(seen.insert(&*format!("{operation:?}").leak()), "{operation:?}");
        assert!(operation.path().starts_with("/v1/") && !operation.path().ends_with('/'));
        assert!(!operation.summary().is_empty() && !operation.summary().ends_with('.'));
    }
}
