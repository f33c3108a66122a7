//! The control plane in the process of the gateway.

use super::client::{Load, curl, get, status_of};
use super::databases::Postgres;
use super::servers::Nginx;
use super::wait;
use super::yett::{Ended, Launch, PUBLIC, TOP, Yett, command};
use base::Clock;
use control::config::Apply;
use control::{Caller, Checked, Control};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use store::envelope::Keys;
use store::{Location, Store};
use testkit::Authority;

/// A gateway with a control plane, and this beside it.
pub(super) fn config(more: &str) -> String {
    format!("{TOP}{PUBLIC}state_dir: state\ncontrol: {{ bind: \"127.0.0.1:0\" }}\n{more}")
}

/// An API below a path that answers with a word.
fn shop(target: &str, word: &str) -> Value {
    json!({
        "version": 1,
        "upstreams": { "shop": { "targets": [target] } },
        "apis": { "shop": {
            "path": "/shop", "upstream": "shop", "public": "a test",
            "policies": [{ "headers": { "response": { "set": { "x-word": word } } } }],
        } },
    })
}

/// Publishes a config in the platform's own workspace, in a database that nobody else has open.
fn publish(folder: &Path, config: &Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let location = Location::Sqlite(folder.join("yett.db"));
        let store = Store::open(&location, &Clock::System).await.unwrap();
        let known = store.revision_newest().await.unwrap();
        let (id, ..) = known.iter().find(|(_, name, _)| name == "default").unwrap();
        let control = Control::new(store.clone(), &Clock::System, |_| Checked::default());
        let apply = Apply { publish: true, prune: true, ..Apply::default() };
        control.config_apply(&Caller::system("test"), id, config, apply).await.unwrap();
        store.close().await;
    });
}

pub(super) fn word(yett: &Yett, path: &str) -> Option<String> {
    get(&yett.address("public"), path).header("x-word")
}

/// Ends a gateway and starts another one in its folder.
pub(super) fn again(mut yett: Yett, between: impl FnOnce(&Path)) -> Yett {
    yett.signal("TERM");
    assert!(yett.ended().success());
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::rename(yett.path("state"), &state).unwrap();
    let config = fs::read_to_string(yett.path("yett.yaml")).unwrap();
    between(&state);
    Launch::within(folder, &config).start()
}

#[test]
fn the_first_start_makes_a_database_and_lets_somebody_in_once() {
    let yett = Yett::start(&config(""));
    let link = yett.access.find("the link", |line| {
        let (_, link) = line.split_once("/login/")?;
        Some(link.to_owned())
    });
    assert!(link.starts_with("yett_link_"), "{link}");
    assert!(!yett.log.text().contains("yett_link_"), "{}", yett.log.text());
    let mode = fs::metadata(yett.path("state/yett.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let status = yett.status()["control"].clone();
    assert_eq!(status["database"], "ok", "{status}");
    let yett = again(yett, |_| {});
    yett.access.find("another link, as nobody has logged in", |line| {
        line.split_once("/login/").filter(|(_, other)| *other != link).map(drop)
    });
}

#[test]
fn without_the_field_there_is_no_control_plane() {
    let yett = Yett::start(&config("").replace("control: {", "control: { off: true,"));
    assert_eq!(yett.status()["control"], Value::Null);
    assert!(!yett.path("state/yett.db").exists());
}

#[test]
fn what_was_published_is_served_beside_the_file_also_without_the_database() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let file = format!(
        "upstreams: {{ own: {{ targets: [\"{}\"] }} }}\napis: {{ own: {{ path: /own, upstream: own, public: a test }} }}\n",
        nginx.address
    );
    let yett = Yett::start(&config(&file));
    let yett = again(yett, |state| publish(state, &shop(&nginx.address, "one")));
    assert_eq!(get(&yett.address("public"), "/own").status, 200);
    assert_eq!(word(&yett, "/shop").as_deref(), Some("one"));
    let workspaces = yett.status()["control"]["workspaces"].clone();
    assert_eq!(workspaces[0]["serving"], 1, "{workspaces}");

    // What both define is nobody's; before, it was the file's.
    let both = json!({ "version": 1, "upstreams": { "own": { "targets": ["127.0.0.1:1"] } } });
    let yett = again(yett, |state| publish(state, &both));
    assert_eq!(word(&yett, "/shop").as_deref(), Some("one"), "the revision before is in force");
    let workspaces = yett.status()["control"]["workspaces"].clone();
    assert_eq!((&workspaces[0]["published"], &workspaces[0]["serving"]), (&json!(2), &json!(1)));
    assert_eq!(workspaces[0]["refused"]["problems"][0]["code"], "duplicate_key", "{workspaces}");

    let yett = again(yett, |state| {
        for name in ["yett.db", "yett.db-wal", "yett.db-shm"] {
            fs::remove_file(state.join(name)).ok();
        }
        fs::create_dir(state.join("yett.db")).unwrap();
    });
    yett.log.expect(&["the database of the control plane cannot be used"]);
    assert_eq!(word(&yett, "/shop").as_deref(), Some("one"), "the last good one is kept");
    assert_ne!(yett.status()["control"]["database"], "ok");
    fs::remove_dir(yett.path("state/yett.db")).unwrap();
    yett.log.expect(&["the database of the control plane can be used again"]);
    assert_eq!(word(&yett, "/shop").as_deref(), Some("one"), "an empty one takes nothing away");
}

/// Somebody who uses the command line, and has logged in by the link of the first start.
pub(super) struct Person<'a> {
    pub(super) yett: &'a Yett,
}

