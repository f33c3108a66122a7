//! Guides: what they show on a terminal is what happens.
//!
//! A guide is read from its beginning to its end, in one folder. A config becomes `yett.yaml`, with a backend of the
//! test for each target and ports of the system's choice. What a block `console` has after `$` is run by a shell, and
//! each line below it must come out of that, in this order; `…` stands for anything. The gateway is started for the
//! first block after a config, or before the next config. Policies that are shown alone are served, too: whoever shows
//! nothing gets in by none that identify callers. What a block sets, such as variables, lasts until its end; what it
//! exports, until that of the guide.

use super::backend::Backend;
use super::client::get;
use super::upgrade::{Heir, upgraded};
use super::wait::PATIENCE;
use super::yett::{Launch, PUBLIC, TOP, Yett};
use regex::{Captures, Regex};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Those whose blocks are run.
const GUIDES: &[&str] = &[
    "least-privilege",
    "load-balancing-and-health",
    "plans-limits-quotas",
    "protect-an-api",
    "protect-the-node",
    "surviving-overload",
    "tls",
    "upgrade",
    "where-and-when",
];

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides");

/// Somebody who follows a guide.
struct Reader {
    /// Where things are made.
    folder: TempDir,
    /// By the address that the guide has for each.
    backends: BTreeMap<String, Backend>,
    exported: Vec<(String, String)>,
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

/// Ports and names of listeners, as a guide shows them.
fn ports(config: &str) -> Vec<(String, String)> {
    let named = Regex::new(r"^  ([a-z_]+):").unwrap();
    let bind = Regex::new(r#"bind: "?[0-9.]+:([0-9]+)"?"#).unwrap();
    let (mut ports, mut name) = (Vec::new(), String::new());
    for line in config.lines() {
        if let Some(found) = named.captures(line) {
            found[1].clone_into(&mut name);
        }
        if let Some(found) = bind.captures(line) {
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
            exported: Vec::new(),
            config: None,
            gateway: None,
            heirs: Vec::new(),
        }
    }

    fn follow(&mut self, name: &str) {
        let page = fs::read_to_string(Path::new(FOLDER).join(format!("{name}.md"))).unwrap();
        let mut has_run = false;
        // Nobody's database may be bundled, so readers bring their own.
        if page.contains("country.mmdb") {
            let places = testkit::mmdb::of_this_machine();
            fs::write(self.folder.path().join("country.mmdb"), places).unwrap();
        }
        for block in blocks(&page) {
            let place = format!("{name}.md:{}", block.line);
            match block.language.as_str() {
                "yaml" if block.text.starts_with("version: 1\n") => {
                    self.serve();
                    self.write(&block.text);
                }
                "yaml" => self.knock(&block.text, &place),
                "console" => {
                    has_run = true;
                    self.run(&block, &place);
                }
                _ => {}
            }
        }
        self.serve();
        assert!(has_run, "{name} shows no terminal");
    }

    /// Keeps a config for the next terminal.
    fn write(&mut self, shown: &str) {
        let bind = Regex::new(r#"bind: "?[0-9.]+:[0-9]+"?"#).unwrap();
        let text = bind.replace_all(shown, "bind: \"127.0.0.1:0\"");
        let text = deserted(&self.backed(&text)).replace("version: 1\n", TOP);
        let text = text.replace("state_dir: /var/lib/yett", "state_dir: state");
        self.config = Some(Config { text, ports: ports(shown) });
        if let Some(gateway) = self.gateway.take() {
            copy(&gateway.path(""), self.folder.path());
        }
    }

    /// With a backend of this machine for each that a config names by a private address or name.
    fn backed(&mut self, config: &str) -> String {
        let target = Regex::new(r"\b(?:10(?:\.[0-9]+){3}|127\.0\.0\.1|[a-z0-9-]+\.internal):(?:[1-8][0-9]{3}|9[0-8][0-9]{2}|25)\b").unwrap();
        let here = |found: &Captures<'_>| {
            let backend = self.backends.entry(found[0].to_owned()).or_insert_with(Backend::echo);
            backend.address.to_string()
        };
        target.replace_all(config, here).into_owned()
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
        self.gateway = Some(launch.start());
    }

    /// What a guide says, with the addresses and the process that are meant here.
    fn here(&self, text: &str) -> String {
        let (Some(gateway), Some(config)) = (&self.gateway, &self.config) else {
            return text.to_owned();
        };
        let process = gateway.status()["process"].to_string();
        let mut text = text.replace("127.0.0.1:9901", &gateway.admin());
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
        let mut script = String::new();
        for step in &steps {
            script.push_str(&self.here(&step.command));
            script.push_str("\nprintf '\\n\\001%s\\n' $?\n");
        }
        let output = self.shell(&script);
        let told = String::from_utf8_lossy(&output);
        let mut parts = told.split('\u{1}');
        let mut part = parts.next().unwrap_or_default().to_owned();
        for step in &steps {
            let next = parts
                .next()
                .unwrap_or_else(|| panic!("{place}: it ends before `{}`", step.command));
            let (code, rest) = next.split_once('\n').unwrap();
            assert_eq!(code, "0", "{place}: `{}` fails:\n{part}", step.command);
            let mut lines = part.lines().map(str::trim_end);
            for shown in &step.shown {
                let is_there = lines.any(|line| is_as_shown(line, &self.here(shown)));
                assert!(is_there, "{place}: `{}` does not say `{shown}`:\n{part}", step.command);
            }
            rest.clone_into(&mut part);
        }
        // Whatever follows is said by who serves then.
        if steps.last().is_some_and(|step| step.command.starts_with("kill -USR2")) {
            let gateway = self.gateway.as_ref().unwrap();
            self.heirs.push(upgraded(gateway, gateway.pid()));
            gateway.log.expect(&["finishing what is under way"]);
        }
        let export = Regex::new(r"^export ([A-Z_]+)=(\S+)$").unwrap();
        for step in &steps {
            if let Some(found) = export.captures(&step.command) {
                self.exported.push((found[1].to_owned(), found[2].to_owned()));
            }
        }
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
            .envs(self.exported.iter().map(|(name, value)| (name, value)))
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
