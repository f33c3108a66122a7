//! Teams on one gateway: none knows, reaches, hinders or reads anything of another, or of the machine.

use aws_lc_rs::digest::{SHA256, digest};
use std::sync::Arc;
use testkit::{Backend, Grants, Surroundings, TestGateway};
use traffic::directory::{Consumer, Credential, CredentialHash, CredentialKind, qualified};

const PLATFORM: &str = "version: 1
listeners: { public: { bind: '127.0.0.1:8080' } }
upstreams: { own: { targets: ['10.0.0.9:80'] } }
policies: [{ rate_limit: { id: all, limit: 1000/min } }]
apis: { own: { hosts: [own.test], upstream: own, policies: [api_key] } }
plans: { gold: { limit: 50/s } }
consumers: { alice: { plan: gold, keys: ['sha256:2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90'] } }
";

/// A team with one API, one upstream, and names that others have as well.
fn team(target: &str, limit: &str) -> String {
    format!(
        "version: 1
upstreams: {{ own: {{ targets: ['{target}'] }} }}
plans: {{ gold: {{ limit: {limit} }} }}
roles: {{ reader: {{ own: read }} }}
apis:
  own:
    hosts: [TEAM.test]
    upstream: own
    policies: [POLICIES]
"
    )
}

fn hosts(hosts: &[&str]) -> Grants {
    Grants { hosts: hosts.iter().map(|&host| host.to_owned()).collect(), ..Grants::default() }
}

/// Two teams that have the same policies.
fn two(policies: &str) -> TestGateway {
    let config = |name: &str, target: &str, limit: &str| {
        team(target, limit).replace("TEAM", name).replace("POLICIES", policies)
    };
    let around = Surroundings::of(PLATFORM)
        .workspace("shop", &config("shop", "10.0.0.1:80", "2/min"), hosts(&["shop.test"]))
        .workspace("bank", &config("bank", "10.0.0.2:80", "3/min"), hosts(&["bank.test"]));
    let gateway = TestGateway::within(&around);
    for (address, name) in
        [("10.0.0.1:80", "shop"), ("10.0.0.2:80", "bank"), ("10.0.0.9:80", "own")]
    {
        gateway.put(address, says(name));
    }
    gateway
}

fn says(text: &str) -> Backend {
    Backend::answer(&format!("HTTP/1.1 200 OK\ncontent-length: {}\n\n{text}", text.len()))
}

fn sha(text: &str) -> CredentialHash {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap()
}

/// A consumer of a team, as the platform keeps it.
fn consumer(workspace: &str, name: &str) -> Arc<Consumer> {
    Arc::new(Consumer {
        name: qualified(Some(workspace), name).into(),
        roles: Box::new(["reader".into()]),
        plan: Some("gold".into()),
        is_known: true,
        workspace: Some(workspace.into()),
        ..Consumer::default()
    })
}

fn give(gateway: &TestGateway, workspace: &str, name: &str, key: &str) {
    let credential = Credential::new(CredentialKind::ApiKey, consumer(workspace, name));
    gateway.directory.put(sha(key), &Arc::new(credential));
}

async fn ask(gateway: &TestGateway, host: &str, more: &str) -> String {
    let answer = gateway.ask(&format!("GET / HTTP/1.1\nhost: {host}\n{more}")).await;
    answer.split(' ').nth(1).unwrap().to_owned()
}

async fn with_key(gateway: &TestGateway, host: &str, key: &str) -> String {
    ask(gateway, host, &format!("x-api-key: {key}\n")).await
}

#[tokio::test(start_paused = true)]
async fn a_key_of_one_team_is_unknown_to_all_others() {
    let gateway = two("api_key, { acl: [alice] }, rbac");
    give(&gateway, "shop", "alice", "shop-key");
    give(&gateway, "bank", "alice", "bank-key");
    // Two teams may give out the same key, to people of the same name.
    give(&gateway, "shop", "alice", "same");
    give(&gateway, "bank", "alice", "same");
    for (host, key, expected) in [
        ("shop.test", "shop-key", "200"),
        ("bank.test", "shop-key", "401"),
        ("own.test", "shop-key", "401"),
        ("bank.test", "bank-key", "200"),
        ("shop.test", "bank-key", "401"),
        ("own.test", "same", "401"),
        ("shop.test", "alice", "401"),
        ("own.test", "alice", "200"),
    ] {
        assert_eq!(with_key(&gateway, host, key).await, expected, "{host} {key}");
    }
    // Who takes back a key takes back that of its own team.
    assert!(gateway.directory.within("bank").remove(&sha("same")));
    assert!(!gateway.directory.remove(&sha("same")), "the platform never gave it out");
    assert_eq!(with_key(&gateway, "shop.test", "same").await, "200");
    assert_eq!(with_key(&gateway, "bank.test", "same").await, "401");
}

#[tokio::test(start_paused = true)]
async fn what_one_team_uses_up_is_left_to_the_others() {
    let gateway = two("api_key, { rate_limit: 4/min per consumer }");
    give(&gateway, "shop", "alice", "shop-key");
    give(&gateway, "bank", "alice", "bank-key");
    // Both plans are called gold.
    for expected in ["200", "200", "429"] {
        assert_eq!(with_key(&gateway, "shop.test", "shop-key").await, expected);
    }
    for expected in ["200", "200", "200", "429"] {
        assert_eq!(with_key(&gateway, "bank.test", "bank-key").await, expected);
    }
    assert_eq!(with_key(&gateway, "own.test", "alice").await, "200");
}