impl<'a> Person<'a> {
    pub(super) fn logs_in(yett: &'a Yett) -> Self {
        let link = yett.access.find("the link", |line| {
            line.trim().starts_with("http://").then(|| line.trim().to_owned())
        });
        let person = Self { yett };
        assert_eq!(person.does(&["login", &link]).code, Some(0));
        person
    }

    pub(super) fn does(&self, arguments: &[&str]) -> Ended {
        let mut command = command(self.yett.path("").as_path(), arguments);
        command.env("XDG_CONFIG_HOME", self.yett.path("settings")).env_remove("YETT_URL");
        command.env_remove("YETT_TOKEN").env_remove("YETT_WORKSPACE");
        command.stdin(Stdio::null()).output().unwrap().into()
    }
}

/// The files of a team, with a comment.
pub(super) fn files(target: &str, word: &str) -> String {
    format!(
        "version: 1\n# The shop's own.\nupstreams: {{ shop: {{ targets: [\"{target}\"] }} }}\napis:\n  shop:\n    path: /shop\n    upstream: shop\n    public: a test\n    policies: [{{ headers: {{ response: {{ set: {{ x-word: {word} }} }} }} }}]\n"
    )
}

#[test]
fn files_are_published_by_the_command_line_while_traffic_flows_and_an_acknowledged_one_outlives_a_kill()
 {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let own = format!(
        "upstreams: {{ own: {{ targets: [\"{}\"] }} }}\napis: {{ own: {{ upstream: own, public: a test }} }}\n",
        nginx.address
    );
    let mut yett = Yett::start(&config(&own));
    let person = Person::logs_in(&yett);
    let load = Load::start(&yett.url("public"));
    yett.write("shop.yaml", files(&nginx.address, "one"));
    let planned = person.does(&["plan", "shop.yaml"]);
    assert_eq!(planned.code, Some(3), "{planned:?}");
    assert!(planned.out.contains("+ upstream shop  shop.yaml:3:20"), "{planned:?}");
    assert!(person.does(&["apply", "shop.yaml"]).err.contains("--yes"));
    assert_eq!(word(&yett, "/shop"), None, "nothing was done");
    let applied = person.does(&["apply", "shop.yaml", "--yes", "--note", "the first"]);
    assert!(applied.out.contains("published as revision 1 of default"), "{applied:?}");
    assert!(applied.out.contains(" route shop/all: is new"), "{applied:?}");
    wait::until_true("one is served", || word(&yett, "/shop").as_deref() == Some("one"));
    assert_eq!(person.does(&["plan", "shop.yaml"]).code, Some(0));
    assert_eq!(person.does(&["apply", "shop.yaml", "--yes"]).out.trim(), "nothing to change");

    yett.write("shop.yaml", files(&nginx.address, "two"));
    assert_eq!(person.does(&["apply", "shop.yaml", "--yes"]).code, Some(0));
    wait::until_true("two is served", || word(&yett, "/shop").as_deref() == Some("two"));
    let listed = person.does(&["revisions"]).out;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("admin") && listed.contains("the first"), "{listed}");
    assert_eq!(person.does(&["rollback", "1"]).code, Some(0));
    wait::until_true("one is back", || word(&yett, "/shop").as_deref() == Some("one"));

    for (bad, place) in [("upstream: shop", "shop.yaml:7:15"), ("targets: [", "shop.yaml:")] {
        let text = files(&nginx.address, "two").replace(
            bad,
            if bad.ends_with('[') { "targets: [\"${env:HOME}\", " } else { "upstream: nobody" },
        );
        yett.write("shop.yaml", text);
        let refused = person.does(&["apply", "shop.yaml", "--yes"]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains(place), "{refused:?}");
    }

    yett.write("shop.yaml", "version: 1\nplans: { gold: { limits: [\"9/s\"] } }\n");
    let planned = person.does(&["plan", "shop.yaml"]);
    assert!(planned.out.contains("! api shop  is there and not in the files"), "{planned:?}");
    yett.write("shop.yaml", files(&nginx.address, "three"));
    let applied = person.does(&["apply", "shop.yaml", "--yes", "--json"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    yett.signal("KILL");
    yett.ended();
    // The clients of wrk see the end; before it nothing failed.
    drop(load);
    let config = fs::read_to_string(yett.path("yett.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::rename(yett.path("state"), folder.path().join("state")).unwrap();
    let yett = Launch::within(folder, &config).start();
    assert_eq!(word(&yett, "/shop").as_deref(), Some("three"), "it was acknowledged");
}

#[test]
fn publishing_fails_no_request() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let own = format!(
        "upstreams: {{ own: {{ targets: [\"{}\"] }} }}\napis: {{ own: {{ upstream: own, public: a test }} }}\n",
        nginx.address
    );
    let yett = Yett::start(&config(&own));
    let person = Person::logs_in(&yett);
    let load = Load::start(&yett.url("public"));
    for count in 0..5 {
        let now = format!("w{count}");
        yett.write("shop.yaml", files(&nginx.address, &now));
        assert_eq!(person.does(&["apply", "shop.yaml", "--yes"]).code, Some(0));
        wait::until_true("it is served", || word(&yett, "/shop").as_deref() == Some(&*now));
    }
    assert_eq!(load.end().failures, Vec::<String>::new());
}

/// The store of a gateway that runs, beside it.
pub(super) fn beside<T>(location: &Location, does: impl AsyncFnOnce(&Store, &Control) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(location, &Clock::System).await.unwrap();
        let control = Control::new(store.clone(), &Clock::System, |_| Checked::default());
        let done = does(&store, &control).await;
        store.close().await;
        done
    })
}

