//! Guides: what they show on a terminal is what happens.
//!
//! A guide is read from its beginning to its end, in one folder. A config becomes `yett.yaml`, with a backend of the
//! test for each target and ports of the system's choice. What a block `console` has after `$` is run by a shell, and
//! each line below it must come out of that, in this order; `…` stands for anything. It ends
//! with 0, or as a comment says (`# ends with 3`). A file of YAML whose first line is `# NAME` is written there. The gateway is started for the
//! first block after a config, or before the next config. `redis.internal` is a Redis of the test. Policies that are shown alone are served, too: whoever shows
//! nothing gets in by none that identify callers. What a block sets, such as variables, lasts until its end; what it
//! exports, until that of the guide. With a control plane, what was shown once is copied from where it was shown
//! (`guides/shown.rs`), and what asks only the gateway is asked until it has heard of what was published.

/// What somebody copies who follows a guide.
mod shown;

use super::backend::Backend;
use super::client::get;
use super::redis::Redis;
use super::upgrade::{Heir, upgraded};
use super::wait::{self, PATIENCE};
use super::yett::{Launch, PUBLIC, TOP, Yett};
use regex::{Captures, Regex};
use shown::{Shown, lines_of, marked};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Those whose blocks are run.
const GUIDES: &[&str] = &[
    "admin-api",
    "gitops",
    "back-up-and-restore",
    "least-privilege",
    "limits-on-many-nodes",
    "load-balancing-and-health",
    "plans-limits-quotas",
    "protect-an-api",
    "protect-the-node",
    "surviving-overload",
    "tls",
    "upgrade",
    "where-and-when",
    "workspaces",
];

/// Pages of the quick start: they begin with its config, and end with a heading.
const QUICK: &[(&str, &str)] =
    &[("README.md", "\n## A complete config"), ("examples/quickstart/README.md", "\nNext: ")];

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Where guides have their Redis.
const REDIS: &str = "redis.internal:6379";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides");

/// Somebody who follows a guide.
struct Reader {
    /// Where things are made.
    folder: TempDir,
    /// By the address that the guide has for each.
    backends: BTreeMap<String, Backend>,
    redis: Option<Redis>,
    exported: BTreeMap<String, String>,
    /// What was said so far.
    shown: Shown,
    /// The last config that was shown.
    config: Option<Config>,
    gateway: Option<Yett>,
    /// Who serves after upgrades.
    heirs: Vec<Heir>,
}

/// A config as it is served here.
struct Config {
    text: String,
    /// Port and name of each listener, as shown.
    ports: Vec<(String, String)>,
}

impl Config {
    fn has_control(&self) -> bool {
        self.text.contains("\ncontrol: ")
    }
}

/// Where the admin API of the control plane is.
fn control(gateway: &Yett) -> String {
    gateway.log.find("the address of the admin API", |line| {
        let (_, address) = line.split_once("admin API on http://")?;
        Some(address.trim().to_owned())
    })
}

/// Ports and names of listeners, as a guide shows them.
fn ports(config: &str) -> Vec<(String, String)> {
    let named = Regex::new(r"^  ([a-z_]+):").unwrap();
    let bind = Regex::new(r#"bind: "?[0-9.]+:([0-9]+)"?"#).unwrap();
    let (mut ports, mut name) = (Vec::new(), String::new());
    for line in config.lines() {
        if let Some(found) = named.captures(line) {
            found[1].clone_into(&mut name);
        }
        if let Some(found) = bind.captures(line).filter(|_| line.starts_with("  ")) {
            ports.push((found[1].to_owned(), name.clone()));
        }
    }
    ports
}

/// What is below a folder, to another one.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.unwrap().success(), "cannot copy {}", from.display());
}

/// A fenced block.
#[derive(Default)]
struct Block {
    line: usize,
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for (at, line) in page.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if is_inside => is_inside = false,
            Some(language) => {
                is_inside = true;
                let language = language.to_owned();
                blocks.push(Block { line: at + 1, language, text: String::new() });
            }
            None if is_inside => {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// A command, and the lines that are shown below it.
struct Step {
    command: String,
    shown: Vec<String>,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), shown: Vec::new() });
            goes_on = command.ends_with('\\');
            continue;
        }
        let step = steps.last_mut().expect("a block begins with `$ `");
        if goes_on {
            step.command.push('\n');
            step.command.push_str(line);
            goes_on = line.ends_with('\\');
        } else {
            step.shown.push(line.to_owned());
        }
    }
    steps
}

