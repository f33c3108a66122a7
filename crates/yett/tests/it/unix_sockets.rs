//! Unix sockets on both sides: curl comes in by one, nginx answers behind another.

use super::backend::Backend;
use super::client::{Answer, curl, curl_fails};
use super::python::Python;
use super::servers::Nginx;
use super::wait::{PATIENCE, until, until_true};
use super::yett::{Launch, TOP, Yett, plain, run, signal};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::repository;

/// What curl exits with that cannot connect.
const CURL_NO_CONNECTION: i32 = 7;

/// A folder for sockets, which is not the one of the config.
struct Sockets(TempDir);

impl Sockets {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn ask(socket: &Path, more: &[&str]) -> Answer {
    let socket = socket.to_str().unwrap();
    curl(&[&["--unix-socket", socket, "http://api.test/hello"], more].concat())
}

/// A config whose listener is this socket.
fn on(socket: &Path, target: &str, more: &str) -> String {
    let to = socket.display();
    plain(target, "").replace("\"127.0.0.1:0\" } }\nup", &format!("\"unix:{to}\"{more} }} }}\nup"))
}

/// nginx that answers with what it was asked, also at `app` and, by HTTP/2, at `h2`.
fn nginx(sockets: &Sockets) -> Nginx {
    Nginx::start(&format!(
        "listen unix:{}; listen unix:{} http2; \
         location / {{ return 200 \"$server_protocol $http_host $http_x_forwarded_for\"; }}",
        sockets.path("app").display(),
        sockets.path("h2").display()
    ))
}

#[test]
fn clients_come_in_and_targets_are_reached_by_unix_sockets() {
    let sockets = Sockets::new();
    let _nginx = nginx(&sockets);
    let (app, h2) = (sockets.path("app"), sockets.path("h2"));
    let socket = sockets.path("yett.sock");
    let config = format!(
        "{TOP}listeners: {{ public: {{ bind: \"unix:{}\" }} }}
upstreams:
  app: {{ targets: [\"unix:{}\"], host: target, health: GET / every 5s }}
  h2: {{ targets: [\"unix:{}\"], protocol: http2 }}
apis:
  app: {{ upstream: app, public: a test }}
  h2: {{ path: /h2, upstream: h2, public: a test }}
",
        socket.display(),
        app.display(),
        h2.display()
    );
    let yett = Yett::start(&config);
    assert_eq!(yett.url("public"), format!("http://unix:{}", socket.display()));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = ask(&socket, &[version]);
        assert_eq!(answer.body, "HTTP/1.1 localhost unknown", "{version}");
    }
    let socket_name = socket.to_str().unwrap();
    let answer = curl(&["--unix-socket", socket_name, "http://api.test/h2"]);
    assert_eq!(answer.body, "HTTP/2.0 api.test unknown");
    yett.access.find("an access line", |line| line.contains("\"client\":\"unix\"").then_some(()));
    let status = yett.status();
    assert_eq!(status["listeners"][0]["bind"], format!("unix:{}", socket.display()));
    until_true("its health is known", || {
        yett.status()["upstreams"][0]["targets"][0]["healthy"] == true
    });
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "others are kept out unless said otherwise");
}

#[test]
fn a_target_that_is_not_there_is_a_fault_that_names_it() {
    let sockets = Sockets::new();
    let nobody = sockets.path("nobody");
    let yett = Yett::start(&plain(&format!("unix:{}", nobody.display()), ""));
    let answer = curl(&[&yett.url("public")]);
    assert_eq!((answer.status, answer.body.contains("connect_failed")), (502, true), "{answer:?}");
    let cause = format!("connecting to unix:{} failed: No such file", nobody.display());
    yett.access.find("the cause", |line| line.contains(&cause).then_some(()));
}

#[test]
fn files_go_with_the_gateway_and_what_a_killed_one_leaves_is_replaced() {
    let sockets = Sockets::new();
    let backend = Backend::says("here");
    let socket = sockets.path("yett.sock");
    let config = on(&socket, &backend.address.to_string(), ", mode: 0600");
    let mut killed = Yett::start(&config);
    assert_eq!(ask(&socket, &[]).body, "here");
    killed.signal("KILL");
    assert!(!killed.ended().success());
    assert_eq!(sockets.names(), ["yett.sock", "yett.sock.lock"], "nobody was there to remove them");
    let mut yett = Yett::start(&config);
    assert_eq!(ask(&socket, &[]).body, "here");
    let other = Launch::new(&config);
    let refused = run(other.folder.path(), &["run", "yett.yaml"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("another program holds it (`ss -lxp`"), "{}", refused.err);
    assert_eq!(ask(&socket, &[]).body, "here", "the first one does not suffer");
    yett.signal("TERM");
    assert!(yett.ended().success());
    assert_eq!(sockets.names(), Vec::<String>::new());
    let socket = socket.to_str().unwrap();
    assert_eq!(curl_fails(&["--unix-socket", socket, "http://api.test/"]), CURL_NO_CONNECTION);
}

#[test]
fn an_upgrade_hands_a_unix_socket_over() {
    let sockets = Sockets::new();
    let backend = Backend::says("here");
    let socket = sockets.path("yett.sock");
    let mut yett = Yett::start(&on(&socket, &backend.address.to_string(), ""));
    let mut open = UnixStream::connect(&socket).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    yett.signal("USR2");
    let first = u64::from(yett.pid());
    let heir = until("another process serves", || {
        yett.status()["process"].as_u64().filter(|process| *process != first)
    });
    assert_eq!(ask(&socket, &[]).body, "here");
    open.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("connection: close") && answer.ends_with("here"), "{answer}");
    assert!(yett.ended().success());
    assert_eq!(ask(&socket, &[]).body, "here", "the files stay with who serves");
    signal(u32::try_from(heir).unwrap(), "TERM");
    until_true("the files are gone", || sockets.names().is_empty());
}

#[test]
fn an_upgrade_leaves_no_file_of_a_socket_that_is_no_longer_wanted() {
    let sockets = Sockets::new();
    let backend = Backend::says("here");
    let (old, kept) = (sockets.path("old.sock"), sockets.path("kept.sock"));
    let target = backend.address.to_string();
    let both = on(&old, &target, "").replace(
        "listeners: { ",
        &format!("listeners: {{ other: {{ bind: \"unix:{}\" }}, ", kept.display()),
    );
    let mut yett = Yett::start(&both);
    assert_eq!(ask(&old, &[]).body, "here");
    // A reload cannot do that in one step, an upgrade can.
    assert_eq!(yett.reload(on(&kept, &target, ""))["adopted"], false);
    yett.signal("USR2");
    let first = u64::from(yett.pid());
    let heir = until("another process serves", || {
        yett.status()["process"].as_u64().filter(|process| *process != first)
    });
    assert!(yett.ended().success());
    assert_eq!(ask(&kept, &[]).body, "here");
    until_true("the old files are gone", || sockets.names() == ["kept.sock", "kept.sock.lock"]);
    signal(u32::try_from(heir).unwrap(), "KILL");
}

#[test]
fn a_reload_moves_a_socket_and_changes_who_may_connect() {
    let sockets = Sockets::new();
    let backend = Backend::says("here");
    let (old, new) = (sockets.path("old.sock"), sockets.path("new.sock"));
    let target = backend.address.to_string();
    let yett = Yett::start(&on(&old, &target, ""));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(yett.reload(on(&old, &target, ", mode: 0666"))["adopted"], true);
    assert_eq!(mode(&old), 0o666);
    assert_eq!(yett.reload(on(&new, &target, ", mode: 0640"))["adopted"], true);
    assert_eq!(mode(&new), 0o640);
    assert_eq!(ask(&new, &[]).body, "here");
    assert_eq!(sockets.names(), ["new.sock", "new.sock.lock"]);
    let blocked = sockets.path("file");
    fs::write(&blocked, "precious").unwrap();
    let refused = yett.reload(on(&blocked, &target, ""));
    assert_eq!(refused["adopted"], false, "{refused}");
    assert_eq!(ask(&new, &[]).body, "here");
    assert_eq!(fs::read_to_string(&blocked).unwrap(), "precious");
}

#[test]
fn a_proxy_on_a_unix_socket_is_believed_if_it_is_listed() {
    let sockets = Sockets::new();
    let backend = Backend::echo();
    let target = backend.address.to_string();
    let (header, address) = (sockets.path("header"), sockets.path("address"));
    let config = format!(
        "{}trusted_proxies: [unix]\n",
        on(&header, &target, "").replace(
            "listeners: { ",
            &format!(
                "listeners: {{ announced: {{ bind: \"unix:{}\", proxy_protocol: {{ from: [unix] }} }}, ",
                address.display()
            )
        )
    );
    let yett = Yett::start(&config);
    let answer = ask(&header, &["-H", "x-forwarded-for: 192.0.2.9"]);
    assert!(answer.body.contains("x-forwarded-for: 192.0.2.9, unknown"), "{}", answer.body);
    let mut io = UnixStream::connect(&address).unwrap();
    let request = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    io.write_all(request).unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("x-forwarded-for: 192.0.2.7"), "{answer}");
    for client in ["192.0.2.9", "192.0.2.7"] {
        let wanted = format!("\"client\":\"{client}\"");
        yett.access.find("the client", |line| line.contains(&wanted).then_some(()));
    }
}

#[test]
fn bytes_pass_from_one_unix_socket_to_another() {
    let sockets = Sockets::new();
    let (front, back) = (sockets.path("front"), sockets.path("back"));
    let target = UnixListener::bind(&back).unwrap();
    let config = format!(
        "{TOP}listeners: {{ db: {{ bind: \"unix:{}\", tcp: {{ upstream: db, from: [unix] }} }} }}
upstreams: {{ db: {{ targets: [\"unix:{}\"], proxy_protocol: v1 }} }}
",
        front.display(),
        back.display()
    );
    let yett = Yett::start(&config);
    assert_eq!(yett.status()["listeners"][0]["speaks"], "tcp");
    let mut client = UnixStream::connect(&front).unwrap();
    let (mut server, _) = target.accept().unwrap();
    for io in [&client, &server] {
        io.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    client.write_all(b"hello").unwrap();
    let wanted = b"PROXY UNKNOWN\r\nhello";
    let mut taken = vec![0; wanted.len()];
    server.read_exact(&mut taken).unwrap();
    assert_eq!(taken, wanted, "a client without an address is nobody that could be told of");
    drop(client);
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn the_example_runs_as_its_page_says() {
    let sockets = Sockets::new();
    let folder = repository().join("examples/unix-socket");
    let program = folder.join("orders.py");
    let backend = sockets.path("orders.sock");
    let running = Python::start(program.to_str().unwrap(), &[backend.to_str().unwrap()]);
    running.told.find("that it serves", |line| line.starts_with("serving").then_some(()));
    let config = fs::read_to_string(folder.join("yett.yaml")).unwrap();
    let config = format!("{config}admin: {{ bind: \"127.0.0.1:0\" }}\n");
    let launch = Launch::new(&config).env("XDG_RUNTIME_DIR", sockets.0.path().to_str().unwrap());
    let _yett = launch.start();
    let socket = sockets.path("yett.sock");
    let address = ["--unix-socket", socket.to_str().unwrap()];
    let answer = curl(&[&address[..], &["http://localhost/orders/1"]].concat());
    assert_eq!(answer.body, "GET /orders/1 for localhost\n");
}

#[test]
fn what_cannot_be_a_unix_socket_is_told_by_check() {
    let long = "x".repeat(107);
    let cases = [
        (
            "listeners: { a: { bind: unix:/run/c.sock, mode: 660 } }".to_owned(),
            &["expected a mode in octal with the zero in front, such as `0660`"][..],
        ),
        (
            "listeners: { a: { bind: unix:/run/c.sock, mode: 0400 } }".to_owned(),
            &["with `0400` nobody can connect"],
        ),
        (
            format!(
                "admin: {{ bind: unix:/run/admin.sock }}
listeners:
  a: {{ bind: unix:run/a.sock }}
  b: {{ bind: unix:/{long} }}
  e: {{ bind: 127.0.0.1:8080, mode: 0660 }}
  f: {{ bind: unix:/run/f.sock }}
  g: {{ bind: unix:/run/f.sock }}
upstreams: {{ u: {{ targets: [\"unix:app.sock\"] }} }}
apis: {{ u: {{ upstream: u, public: a test }} }}"
            ),
            &[
                "the admin listener cannot be a Unix socket",
                "`unix:run/a.sock` must be an absolute path",
                "has 108 bytes, and the path of a Unix socket can have 107",
                "`mode` is for Unix sockets",
                "listen on the same path",
                "`unix:app.sock` must be an absolute path",
            ],
        ),
        (
            "listeners: { a: { bind: 127.0.0.1:8080 } }
upstreams: { v: { targets: [\"unix:/run/v.sock\"], proxy: \"http://127.0.0.1:3128\" } }
apis: { v: { upstream: v, public: a test } }"
                .to_owned(),
            &["a Unix socket cannot be reached through a proxy"],
        ),
    ];
    for (config, parts) in cases {
        let launch = Launch::new(&format!("version: 1\n{config}\n"));
        let checked = run(launch.folder.path(), &["check"]);
        let told = format!("{}{}", checked.out, checked.err);
        for part in parts {
            assert!(told.contains(part), "{part}\n{told}");
        }
    }
}
