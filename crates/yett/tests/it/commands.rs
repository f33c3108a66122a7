//! Commands that end by themselves.

use super::client::{curl, raw};
use super::python::Python;
use super::yett::{Launch, TOP, Yett, command, run};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

const CONFIG: &str = "# Who may call what.
version: 1
listeners: { public: { bind: \"127.0.0.1:0\" } }
upstreams: { orders: { targets: [\"127.0.0.1:1\"] } }
policies:
  - api_key
apis:
  orders:
    hosts: [api.example.com]
    path: /orders
    upstream: orders
    policies:
      - rate_limit: 10/s per consumer
    routes:
      - GET /{id}: { policies: [{ headers: { request: { set: { x-a: b } } } }] }
      - POST /
";

const TERMINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/terminal.py");

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a command with something on standard input.
fn fed(folder: &Path, arguments: &[&str], input: &str) -> super::yett::Ended {
    let mut command = command(folder, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn check_tells_by_its_exit_code() {
    let folder = Launch::new(CONFIG).folder;
    let good = run(folder.path(), &["check"]);
    assert_eq!((good.code, good.err.as_str()), (Some(0), ""));
    assert_eq!(good.out, "yett.yaml is fine: 2 routes\n");
    let strict = run(folder.path(), &["check", "--strict"]);
    assert_eq!(strict.code, Some(0), "{strict:?}");

    let warned = format!("{CONFIG}  idle: {{ public: a test, path: /idle }}\n");
    fs::write(
        folder.path().join("warned.yaml"),
        CONFIG.replace(
            "127.0.0.1:1\"] }",
            "127.0.0.1:1\"] }, unused: { targets: [\"127.0.0.1:2\"] }",
        ),
    )
    .unwrap();
    let lenient = run(folder.path(), &["check", "warned.yaml"]);
    assert_eq!(lenient.code, Some(0), "{lenient:?}");
    assert!(
        lenient.err.contains("warning: ") && lenient.err.contains("warned.yaml:4:"),
        "{lenient:?}"
    );
    let strict = run(folder.path(), &["check", "warned.yaml", "--strict"]);
    assert_eq!(strict.code, Some(2), "{strict:?}");

    fs::write(folder.path().join("bad.yaml"), warned).unwrap();
    let bad = run(folder.path(), &["check", "bad.yaml"]);
    assert_eq!((bad.code, bad.out.as_str()), (Some(2), ""));
    assert!(bad.err.contains("bad.yaml:17:3: error: "), "{bad:?}");
    assert!(!bad.err.contains('\u{1b}'), "no colours into a pipe: {bad:?}");
    assert_eq!(run(folder.path(), &["check", "--nonsense"]).code, Some(2));
}

#[test]
fn check_speaks_json() {
    let folder = Launch::new(CONFIG).folder;
    let good = json(&run(folder.path(), &["check", "--format", "json"]).out);
    assert_eq!((&good["errors"], &good["problems"]), (&Value::from(0), &Value::Array(Vec::new())));
    fs::write(folder.path().join("yett.yaml"), CONFIG.replace("hosts:", "hots:")).unwrap();
    let bad = run(folder.path(), &["check", "--format", "json"]);
    assert_eq!((bad.code, bad.err.as_str()), (Some(2), ""));
    let report = json(&bad.out);
    assert_eq!(report["errors"], 1);
    let problem = &report["problems"][0];
    assert_eq!(problem["severity"], "error");
    assert_eq!(problem["code"], "unknown_field");
    assert_eq!(
        problem["place"],
        serde_json::json!({ "file": "yett.yaml", "line": 9, "column": 5 })
    );
    assert_eq!(problem["path"], "/apis/orders/hots");
    assert_eq!(problem["help"], "did you mean `hosts`?");
}

#[test]
fn check_tells_what_a_change_means() {
    let folder = Launch::new(CONFIG).folder;
    let open = CONFIG.replace("    policies:\n      - rate_limit: 10/s per consumer\n", "");
    assert_ne!(open, CONFIG);
    fs::write(folder.path().join("new.yaml"), &open).unwrap();
    let check = |more: &[&str]| {
        run(folder.path(), &[&["check", "new.yaml", "--diff", "yett.yaml"], more].concat())
    };
    let told = check(&[]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let danger = "danger   route orders/GET /{id}, route orders/POST /: `rate_limit` no longer applies: it said `10/s`\n";
    assert!(told.out.contains(danger), "{}", told.out);
    assert_eq!(check(&["--strict"]).code, Some(2));
    let changes = &json(&check(&["--format", "json"]).out)["changes"];
    assert_eq!(changes[0]["level"], "danger");
    assert_eq!(changes[0]["pointer"], "/routes/orders~1GET ~1{id}/chain");
    fs::write(folder.path().join("new.yaml"), CONFIG).unwrap();
    let same = check(&["--strict"]);
    assert!(same.out.starts_with("nothing has changed"), "{}", same.out);
    assert_eq!(same.code, Some(0));
    fs::write(folder.path().join("yett.yaml"), "version: 1\nnope: 1\n").unwrap();
    let refused = check(&[]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("yett.yaml:2:1"), "{}", refused.err);
}

#[test]
fn an_openapi_document_becomes_a_draft_that_loads() {
    let folder = Launch::new(CONFIG).folder;
    let document = "openapi: 3.1.0
info: { title: Pets, version: 1.0.0 }
servers: [{ url: 'https://pets.test/v1' }]
paths:
  /pets/{id}: { get: { operationId: showPet, summary: Shows a pet } }
";
    fs::write(folder.path().join("pets.openapi.yaml"), document).unwrap();
    let made = run(folder.path(), &["import", "openapi", "pets.openapi.yaml"]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert!(
        made.out.contains("# Shows a pet\n      - \"GET /pets/{id}\": { name: \"showPet\" }"),
        "{}",
        made.out
    );
    let listeners = "listeners: { web: { bind: '127.0.0.1:0' } }\n";
    fs::write(folder.path().join("pets.yaml"), format!("{}{listeners}", made.out)).unwrap();
    let check = run(folder.path(), &["check", "pets.yaml"]);
    assert_eq!(check.code, Some(0), "{}", check.err);
    let served = made.out.replace("    state: draft\n", "");
    fs::write(folder.path().join("pets.yaml"), served + listeners).unwrap();
    let asked =
        run(folder.path(), &["explain", "GET", "https://pets.test/v1/pets/7", "-c", "pets.yaml"]);
    assert!(asked.out.contains("route     pets/showPet"), "{}{}", asked.out, asked.err);
    let piped =
        fed(folder.path(), &["import", "openapi", "-", "--json", "--name", "zoo"], document);
    assert_eq!(json(&piped.out)["apis"]["zoo"]["state"], "draft");
    let refused = fed(folder.path(), &["import", "openapi", "-"], "swagger: '2.0'");
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("Swagger 2.0"), "{}", refused.err);
}

#[test]
fn fmt_is_idempotent_and_keeps_comments() {
    let untidy = "# At the top.\nversion:   1\napis:\n    a: {public: 'a test', upstream: u}   # beside\nupstreams: {u: {targets: ['127.0.0.1:1']}}\n# Before listeners.\nlisteners:\n    public: {bind: '127.0.0.1:0'}\n";
    let folder = Launch::new(untidy).folder;
    let file = folder.path().join("yett.yaml");
    let untouched = run(folder.path(), &["fmt", "--check"]);
    assert_eq!(untouched.code, Some(1), "{untouched:?}");
    assert!(untouched.out.contains("yett.yaml"), "{untouched:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), untidy);

    let piped = fed(folder.path(), &["fmt", "-"], untidy);
    assert_eq!(piped.code, Some(0), "{piped:?}");
    let formatted = run(folder.path(), &["fmt"]);
    assert_eq!(formatted.code, Some(0), "{formatted:?}");
    let tidy = fs::read_to_string(&file).unwrap();
    assert_ne!(tidy, untidy);
    assert_eq!(piped.out, tidy);
    for comment in ["# At the top.", "# beside", "# Before listeners."] {
        assert!(tidy.contains(comment), "{tidy}");
    }
    assert_eq!(run(folder.path(), &["fmt", "--check"]).code, Some(0));
    assert_eq!(fed(folder.path(), &["fmt", "-"], &tidy).out, tidy);
    assert_eq!(fed(folder.path(), &["fmt", "-", "--check"], untidy).code, Some(1));
    assert_eq!(fed(folder.path(), &["fmt", "-", "--check"], &tidy).code, Some(0));
    assert_eq!(run(folder.path(), &["check"]).code, Some(0));

    let broken = fed(folder.path(), &["fmt", "-"], "version: [1\n");
    assert_eq!((broken.code, broken.out.as_str()), (Some(2), ""));
    assert!(broken.err.contains("-:"), "{broken:?}");
    let missing = run(folder.path(), &["fmt", "none.yaml"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("none.yaml"), "{missing:?}");
}

#[test]
fn fmt_does_a_whole_folder_and_leaves_the_mode_of_files_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Launch::new("version:   1\n")
        .file("other.yml", "version:    1\n")
        .file("x.txt", "a:   b\n")
        .folder;
    let file = folder.path().join("yett.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let done = run(folder.path(), &["fmt", "."]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "version: 1\n");
    assert_eq!(fs::read_to_string(folder.path().join("other.yml")).unwrap(), "version: 1\n");
    assert_eq!(fs::read_to_string(folder.path().join("x.txt")).unwrap(), "a:   b\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is left behind");
}

#[test]
fn schema_is_json_that_names_every_field() {
    let ended = run(Path::new("/"), &["schema"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let schema = json(&ended.out);
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{schema}");
    for field in ["version", "listeners", "upstreams", "apis", "consumers", "policies", "admin"] {
        assert!(schema["properties"][field].is_object(), "{field}");
    }
    assert!(ended.out.contains("rate_limit") && ended.out.contains("api_key"));
}

#[test]
fn explain_says_which_route_and_who_put_each_policy_there() {
    let folder = Launch::new(CONFIG).folder;
    let url = "http://api.example.com/orders/7?x=1";
    let text = run(folder.path(), &["explain", "GET", url]);
    assert_eq!(text.code, Some(0), "{text:?}");
    for part in [
        "listener  public",
        "path      /orders/7",
        "orders/GET /{id}  (yett.yaml:15:",
        "{id} = 7",
        "api_key",
        "(yett.yaml:6:5)",
        "rate_limit",
        "(yett.yaml:13:9)",
        "(by default)",
        "headers",
        "(yett.yaml:15:35)",
        "upstream  orders → 127.0.0.1:1",
    ] {
        assert!(text.out.contains(part), "`{part}` in {}", text.out);
    }
    let told = json(&run(folder.path(), &["explain", "GET", url, "--format", "json"]).out);
    let taken = &told[0]["outcome"]["routed"];
    assert_eq!(taken["route"], "orders/GET /{id}", "{told}");
    let chain: Vec<String> = taken["chain"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let place = &step["place"];
            let file = place["file"].as_str().unwrap();
            format!(
                "{} {file}:{}:{}",
                step["kind"].as_str().unwrap(),
                place["line"],
                place["column"]
            )
        })
        .collect();
    let expected = [
        "api_key yett.yaml:6:5",
        "rate_limit yett.yaml:13:9",
        "body_limit :0:0",
        "headers yett.yaml:15:35",
    ];
    assert_eq!(chain, expected);

    for (method, url, part) in [
        ("GET", "http://other.example.com/orders/7", "404"),
        ("PUT", "http://api.example.com/orders/7", "405"),
        ("GET", "http://api.example.com/orders/%2F", "400"),
    ] {
        let ended = run(folder.path(), &["explain", method, url]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains(part), "`{part}` in {}", ended.out);
    }
    let relative = run(folder.path(), &["explain", "GET", "/orders/7"]);
    assert_eq!(relative.code, Some(1), "{relative:?}");
    assert!(relative.err.contains("https://api.example.com/orders/1"), "{relative:?}");
    assert_eq!(run(folder.path(), &["explain", "GET", url, "-c", "none.yaml"]).code, Some(2));
}

#[test]
fn a_key_that_was_made_works_and_hashes_as_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let made = json(
        &run(folder.path(), &["key", "create", "--consumer", "alice", "--format", "json"]).out,
    );
    let (key, hash) = (made["key"].as_str().unwrap(), made["hash"].as_str().unwrap());
    assert_eq!(made["consumer"], "alice");
    let hashed = fed(folder.path(), &["key", "hash"], &format!("{key}\n"));
    assert_eq!((hashed.code, hashed.out.trim()), (Some(0), hash));
    let again = json(&run(folder.path(), &["key", "create", "--format", "json"]).out);
    assert_ne!(made["key"], again["key"]);
    // The text form is a config to paste.
    let text = run(folder.path(), &["key", "create", "--consumer", "bob"]).out;
    let bobs_key = text.lines().find_map(|line| line.strip_prefix("key ")).unwrap().trim();
    let lines = text.lines().skip_while(|line| !line.starts_with("config "));
    let pasted: Vec<&str> = lines.map(|line| line.split_at(7).1).collect();
    let config = format!(
        "{TOP}listeners: {{ public: {{ bind: \"127.0.0.1:0\" }} }}\npolicies: [api_key, {{ respond: {{ body: hello }} }}]\napis: {{ all: {{ routes: [GET /] }} }}\n{}\n  alice: {{ keys: [\"{hash}\"] }}\n",
        pasted.join("\n")
    );
    let yett = Yett::start(&config);
    let url = yett.url("public");
    for (key, consumer) in [(key, "alice"), (bobs_key, "bob")] {
        assert_eq!(curl(&["-H", &format!("x-api-key: {key}"), &url]).body, "hello", "{config}");
        assert_eq!(curl(&["-H", &format!("authorization: Bearer {key}"), &url]).body, "hello");
        yett.access.expect(&[&format!("\"consumer\":\"{consumer}\"")]);
    }
    let wrong = again["key"].as_str().unwrap();
    assert_eq!(curl(&["-H", &format!("x-api-key: {wrong}"), &url]).status, 401);
    assert!(raw(&yett.address("public"), b"GET / HTTP/1.0\r\nhost: a\r\n\r\n").contains(" 401 "));
}

#[test]
fn a_terminal_shows_what_is_typed_again_whatever_ends_the_program() {
    for (ends, code) in
        [("typed", "0"), ("INT", "130"), ("TERM", "143"), ("HUP", "129"), ("QUIT", "131")]
    {
        let mut typing = Python::start(TERMINAL, &[env!("CARGO_BIN_EXE_yett"), ends]);
        let told = typing.told.expect(&["ended"]);
        assert_eq!(told, format!("ended {code}, hidden True, shown again True"), "{ends}");
        typing.order("");
    }
}

#[test]
fn every_command_explains_itself() {
    let folder = tempfile::tempdir().unwrap();
    let top = run(folder.path(), &["--help"]);
    assert_eq!(top.code, Some(0));
    for words in [
        &["run"][..],
        &["check"],
        &["fmt"],
        &["schema"],
        &["explain"],
        &["key"],
        &["key", "create"],
        &["key", "hash"],
        &["demo"],
    ] {
        assert!(top.out.contains(words[0]), "{words:?}");
        let ended = run(folder.path(), &[words, &["--help"]].concat());
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{words:?}");
        assert!(ended.out.contains("Usage: yett"), "{words:?}: {}", ended.out);
    }
    let version = run(folder.path(), &["--version"]);
    assert_eq!(version.out.trim(), format!("yett {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(folder.path(), &[]).code, Some(2), "no command is no success");
    let typo = run(folder.path(), &["chekc"]);
    assert_eq!(typo.code, Some(2));
    assert!(typo.err.contains("check"), "{typo:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = command(Path::new("/"), &["schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn top_tells_once_what_scripts_want_to_know() {
    let yett = Yett::start(&format!(
        "{TOP}listeners: {{ public: {{ bind: \"127.0.0.1:0\" }} }}\napis: {{ all: {{ public: a test, routes: [{{ GET /: {{ policies: [{{ respond: {{ body: hi }} }}] }} }}] }} }}\n"
    ));
    let folder = tempfile::tempdir().unwrap();
    let admin = yett.admin();
    let ended = run(folder.path(), &["top", "--admin", &admin, "--once", "--json", "-i", "200ms"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let told = json(&ended.out);
    assert_eq!(told["gateway"]["state"], "serving", "{told}");
    assert_eq!(told["listeners"][0]["listener"], "public");
    let ended = run(folder.path(), &["top", "--admin", &admin, "-i", "200ms"]);
    assert!(ended.out.contains("REQ/S") && !ended.out.contains('\u{1b}'), "{}", ended.out);
    let ended = run(folder.path(), &["top", "--admin", "127.0.0.1:1", "--once"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("no gateway answers at 127.0.0.1:1"), "{}", ended.err);
}