#[tokio::test(start_paused = true)]
async fn guesses_at_one_team_lock_nobody_out_elsewhere() {
    let gateway = two("basic");
    let login = "authorization: Basic YWRtaW46d3Jvbmc=\n";
    let mut tries = 0;
    while ask(&gateway, "shop.test", login).await != "429" {
        tries += 1;
        assert!(tries < 200, "nobody is ever locked out");
    }
    assert_eq!(ask(&gateway, "bank.test", login).await, "401");
}

#[tokio::test(start_paused = true)]
async fn backends_and_expressions_know_callers_by_the_names_of_their_team() {
    let gateway = two(
        "api_key, { allow: consumer.name == 'alice' }, { identity_headers: { consumer: x-user } }",
    );
    gateway.put("10.0.0.1:80", Backend::echo());
    give(&gateway, "shop", "alice", "key");
    let answer =
        gateway.ask("GET / HTTP/1.1\nhost: shop.test\nx-api-key: key\nx-user: bob\n").await;
    assert!(
        answer.contains("x-yett-consumer: alice") || answer.contains("x-user: alice"),
        "{answer}"
    );
    assert!(!answer.contains("shop.alice") && !answer.contains("bob"), "{answer}");
    // What one team's policies write is no business of the others.
    gateway.put("10.0.0.9:80", Backend::echo());
    let answer =
        gateway.ask("GET / HTTP/1.1\nhost: own.test\nx-api-key: alice\nx-user: bob\n").await;
    assert!(answer.contains("x-user: bob"), "{answer}");
}

/// The report of a team's config, or what becomes of a request.
async fn alone(config: &str, grants: Grants) -> Result<String, String> {
    let around = Surroundings::of(PLATFORM)
        .workspace("shop", config, grants)
        .secret("shop", "token", "s3cret")
        .secret("bank", "other", "theirs")
        .env("PATH_OF_HOST", "/root");
    let report = testkit::gateway::report(&around);
    if report.has_errors() {
        return Err(report.to_string());
    }
    let gateway = TestGateway::within(&around);
    gateway.put("10.0.0.1:80", Backend::echo());
    gateway.put("127.0.0.1:9901", says("operators only"));
    gateway.put("169.254.169.254:80", says("keys of the machine"));
    Ok(gateway.ask("GET / HTTP/1.1\nhost: shop.test\n").await)
}

fn to(target: &str) -> String {
    format!(
        "version: 1\nupstreams: {{ own: {{ targets: ['{target}'] }} }}\napis: {{ own: {{ hosts: [shop.test], public: a test, upstream: own }} }}\n"
    )
}

#[tokio::test(start_paused = true)]
async fn no_target_leads_inward_unless_that_is_delegated() {
    let granted = hosts(&["shop.test"]);
    for target in [
        "127.0.0.1:9901",
        "inward.test:9901",
        "169.254.169.254:80",
        "[::1]:9901",
        "[::ffff:127.0.0.1]:9901",
    ] {
        let answer = alone(&to(target), granted.clone()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 50"), "{target}: {answer}");
        assert!(!answer.contains("operators only") && !answer.contains("keys"), "{answer}");
    }
    let answer = alone(&to("10.0.0.1:80"), granted.clone()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let inward = Grants { inward: true, ..granted };
    let answer = alone(&to("inward.test:9901"), inward).await.unwrap();
    assert!(answer.contains("operators only"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_team_reads_its_own_secrets_and_nothing_else() {
    let with = |value: &str| {
        to("10.0.0.1:80").replace(
            "upstream: own }",
            &format!("upstream: own, policies: [{{ headers: {{ request: {{ set: {{ x-token: '{value}' }} }} }} }}] }}"),
        )
    };
    let granted = hosts(&["shop.test"]);
    let answer = alone(&with("${secret:token}"), granted.clone()).await.unwrap();
    assert!(answer.contains("x-token: s3cret"), "{answer}");
    for reference in ["${env:PATH_OF_HOST}", "${file:/etc/passwd}"] {
        let report = alone(&with(reference), granted.clone()).await.unwrap_err();
        assert!(report.contains("which a workspace does not read"), "{report}");
    }
    let around = Surroundings::of(PLATFORM)
        .workspace("shop", &with("${secret:other}"), granted)
        .secret("bank", "other", "theirs");
    let report = testkit::gateway::report(&around).to_string();
    assert!(report.contains("there is no secret `other`"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn no_team_exempts_itself_from_what_the_platform_says() {
    let config = to("10.0.0.1:80")
        .replace("upstream: own }", "upstream: own, exempt: { rate_limit/all: we are special } }");
    let around = Surroundings::of(PLATFORM).workspace("shop", &config, hosts(&["shop.test"]));
    let report = testkit::gateway::report(&around).to_string();
    assert!(report.contains("no inherited policy is named `rate_limit/all`"), "{report}");
    // Of its own policies for all its APIs it may.
    let config = to("10.0.0.1:80")
        .replace("upstream: own }", "upstream: own, exempt: { rate_limit/mine: we are special } }");
    let config = format!("{config}policies: [{{ rate_limit: {{ id: mine, limit: 1/h }} }}]\n");
    let gateway = TestGateway::within(&Surroundings::of(PLATFORM).workspace(
        "shop",
        &config,
        hosts(&["shop.test"]),
    ));
    gateway.put("10.0.0.1:80", Backend::echo());
    for _ in 0..3 {
        assert_eq!(ask(&gateway, "shop.test", "").await, "200");
    }
}
