use super::kit::World;
use control::config::Apply;
use control::object::Sent;
use control::permission::{Permission, Verb};
use control::{Caller, Code};
use serde_json::{Value, json};

const PUBLISH: Apply<'static> = Apply {
    prune: false,
    base_revision: None,
    note: "",
    publish: true,
    dry_run: false,
    diff: false,
};
const PRUNE: Apply<'static> = Apply { prune: true, ..PUBLISH };

fn shop() -> Value {
    json!({
        "version": 1,
        "upstreams": { "orders": { "targets": ["10.0.0.1:80"] } },
        "apis": { "orders": {
            "upstream": "orders", "path": "/orders",
            "routes": ["GET /", { "GET /{id}": { "policies": [{ "rate_limit": "9/s" }] } }],
            "policies": ["api_key"],
        } },
        "roles": { "clerk": { "orders": "GET /" } },
        "access_log": { "to": "off" },
    })
}

/// What is done to which parts.
fn told(applied: &control::config::Applied) -> Vec<String> {
    applied
        .changes
        .iter()
        .chain(&applied.drift)
        .map(|it| format!("{} {} {} at {}", it.action, it.kind, it.name, it.pointer))
        .collect()
}

#[tokio::test]
async fn a_config_that_is_applied_twice_changes_nothing_the_second_time() {
    let world = World::new().await;
    let (team, root, control) = (world.workspace("team").await, &world.root, &world.control);
    let applied = control.config_apply(root, &team, &shop(), PUBLISH).await.unwrap();
    assert_eq!((applied.changes.len(), applied.last, applied.revision), (8, 0, Some(1)));
    assert_eq!(control.config_get(root, &team, None).await.unwrap(), shop());
    assert_eq!(control.config_get(root, &team, Some(1)).await.unwrap(), shop());
    let again = control.config_apply(root, &team, &shop(), PRUNE).await.unwrap();
    assert_eq!((told(&again), again.revision, again.is_new), (vec![], None, false));
    assert_eq!(control.config_get(root, &team, Some(2)).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn only_what_differs_is_changed_and_only_who_prunes_deletes() {
    let world = World::new().await;
    let (team, root, control) = (world.workspace("team").await, &world.root, &world.control);
    control.config_apply(root, &team, &shop(), PUBLISH).await.unwrap();
    let mut config = shop();
    config["apis"]["orders"]["routes"] =
        json!(["POST /", { "GET /{id}": { "policies": [{ "rate_limit": "5/s" }] } }]);
    config["upstreams"] = json!({ "stock": { "targets": ["10.0.0.2:80"] } });
    let plan = control.config_plan(root, &team, &config, false).await.unwrap();
    let expected = [
        "update policy orders/get-id/rate_limit at /apis/orders/routes/1/GET ~1{id}/policies/0",
        "create upstream stock at /upstreams/stock",
        "create route orders/post at /apis/orders/routes/0",
        "keep upstream orders at /upstreams/orders",
        "keep route orders/get at /apis/orders/routes/0",
    ];
    let mut said = told(&plan);
    said.sort_by_key(|line| expected.iter().position(|it| it == line));
    assert_eq!((said, plan.revision), (expected.map(str::to_owned).to_vec(), None));
    assert_eq!(control.config_get(root, &team, None).await.unwrap(), shop(), "nothing was done");
    let applied = control.config_apply(root, &team, &config, PUBLISH).await.unwrap();
    assert_eq!((applied.drift.len(), applied.revision), (2, Some(2)));
    let draft = control.config_get(root, &team, None).await.unwrap();
    assert_eq!(draft["upstreams"].as_object().unwrap().len(), 2);
    assert_eq!(draft["apis"]["orders"]["routes"].as_array().unwrap().len(), 3);
    let pruned = control.config_apply(root, &team, &config, PRUNE).await.unwrap();
    assert_eq!((pruned.changes.len(), pruned.revision), (2, Some(3)));
    assert_eq!(control.config_get(root, &team, None).await.unwrap(), config);
}

#[tokio::test]
async fn what_the_api_made_is_recognised_in_files() {
    let world = World::new().await;
    let (team, root, control) = (world.workspace("team").await, &world.root, &world.control);
    let add = async |place: (&str, &str, &str), name: &str, body: Value| {
        let sent = Sent { name, position: 0, body: &body };
        control.object_create(root, place, sent).await.unwrap().id
    };
    let api = add((&team, "api", ""), "orders", json!({ "path": "/orders" })).await;
    let route = add((&team, "route", &api), "one", json!("GET /{id}")).await;
    add((&team, "route", &api), "all", json!({ "GET /": {} })).await;
    add((&team, "policy", &route), "slow", json!({ "rate_limit": "9/s" })).await;
    let config = control.config_get(root, &team, None).await.unwrap();
    let plan = control.config_plan(root, &team, &config, true).await.unwrap();
    assert_eq!(told(&plan), Vec::<String>::new(), "{config}");
}

#[tokio::test]
async fn what_is_wrong_is_told_where_it_stood_and_nothing_is_kept_of_it() {
    let world = World::new().await;
    let (team, root, control) = (world.workspace("team").await, &world.root, &world.control);
    let bad = json!({ "version": 1, "apis": { "a": { "path": "/broken" } } });
    let plan = control.config_plan(root, &team, &bad, false).await.unwrap();
    assert_eq!(plan.errors[0].pointer, "/apis");
    let refused = control.config_apply(root, &team, &bad, PUBLISH).await.unwrap_err();
    assert_eq!((refused.code, &*refused.findings[0].pointer), (Code::Invalid, "/apis"));
    assert_eq!(control.config_get(root, &team, None).await.unwrap(), json!({ "version": 1 }));
    let draft = Apply { publish: false, ..PUBLISH };
    let kept = control.config_apply(root, &team, &bad, draft).await.unwrap();
    assert_eq!((kept.revision, kept.errors.len()), (None, 1), "a draft may be wrong");
    let refused = control.config_apply(root, &team, &json!({ "apis": 1 }), PUBLISH).await;
    assert_eq!(refused.unwrap_err().findings[0].pointer, "/apis");
}

#[tokio::test]
async fn who_goes_by_an_old_revision_is_told_of_the_new_one() {
    let world = World::new().await;
    let (team, root, control) = (world.workspace("team").await, &world.root, &world.control);
    let at = |base| Apply { base_revision: Some(base), ..PUBLISH };
    control.config_apply(root, &team, &shop(), at(0)).await.unwrap();
    let other = json!({ "version": 1, "plans": { "gold": {} } });
    let refused = control.config_apply(root, &team, &other, at(0)).await.unwrap_err();
    assert_eq!((refused.code, refused.revision), (Code::Changed, Some(1)));
    assert_eq!(control.config_apply(root, &team, &other, at(1)).await.unwrap().revision, Some(2));
    let mut all = Vec::new();
    for at in 0..8 {
        let control = control.clone();
        let (root, team) = (root.clone(), team.clone());
        all.push(tokio::spawn(async move {
            let mine = json!({ "version": 1, "plans": { format!("p{at}"): {} } });
            control.config_apply(&root, &team, &mine, PUBLISH).await
        }));
    }
    let mut made = Vec::new();
    for one in all {
        match one.await.unwrap() {
            Ok(applied) => made.push(applied.revision.unwrap()),
            Err(problem) => assert_eq!(problem.code, Code::Changed),
        }
    }
    made.sort_unstable();
    assert_eq!(made, (3..).take(made.len()).collect::<Vec<i64>>(), "each makes one of its own");
    let plans = control.config_get(root, &team, None).await.unwrap()["plans"].clone();
    assert_eq!(plans.as_object().unwrap().len(), made.len() + 1, "{plans}");
}

#[tokio::test]
async fn a_change_needs_the_permission_for_the_part_it_changes() {
    let world = World::new().await;
    let (team, control) = (world.workspace("team").await, &world.control);
    let apply = async |who: &Caller, config: Value| {
        control.config_apply(who, &team, &config, PUBLISH).await.map(|it| it.revision)
    };
    let viewer = world.somebody("vera", &team, "viewer").await;
    let publisher = world.somebody("paul", &team, "publisher").await;
    let stranger = world.somebody("eve", &world.workspace("other").await, "owner").await;
    let plans = json!({ "version": 1, "plans": { "gold": {} } });
    let listeners = json!({ "version": 1, "listeners": { "public": "0.0.0.0:80" } });
    assert_eq!(apply(&viewer, plans.clone()).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(apply(&publisher, listeners).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(apply(&publisher, json!({ "dns": {} })).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(apply(&stranger, plans.clone()).await.unwrap_err().code, Code::NotFound);
    assert_eq!(apply(&publisher, plans).await.unwrap(), Some(1));
    assert!(!publisher.may(Permission::new("setting", Verb::Create), Some(&team)));
}

#[tokio::test]
async fn ten_thousand_routes_are_applied_and_a_change_of_one_writes_one() {
    let world = World::new().await;
    let (team, root, control) = (world.workspace("team").await, &world.root, &world.control);
    let route = |at: usize| json!({ format!("GET /{at}/{{id}}"): { "policies": [{ "rate_limit": "9/s" }] } });
    let api = |api: usize| {
        (
            format!("api{api}"),
            json!({ "routes": (0..20).map(|at| route(api * 20 + at)).collect::<Vec<_>>() }),
        )
    };
    let config = |of: fn(&mut Value)| {
        let mut config =
            json!({ "version": 1, "apis": serde_json::Map::from_iter((0..500).map(api)) });
        of(&mut config);
        config
    };
    let first = control.config_apply(root, &team, &config(|_| {}), PUBLISH).await.unwrap();
    assert_eq!((first.changes.len(), first.revision), (20_500, Some(1)));
    let changed = config(|it| it["apis"]["api7"]["routes"][3] = json!("GET /new"));
    let second = control.config_apply(root, &team, &changed, PRUNE).await.unwrap();
    assert_eq!((second.changes.len(), second.revision), (2, Some(2)));
    assert_eq!(control.config_get(root, &team, None).await.unwrap(), changed);
}