#[test]
fn a_locked_database_refuses_what_is_published_and_no_request() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let yett = Yett::start(&config(""));
    let person = Person::logs_in(&yett);
    yett.write("shop.yaml", files(&nginx.address, "one"));
    assert_eq!(person.does(&["apply", "shop.yaml", "--yes"]).code, Some(0));
    wait::until_true("one is served", || word(&yett, "/shop").as_deref() == Some("one"));
    let load = Load::start(&format!("{}/shop", yett.url("public")));
    yett.write("shop.yaml", files(&nginx.address, "two"));
    let location = Location::Sqlite(yett.path("state/yett.db"));
    beside(&location, async |store, _| {
        let held = store.write(store::audit::Actor::system("test")).await.unwrap();
        let refused = person.does(&["apply", "shop.yaml", "--yes"]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains("traffic goes on"), "{refused:?}");
        drop(held);
    });
    assert_eq!(word(&yett, "/shop").as_deref(), Some("one"));
    assert_eq!(person.does(&["apply", "shop.yaml", "--yes"]).code, Some(0));
    wait::until_true("two is served", || word(&yett, "/shop").as_deref() == Some("two"));
    for name in ["yett.db", "yett.db-wal", "yett.db-shm"] {
        fs::remove_file(yett.path(&format!("state/{name}"))).unwrap();
    }
    assert_eq!(word(&yett, "/shop").as_deref(), Some("two"));
    assert_eq!(load.end().failures, Vec::<String>::new());
}

