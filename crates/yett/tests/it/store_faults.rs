//! What gateways do while the store of their limits is there, and of no use.

use super::client::get;
use super::redis::{Redis, cluster, say, store_state, watched};
use super::servers::free_port;
use super::wait::{until, until_true};
use super::yett::{Launch, PUBLIC, TOP, Yett};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// A limit so large that what is counted alone meanwhile stays below it.
fn config(store: &str, limit: &str) -> String {
    format!(
        "{TOP}{PUBLIC}stores: {{ shared: {store} }}\napis: {{ all: {{ public: a test, policies: [{{ rate_limit: {{ limit: {limit}, per: all, store: shared }} }}, {{ respond: {{ body: hi }} }}] }} }}\n"
    )
}

fn by_url(port: u16) -> String {
    format!("{{ redis: \"redis://127.0.0.1:{port}\", timeout: 2s }}")
}

fn until_state(yett: &Yett, state: &str) {
    until_true(state, || store_state(yett) == state);
}

/// Asks so often; how often it passed. Nothing but 200 and 429 is ever answered.
fn passed(yett: &Yett, times: usize) -> usize {
    let address = yett.address("public");
    let statuses: Vec<u16> = (0..times).map(|_| get(&address, "/").status).collect();
    assert!(statuses.iter().all(|it| [200, 429].contains(it)), "{statuses:?}");
    statuses.iter().filter(|it| **it == 200).count()
}

/// The lines that tell how the store is; none is told twice in a row.
fn told(yett: &Yett) -> Vec<String> {
    let messages = [
        "is reached",
        "does not answer for some counts",
        "does not answer; its limits",
        "answers again",
    ];
    let message = |line: &String| {
        let is_store = line.contains("the store of shared limits");
        messages.iter().find(|it| is_store && line.contains(**it)).map(|it| (*it).to_owned())
    };
    let told: Vec<String> = yett.log.all().iter().filter_map(message).collect();
    assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{told:?}");
    told
}

#[test]
fn a_store_that_takes_nothing_or_stands_still_is_done_without_and_told_once() {
    let redis = Redis::start(&[]);
    let yett = Yett::start(&config(&by_url(redis.port), "1000/h"));
    until_state(&yett, "up");
    assert_eq!(passed(&yett, 5), 5);
    // Of two limits of time either may end a wait.
    let faults: [(&str, &str, &[&str]); 3] = [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", &["READONLY"]),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", &["OOM"]),
        ("CLIENT PAUSE 600000 WRITE", "CLIENT UNPAUSE", &["no answer", "timed out"]),
    ];
    for (begin, end, why) in faults {
        assert!(say(redis.port, begin).unwrap().starts_with("+OK"), "{begin}");
        until_state(&yett, "down");
        assert_eq!(passed(&yett, 5), 5, "{begin}");
        let trouble = yett.status()["stores"][0]["trouble"].to_string();
        assert!(why.iter().any(|why| trouble.contains(why)), "{begin}: {trouble}");
        assert!(say(redis.port, end).unwrap().starts_with("+OK"), "{end}");
        until_state(&yett, "up");
        assert_eq!(passed(&yett, 5), 5, "{end}");
    }
    let told = told(&yett);
    assert!(told.iter().filter(|it| it.contains("does not answer;")).count() >= faults.len());
}

#[test]
fn a_store_that_talks_nonsense_is_done_without() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            // Whoever asked may have gone.
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n$-7\r\n*2\r\n:x\r\n"));
        }
    });
    let yett = Yett::start(&config(&by_url(port), "1000/h"));
    until_state(&yett, "down");
    assert_eq!(passed(&yett, 5), 5);
    told(&yett);
}