/// Whether a line is as shown.
fn is_as_shown(line: &str, shown: &str) -> bool {
    let parts: Vec<String> = shown.split('…').map(regex::escape).collect();
    Regex::new(&format!("^{}$", parts.join(".*"))).unwrap().is_match(line)
}

/// With issuers and authorisers on this machine, where nobody listens.
fn deserted(config: &str) -> String {
    let hosts = [("idp", "127.0.0.1"), ("login", "127.0.0.2"), ("authz", "127.0.0.3")];
    hosts.iter().fold(config.to_owned(), |config, (name, address)| {
        let away = Regex::new(&format!(r"https://{name}\.[a-z.]*example(\.com)?")).unwrap();
        away.replace_all(&config, format!("https://{address}:1").as_str()).into_owned()
    })
}

impl Reader {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            backends: BTreeMap::new(),
            redis: None,
            exported: BTreeMap::new(),
            shown: Shown::default(),
            config: None,
            gateway: None,
            heirs: Vec::new(),
        }
    }

    fn follow(&mut self, name: &str) {
        let page = fs::read_to_string(Path::new(FOLDER).join(format!("{name}.md"))).unwrap();
        self.read(name, &page);
    }

    /// Follows a page of the quick start, whose config is served all along.
    fn follow_quick(&mut self, (path, end): (&str, &str)) {
        let text = |path: &str| fs::read_to_string(Path::new(REPOSITORY).join(path)).unwrap();
        self.write(&text("examples/quickstart/yett.yaml"));
        let page = text(path);
        let (page, _) = page.split_once(end).unwrap();
        self.serve();
        self.read(path, page);
    }

    fn read(&mut self, name: &str, page: &str) {
        let mut has_run = false;
        // Nobody's database may be bundled, so readers bring their own.
        if page.contains("country.mmdb") {
            let places = testkit::mmdb::of_this_machine();
            fs::write(self.folder.path().join("country.mmdb"), places).unwrap();
        }
        for block in blocks(page) {
            let place = format!("{name}:{}", block.line);
            match block.language.as_str() {
                "yaml" if block.text.starts_with("version: 1\n") => {
                    self.serve();
                    self.write(&block.text);
                }
                "yaml" if block.text.starts_with("# ") => self.keep(&block.text),
                "yaml" => self.knock(&block.text, &place),
                "console" => {
                    has_run = true;
                    self.run(&block, &place);
                }
                "sh" if name.ends_with("README.md") => self.sketch(&block, &place),
                _ => {}
            }
        }
        self.serve();
        assert!(has_run, "{name} shows no terminal");
    }

    /// Writes a file whose name stands in its first line, beside the gateway's config.
    fn keep(&mut self, shown: &str) {
        let (name, text) = shown.strip_prefix("# ").unwrap().split_once('\n').unwrap();
        if name.starts_with("examples/") {
            let there = fs::read_to_string(Path::new(REPOSITORY).join(name)).unwrap();
            assert!(there.ends_with(text), "{name} is other than shown");
        }
        let text = self.backed(shown);
        let folder = self.gateway.as_ref().map(|gateway| gateway.path(""));
        let path = folder.as_deref().unwrap_or_else(|| self.folder.path()).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Keeps a config for the next terminal.
    fn write(&mut self, shown: &str) {
        let bind = Regex::new(r#"bind: "?[0-9.]+:[0-9]+"?"#).unwrap();
        let text = bind.replace_all(shown, "bind: \"127.0.0.1:0\"");
        let text = deserted(&self.backed(&text));
        let text = if text.contains("\nadmin:") { text } else { text.replace("version: 1\n", TOP) };
        let text = text.replace("state_dir: /var/lib/yett", "state_dir: state");
        let text = text.replace("control: {}", "control: { bind: \"127.0.0.1:0\" }");
        self.config = Some(Config { text, ports: ports(shown) });
        if let Some(gateway) = self.gateway.take() {
            copy(&gateway.path(""), self.folder.path());
        }
    }

    /// With a backend of this machine for each that a config names by a private address or name.
    fn backed(&mut self, config: &str) -> String {
        if config.contains(REDIS) {
            self.redis.get_or_insert_with(|| Redis::start(&[])).be_there();
        }
        // A machine that has much to do is not one whose store is gone.
        let shared = Regex::new(r#"shared: "?(redis://[^" }\n]+)"?"#).unwrap();
        let patient = shared.replace_all(config, "shared: { redis: \"$1\", timeout: 2s }");
        let config = &self.at_redis(&patient);
        let target = Regex::new(r"\b(?:10(?:\.[0-9]+){3}|127\.0\.0\.1|[a-z0-9-]+\.internal):(?:[1-8][0-9]{3}|9[0-8][0-9]{2}|25)\b").unwrap();
        let here = |found: &Captures<'_>| {
            let backend = self.backends.entry(found[0].to_owned()).or_insert_with(Backend::echo);
            backend.address.to_string()
        };
        target.replace_all(config, here).into_owned()
    }

    fn at_redis(&self, text: &str) -> String {
        let address = self.redis.as_ref().map(|redis| format!("127.0.0.1:{}", redis.port));
        text.replace(REDIS, address.as_deref().unwrap_or(REDIS))
    }

    /// Serves policies that are shown alone, and comes without a credential.
    fn knock(&mut self, policies: &str, place: &str) {
        let kinds: Vec<&str> =
            policy::KINDS.iter().filter(|kind| kind.identifies()).map(|kind| kind.name).collect();
        let named = Regex::new(&format!(r"(?m)[-{{] ({})\b", kinds.join("|"))).unwrap();
        let identifies = named.is_match(policies);
        let public = if identifies { "" } else { "    public: a test\n" };
        let config = format!(
            "{TOP}{PUBLIC}upstreams: {{ orders: {{ targets: [\"{}\"] }} }}\napis:\n  test:\n    upstream: orders\n{public}{}",
            self.backed("10.0.0.1:8080"),
            deserted(policies)
        );
        let mut launch = Launch::new(&config);
        for found in Regex::new(r"\$\{env:([A-Z_]+)\}").unwrap().captures_iter(policies) {
            let name = found.get(1).unwrap().as_str().to_owned();
            launch = launch.env(name.leak(), "a value of at least 32 bytes, as secrets need");
        }
        let status = get(&launch.start().address("public"), "/").status;
        let expected = if identifies { [401, 503] } else { [200, 503] };
        assert!(expected.contains(&status), "{place}: {status}");
    }

    /// Starts the gateway with what was made so far beside its config.
    fn serve(&mut self) {
        let Some(config) = &self.config else { return };
        if self.gateway.is_some() {
            return;
        }
        let mut launch = Launch::new(&config.text);
        copy(self.folder.path(), launch.folder.path());
        fs::write(launch.folder.path().join("yett.yaml"), &config.text).unwrap();
        for (name, value) in &self.exported {
            // A test has few, and ends.
            launch = launch.env(name.clone().leak(), value);
        }
        let gateway = launch.start();
        if config.has_control() {
            self.shown.say(&gateway.access.find("a link", |line| {
                line.contains("/login/yett_link_").then(|| line.to_owned())
            }));
        }
        self.gateway = Some(gateway);
    }

    /// What a guide says, with the addresses and the process that are meant here.
    fn here(&self, text: &str) -> String {
        let (Some(gateway), Some(config)) = (&self.gateway, &self.config) else {
            return text.to_owned();
        };
        let process = gateway.status()["process"].to_string();
        let mut text = self.at_redis(text).replace("127.0.0.1:9901", &gateway.admin());
        if config.has_control() {
            text = text.replace("127.0.0.1:9181", &control(gateway));
        }
        text = text.replace("$(pidof yett)", &process);
        for (port, name) in &config.ports {
            text = text.replace(&format!("127.0.0.1:{port}"), &gateway.address(name));
        }
        for (shown, backend) in &self.backends {
            text = text.replace(shown, &backend.address.to_string());
        }
        text
    }

    fn run(&mut self, block: &Block, place: &str) {
        let steps = steps(block);
        let has = |word: &str| steps.iter().any(|step| step.command.contains(word));
        // What makes files or exports is there before the gateway is.
        if has("127.0.0.1") || has("kill ") || has("check --report") {
            self.serve();
        }
        let shop = Regex::new(r"127\.0\.0\.1:91[01][0-9]").unwrap();
        for found in steps.iter().flat_map(|step| shop.find_iter(&step.command)) {
            self.backed(found.as_str());
        }
        let does = |step: &Step| self.shown.copied(&self.here(&step.command));
        let commands: Vec<String> = steps.iter().map(does).collect();
        let has_control = self.config.as_ref().is_some_and(Config::has_control);
        // Of what asks the admin API nothing is asked twice.
        let only_asks = steps.iter().all(|step| step.command.contains("http://127.0.0.1:8080"))
            && !has("127.0.0.1:9181")
            && !has("yett ");
        let attempt = || {
            let told = String::from_utf8_lossy(&self.shell(&marked(&commands))).into_owned();
            let wrong = self.differs(&told, &steps);
            (told, wrong)
        };
        let (told, wrong) = if has_control && only_asks {
            wait::eventually(attempt, |(_, wrong)| wrong.is_none())
        } else {
            attempt()
        };
        if let Some(wrong) = wrong {
            panic!("{place}: {wrong}");
        }
        self.shown.say(&told);
        // Whatever follows is said by who serves then.
        if steps.last().is_some_and(|step| step.command.starts_with("kill -USR2")) {
            let gateway = self.gateway.as_ref().unwrap();
            self.heirs.push(upgraded(gateway, gateway.pid()));
            gateway.log.expect(&["finishing what is under way"]);
        }
        self.exported.extend(self.shown.exported(&told));
    }

    /// How what was told is other than what is shown.
    fn differs(&self, told: &str, steps: &[Step]) -> Option<String> {
        let mut parts = told.split('\u{1}');
        let mut part = parts.next().unwrap_or_default().to_owned();
        for step in steps {
            let command = &step.command;
            let Some((code, rest)) = parts.next().and_then(|next| next.split_once('\n')) else {
                return Some(format!("it ends before `{command}`:\n{part}"));
            };
            let expected = command.rsplit_once("# ends with ").map_or("0", |(_, code)| code);
            if code != expected {
                return Some(format!("`{command}` ends with {code}:\n{part}"));
            }
            let mut lines = part.lines().map(str::trim_end);
            for shown in &step.shown {
                if !lines.any(|line| is_as_shown(line, &self.here(shown))) {
                    return Some(format!("`{command}` does not say `{shown}`:\n{part}"));
                }
            }
            rest.clone_into(&mut part);
        }
        None
    }

    /// Runs a block of which no output is shown: behind `#` stands the status of an answer.
    fn sketch(&mut self, block: &Block, place: &str) {
        if block.text.starts_with("make ") {
            return;
        }
        let commands: Vec<String> = block.text.lines().map(|line| self.here(line)).collect();
        let told = String::from_utf8_lossy(&self.shell(&marked(&commands))).into_owned();
        let status = Regex::new(r"# ([1-5][0-9][0-9])\b").unwrap();
        for (command, said) in commands.iter().zip(lines_of(&told)) {
            let Some(found) = status.captures(command) else { continue };
            // The test's own backends answer 200 to everything.
            let expected = if found[1].starts_with('2') { "200" } else { &found[1] };
            let is_answered = said.contains(&format!("HTTP/1.1 {expected}"));
            assert!(
                is_answered || !command.starts_with("curl -i "),
                "{place}: `{command}`:\n{said}"
            );
        }
        self.exported.extend(self.shown.exported(&told));
    }

    fn shell(&self, script: &str) -> Vec<u8> {
        let program = Path::new(env!("CARGO_BIN_EXE_yett")).parent().unwrap();
        let path = format!("{}:/usr/bin:/bin", program.display());
        let folder = self.gateway.as_ref().map(|gateway| gateway.path(""));
        let output = Command::new("timeout")
            .args([&PATIENCE.as_secs().to_string(), "sh", "-c", &format!("exec 2>&1\n{script}")])
            .current_dir(folder.as_deref().unwrap_or_else(|| self.folder.path()))
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("no_proxy", "*")
            .envs(self.gateway.as_ref().map(|gateway| ("YETT_ADMIN", gateway.admin())))
            .envs(&self.exported)
            .stdin(Stdio::null())
            .output();
        output.unwrap().stdout
    }
}

#[test]
fn what_guides_show_on_a_terminal_is_what_happens() {
    std::thread::scope(|scope| {
        for name in GUIDES {
            scope.spawn(|| Reader::new().follow(name));
        }
        for page in QUICK {
            scope.spawn(|| Reader::new().follow_quick(*page));
        }
    });
}

#[test]
fn every_guide_that_shows_a_terminal_is_followed() {
    for file in fs::read_dir(FOLDER).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let page = fs::read_to_string(&path).unwrap();
        let has_terminal = blocks(&page).iter().any(|block| block.language == "console");
        assert_eq!(has_terminal, GUIDES.contains(&name), "{name}");
    }
}

#[test]
fn a_guide_that_shows_something_else_is_noticed() {
    let page = "```console\n$ echo one; \\\n  echo two\none\n```\n";
    let block = |page: &str| blocks(page).pop().unwrap();
    Reader::new().run(&block(page), "a page");
    for wrong in [page.replace("\none\n", "\ntwo\none\n"), page.replace("echo two", "false")] {
        let run = || Reader::new().run(&block(&wrong), "a page");
        assert!(std::panic::catch_unwind(run).is_err(), "{wrong}");
    }
    assert!(is_as_shown("{\"keys\":[{\"kty\"", "{\"keys\":[{…") && !is_as_shown("a", "b…"));
}