#[test]
fn two_gateways_on_one_postgresql_serve_the_same_and_go_on_without_it() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let mut postgres = Postgres::start(&Authority::new());
    let url = format!("postgres://yett@127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
    let own = format!(
        "upstreams: {{ own: {{ targets: [\"{}\"] }} }}\napis: {{ own: {{ upstream: own, policies: [api_key] }} }}\n",
        nginx.address
    );
    let with = format!("control: {{ bind: \"127.0.0.1:0\", database: \"{url}\" }}");
    let file = config(&own).replace("control: { bind: \"127.0.0.1:0\" }", &with);
    let (one, two) = (Yett::start(&file), Yett::start(&file));
    let person = Person::logs_in(&one);
    one.write("shop.yaml", files(&nginx.address, "one"));
    assert_eq!(person.does(&["apply", "shop.yaml", "--yes"]).code, Some(0));
    for yett in [&one, &two] {
        wait::until_true("it is served", || word(yett, "/shop").as_deref() == Some("one"));
    }

    let location = Location::Postgres(base::Secret::new(url));
    let root = Caller::system("test");
    let (workspace, made) = beside(&location, async |store, control| {
        let workspace = store.revision_newest().await.unwrap().remove(0).0;
        let sent = control::consumer::Sent { name: "alice", ..Default::default() };
        let alice = control.consumer_create(&root, &workspace, sent).await.unwrap();
        let proof = control::credential::Proof::ApiKey { hash: None };
        let sent = control::credential::Sent { name: "", proof, from_ms: None, expires_ms: None };
        let place = (&*workspace, &*alice.id, None);
        let made = control.credential_create(&root, place, sent).await.unwrap();
        (workspace, made)
    });
    let key = format!("x-api-key: {}", made.shown.as_ref().unwrap().reveal());
    let status = |yett: &Yett| status_of(&["-H", &key, &yett.url("public")]);
    for yett in [&one, &two] {
        assert_eq!(get(&yett.address("public"), "/").status, 401);
        wait::until_true("the key is believed", || status(yett) == 200);
    }
    // The file is read again; what is in the database stays.
    assert_eq!(one.reload(format!("{file}# the same\n"))["adopted"], true);
    assert_eq!(status(&one), 200);
    beside(&location, async |_, control| {
        let place = (&*workspace, &*made.credential.id);
        control.credential_delete(&root, place, None).await.unwrap();
    });
    for yett in [&one, &two] {
        wait::until_true("the key is refused", || status(yett) == 401);
    }

    postgres.stop();
    let trouble = |yett: &Yett| yett.status()["control"]["database"] != "ok";
    wait::until_true("it is noticed", || trouble(&one) && trouble(&two));
    let two = again(two, |_| {});
    assert_eq!(word(&two, "/shop").as_deref(), Some("one"), "by what was kept");
    assert_eq!(person.does(&["revisions"]).code, Some(1));
    postgres.revive();
    wait::until_true("it is noticed", || !trouble(&one) && !trouble(&two));
    one.write("shop.yaml", files(&nginx.address, "two"));
    assert_eq!(person.does(&["apply", "shop.yaml", "--yes"]).code, Some(0));
    for yett in [&one, &two] {
        wait::until_true("it is served", || word(yett, "/shop").as_deref() == Some("two"));
    }
}