#[test]
fn a_store_behind_tls_knows_gateways_by_user_and_password() {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let made = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("openssl is installed").success(), "{arguments}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=Test"));
    openssl(&format!("req {key} -keyout redis.key -out redis.csr -subj /CN=localhost"));
    fs::write(folder.path().join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    openssl(
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out redis.pem",
    );
    let rules = "user default off\nuser limits on >hidden ~yett:* resetchannels -@all +eval +evalsha +get +set +time +zadd +zcard +zremrangebyscore +pexpire +hmget +hset +expireat +hello\n";
    fs::write(folder.path().join("users"), rules).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (mut server, port) = until("Redis finds a free port", || {
        let port = free_port();
        let mut server = Command::new("redis-server")
            .args(["--port", "0", "--bind", "127.0.0.1", "--save", ""])
            .args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
            .args(["--tls-cert-file", &at("redis.pem"), "--tls-key-file", &at("redis.key")])
            .args(["--tls-ca-cert-file", &at("ca.pem"), "--aclfile", &at("users")])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: scripts/needs.sh");
        until("it listens, or has ended", || {
            if server.try_wait().unwrap().is_some() {
                return Some(false);
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(|_| true)
        })
        .then_some((server, port))
    });
    let launch = |password: &str, ca: &str| {
        let store = format!(
            "{{ redis: \"rediss://limits@127.0.0.1:{port}\", password: \"${{env:STORE_PASSWORD}}\", timeout: 2s{ca} }}"
        );
        let launch = Launch::new(&config(&store, "10/h")).env("STORE_PASSWORD", password);
        launch.file("ca.pem", fs::read(folder.path().join("ca.pem")).unwrap()).start()
    };
    let yett = launch("hidden", ", ca: ca.pem");
    until_state(&yett, "up");
    assert_eq!(passed(&yett, 12), 10);
    let trouble = |yett: &Yett| {
        until_state(yett, "down");
        assert_eq!(passed(yett, 12), 10, "it counts alone");
        assert!(!yett.log.text().contains("hidden"));
        yett.status()["stores"][0]["trouble"].to_string()
    };
    let wrong = trouble(&launch("hidden2", ", ca: ca.pem"));
    assert!(wrong.contains("WRONGPASS") || wrong.to_lowercase().contains("auth"), "{wrong}");
    let untrusted = trouble(&launch("hidden", ""));
    assert!(untrusted.contains("certificate"), "{untrusted}");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn when_a_master_dies_gateways_go_on_with_the_one_that_sentinels_choose() {
    let (mut master, replica, sentinel) = watched();
    let store = format!(
        "{{ sentinel: {{ master: limits, at: [\"127.0.0.1:{}\"] }}, timeout: 2s }}",
        sentinel.port
    );
    let yett = Yett::start(&config(&store, "50/h"));
    until_state(&yett, "up");
    assert_eq!(passed(&yett, 20), 20);
    master.kill();
    until_state(&yett, "down");
    assert_eq!(passed(&yett, 5), 5);
    until_state(&yett, "up");
    let info = say(replica.port, "INFO replication").unwrap();
    assert!(info.contains("role:master"), "{info}");
    let rest = passed(&yett, 60);
    assert!((24..=26).contains(&rest), "{rest} of the 25 that were left");
    told(&yett);
}

#[test]
fn in_a_cluster_only_the_counts_of_a_dead_server_are_done_without() {
    let mut servers = cluster(3, 0);
    let nodes: Vec<String> = servers.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
    let config = format!(
        "{TOP}{PUBLIC}stores: {{ shared: {{ cluster: [\"{}\"], timeout: 2s }} }}\napis: {{ all: {{ public: a test, policies: [{{ rate_limit: {{ limit: 3/h, per: header x-tenant, store: shared }} }}, {{ respond: {{ body: hi }} }}] }} }}\n",
        nodes.join("\", \"")
    );
    let yett = Yett::start(&config);
    until_state(&yett, "up");
    let address = yett.address("public");
    let three_pass = |tenants: std::ops::Range<u32>| {
        for tenant in tenants {
            let ask = || {
                let head = format!(
                    "GET / HTTP/1.1\r\nhost: a\r\nx-tenant: {tenant}\r\nconnection: close\r\n\r\n"
                );
                super::client::raw(&address, head.as_bytes())
            };
            let passed = (0..5).filter(|_| ask().starts_with("HTTP/1.1 200")).count();
            assert_eq!(passed, 3, "tenant {tenant}");
        }
    };
    three_pass(0..20);
    servers[2].kill();
    three_pass(100..110);
    assert_ne!(store_state(&yett), "starting");
}
