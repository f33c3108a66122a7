use super::kit::World;
use control::object::Sent;
use control::permission::{NOUNS, OBJECTS, Permission, ROLES, Verb};
use control::{Code, Problem};
use serde_json::json;

/// What everything that needs a permission says to a caller.
async fn everything(
    world: &World,
    caller: &control::Caller,
    team: &str,
) -> Vec<(String, Option<Code>)> {
    let control = &world.control;
    let mut said = Vec::new();
    let mut note = |what: &str, result: Result<(), Problem>| {
        said.push((what.to_owned(), result.err().map(|problem| problem.code)));
    };
    let (body, none) = (json!({}), "00000000-0000-7000-8000-000000000000");
    for kind in OBJECTS {
        let sent = Sent { name: "a", position: 0, body: &body };
        note(
            &format!("{kind}:read"),
            control.object_list(caller, (team, kind, ""), "", 1).await.map(drop),
        );
        note(
            &format!("{kind}:read"),
            control.object_get(caller, (team, kind, none)).await.map(drop),
        );
        note(
            &format!("{kind}:create"),
            control.object_create(caller, (team, kind, none), sent.clone()).await.map(drop),
        );
        note(
            &format!("{kind}:update"),
            control.object_update(caller, (team, kind, none), 1, sent).await.map(drop),
        );
        note(&format!("{kind}:delete"), control.object_delete(caller, (team, kind, none), 1).await);
    }
    note("workspace:read", control.workspace_get(caller, team).await.map(drop));
    note(
        "workspace:update",
        control.workspace_update(caller, (team, 9), "team", "").await.map(drop),
    );
    note("workspace:delete", control.workspace_delete(caller, team, 9).await);
    note("api:read", control.draft_check(caller, team).await.map(drop));
    note("revision:create", control.revision_create(caller, team, 9, "").await.map(drop));
    note("revision:create", control.revision_rollback(caller, (team, 9), 9, "").await.map(drop));
    note("user:update", control.user_role_add(caller, none, team, "viewer").await);
    said
}

#[tokio::test]
async fn every_operation_refuses_strangers_and_the_wrong_workspace() {
    let world = World::new().await;
    let (team, other) = (world.workspace("team").await, world.workspace("other").await);
    let stranger = world.somebody("eve", &other, "owner").await;
    for (what, code) in everything(&world, &stranger, &team).await {
        assert_eq!(code, Some(Code::NotFound), "{what}");
    }
    assert_eq!(world.control.workspace_list(&stranger, "", 9).await.unwrap().len(), 1);
    let refused = world.control.workspace_create(&stranger, "mine", "").await.unwrap_err();
    assert_eq!(refused.code, Code::Forbidden);
}

#[tokio::test]
async fn every_operation_lets_in_the_roles_that_have_its_permission_and_no_other() {
    let world = World::new().await;
    let team = world.workspace("team").await;
    for role in ROLES {
        let caller = world.somebody(role.name, &team, role.name).await;
        for (what, code) in everything(&world, &caller, &team).await {
            let (noun, verb) = what.split_once(':').unwrap();
            let noun = NOUNS.iter().find(|it| **it == noun).unwrap();
            let verb = Verb::ALL.into_iter().find(|it| it.name() == verb).unwrap();
            let may = role.may.iter().any(|pattern| Permission::new(noun, verb).is_in(pattern));
            assert_eq!(code == Some(Code::Forbidden), !may, "{}: {what}: {code:?}", role.name);
        }
    }
}

#[tokio::test]
async fn nobody_gives_a_role_that_may_more_than_they() {
    let world = World::new().await;
    let team = world.workspace("team").await;
    let owner = world.somebody("alice", &team, "owner").await;
    let bob = world.control.user_create(&world.root, "bob", "", None).await.unwrap().id;
    world.control.user_role_add(&owner, &bob, &team, "owner").await.unwrap();
    let everywhere = world.control.user_role_add(&owner, &bob, "", "viewer").await.unwrap_err();
    assert_eq!(everywhere.code, Code::Forbidden);
}