/// A key that was made elsewhere, and its hash.
pub(super) const SHARED_KEY: &str = "a-key-that-both-of-them-have-1234";
const SHARED_HASH: &str = "sha256:15672890bf4309cd670f87df225a64e160423718824c1eb357805098c5f4ba8a";

/// Master keys of a gateway that runs.
pub(super) fn with_keys(yett: &Yett, control: &Control) -> Control {
    let keys = Keys::load(&yett.path("state/master.key")).unwrap().unwrap();
    control.clone().with_keys(keys)
}

/// The files of a team whose API wants a key; its target is a secret.
pub(super) fn guarded(path: &str, word: &str) -> String {
    format!(
        "version: 1\nupstreams: {{ orders: {{ targets: [\"${{secret:target}}\"] }} }}\napis:\n  orders:\n    path: {path}\n    upstream: orders\n    policies: [api_key, {{ headers: {{ response: {{ set: {{ x-word: {word} }} }} }} }}]\n"
    )
}

/// Makes a workspace with a path and a consumer, who has the key that both have and one of his own, which is returned.
pub(super) async fn team(control: &Control, name: &str, target: &str) -> (String, String) {
    let root = Caller::system("test");
    let workspace = control.workspace_create(&root, name, name).await.unwrap().id;
    let hosts = vec![format!("*/{name}")];
    let grants = control::Grants { hosts, inward: true, ..control::Grants::default() };
    control.grants_update(&root, (name, 1), &grants).await.unwrap();
    let value = base::Secret::new(target.to_owned());
    control.secret_create(&root, (&workspace, "target"), value).await.unwrap();
    let sent = control::consumer::Sent { name: "alice", ..Default::default() };
    let alice = control.consumer_create(&root, &workspace, sent).await.unwrap();
    let mut shown = None;
    for hash in [Some(SHARED_HASH), None] {
        let proof = control::credential::Proof::ApiKey { hash };
        let sent = control::credential::Sent { name: "", proof, from_ms: None, expires_ms: None };
        let place = (&*workspace, &*alice.id, None);
        shown = control.credential_create(&root, place, sent).await.unwrap().shown;
    }
    (workspace, shown.unwrap().reveal().to_owned())
}

/// Takes away what the consumer of a workspace has.
pub(super) async fn revoke_all(control: &Control, workspace: &str) {
    let root = Caller::system("test");
    let known = control.directory().await.unwrap();
    let owner = known.consumers.iter().find(|it| it.workspace == workspace).unwrap();
    for it in known.credentials.iter().filter(|it| it.consumer == owner.id) {
        control.credential_delete(&root, (workspace, &*it.id), None).await.unwrap();
    }
}

#[test]
fn workspaces_are_served_side_by_side_and_know_nothing_of_each_other() {
    let one = Nginx::start("location / { return 200 \"one\"; }");
    let two = Nginx::start("location / { return 200 \"two\"; }");
    let yett = Yett::start(&config(""));
    let person = Person::logs_in(&yett);
    let location = Location::Sqlite(yett.path("state/yett.db"));
    let (shop, bank) = beside(&location, async |_, control| {
        let control = with_keys(&yett, control);
        let shop = team(&control, "shop", &one.address.to_string()).await;
        (shop, team(&control, "bank", &two.address.to_string()).await)
    });
    let apply = |name: &str, text: String| {
        let file = format!("{name}.yaml");
        yett.write(&file, text);
        person.does(&["apply", &file, "--yes", "--workspace", name])
    };
    let taken = apply("shop", guarded("/bank", "mine"));
    assert_eq!((taken.code, taken.err.contains("secret")), (Some(2), false), "{taken:?}");
    for name in ["shop", "bank"] {
        let applied = apply(name, guarded(&format!("/{name}"), name));
        assert_eq!(applied.code, Some(0), "{applied:?}");
    }
    let asks = |path: &str, key: &str| {
        let header = format!("x-api-key: {key}");
        curl(&["-H", &header, &format!("{}{path}", yett.url("public"))])
    };
    for (path, key, word, body) in
        [("/shop", SHARED_KEY, "shop", "one"), ("/bank", SHARED_KEY, "bank", "two")]
    {
        wait::until_true("it is served", || asks(path, key).status == 200);
        let answer = asks(path, key);
        assert_eq!(answer.header("x-word").as_deref(), Some(word), "{answer:?}");
        assert!(answer.body.contains(body), "{answer:?}");
    }
    let each = [("/shop", &shop.1), ("/bank", &bank.1), ("/shop", &bank.1), ("/bank", &shop.1)];
    assert_eq!(each.map(|(path, key)| asks(path, key).status), [200, 200, 401, 401]);

    // A bad one is refused; one that came in all the same keeps only its own from being served.
    let bad = guarded("/shop", "bad").replace("upstream: orders", "upstream: nobody");
    assert_eq!(apply("shop", bad).code, Some(2));
    beside(&location, async |_, control| {
        let bad = json!({ "version": 1, "apis": { "a": { "path": "/bank/x", "public": "no" } } });
        let apply = Apply { publish: true, prune: true, ..Apply::default() };
        control.config_apply(&Caller::system("test"), &shop.0, &bad, apply).await.unwrap();
    });
    assert_eq!(apply("bank", guarded("/bank", "other")).code, Some(0));
    let word = |path: &str| asks(path, SHARED_KEY).header("x-word");
    wait::until_true("bank goes on", || word("/bank").as_deref() == Some("other"));
    wait::until_true("it is told", || {
        let all = yett.status()["control"]["workspaces"].clone();
        let all = all.as_array().cloned().unwrap_or_default();
        all.iter().any(|it| it["name"] == "shop" && it["refused"] != Value::Null)
    });
    assert_eq!(word("/shop").as_deref(), Some("shop"), "the revision before is in force");

    // A secret that is changed is taken up without a revision, and is told nowhere.
    beside(&location, async |store, control| {
        let control = with_keys(&yett, control);
        let secret = store.secret_find(&bank.0, "target").await.unwrap();
        let place = (&*bank.0, &*secret.id);
        let value = base::Secret::new(one.address.to_string());
        control.secret_update(&Caller::system("test"), place, 1, value).await.unwrap();
    });
    wait::until_true("the new value", || asks("/bank", SHARED_KEY).body.contains("one"));

    // What is taken from one stays with the other.
    beside(&location, async |_, control| revoke_all(control, &shop.0).await);
    let refused =
        ["-H", &format!("x-api-key: {SHARED_KEY}"), &format!("{}/shop", yett.url("public"))];
    wait::until_true("it is revoked", || status_of(&refused) == 401);
    let now = [("/shop", &*shop.1), ("/bank", SHARED_KEY), ("/bank", &*bank.1)];
    assert_eq!(now.map(|(path, key)| asks(path, key).status), [401, 200, 200]);
}

#[test]
fn a_master_key_that_is_lost_is_told_and_not_made_anew() {
    let yett = Yett::start(&config(""));
    let path = yett.path("state/master.key");
    wait::until_true("it is made", || path.exists());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(yett.status()["control"]["master_key"], "ok");
    let location = Location::Sqlite(yett.path("state/yett.db"));
    beside(&location, async |store, control| {
        let control = with_keys(&yett, control);
        let workspace = store.revision_newest().await.unwrap().remove(0).0;
        let value = base::Secret::new("a value".to_owned());
        control.secret_create(&Caller::system("test"), (&workspace, "s"), value).await.unwrap();
    });
    let kept = fs::read(&path).unwrap();
    let yett = again(yett, |state| fs::remove_file(state.join("master.key")).unwrap());
    yett.log.expect(&["secrets of the database can be neither kept nor read"]);
    let told = yett.status()["control"]["master_key"].to_string();
    assert!(told.contains("the master key is gone"), "{told}");
    let path = yett.path("state/master.key");
    assert!(!path.exists());
    let beside = yett.path("state/other.key");
    fs::write(&beside, kept).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(beside, path).unwrap();
    yett.log.expect(&["the master key is there again"]);
    assert_eq!(yett.status()["control"]["master_key"], "ok");
}
