//! Guides: what they show on a terminal is what happens.
//!
//! A guide is read from its beginning to its end, in one folder. A config becomes `yett.yaml`, with the backend of the
//! test as its target and a port of the system's choice. What a block `console` has after `$` is run by a shell, and
//! each line below it must come out of that, in this order; `…` stands for anything. The gateway is started for the
//! first block after a config. Policies that are shown alone are served, too: whoever shows nothing gets in by none that
//! identify callers. What a block sets, such as variables, lasts until its end; what it exports, until that
//! of the guide.

use super::backend::Backend;
use super::client::get;
use super::yett::{Launch, PUBLIC, TOP, Yett};
use regex::Regex;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Those whose blocks are run.
const GUIDES: &[&str] = &["protect-an-api"];

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides");

/// Somebody who follows a guide.
struct Reader {
    /// Where things are made.
    folder: TempDir,
    backend: Backend,
    exported: Vec<(String, String)>,
    /// The last config that was shown, and on which port it is served there.
    config: Option<(String, String)>,
    gateway: Option<Yett>,
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
            backend: Backend::echo(),
            exported: Vec::new(),
            config: None,
            gateway: None,
        }
    }

    fn follow(&mut self, name: &str) {
        let page = fs::read_to_string(Path::new(FOLDER).join(format!("{name}.md"))).unwrap();
        let mut has_run = false;
        for block in blocks(&page) {
            let place = format!("{name}.md:{}", block.line);
            match block.language.as_str() {
                "yaml" if block.text.starts_with("version: 1\n") => self.write(&block.text),
                "yaml" => self.knock(&block.text, &place),
                "console" => {
                    has_run = true;
                    self.run(&block, &place);
                }
                _ => {}
            }
        }
        assert!(has_run, "{name} shows no terminal");
    }

    /// Keeps a config for the next terminal.
    fn write(&mut self, shown: &str) {
        let bind = Regex::new(r#"bind: "?[0-9.]+:([0-9]+)"?"#).unwrap();
        let targets = Regex::new(r"targets: \[[^\]]*\]").unwrap();
        let ports: Vec<&str> =
            bind.captures_iter(shown).map(|found| found.get(1).unwrap().as_str()).collect();
        let &[port] = &ports[..] else {
            // Nobody could tell which port is meant below it.
            self.config = None;
            return;
        };
        let shown = deserted(shown);
        let config = bind.replace_all(&shown, "bind: \"127.0.0.1:0\"");
        let target = format!("targets: [\"{}\"]", self.backend.address);
        let config = targets.replace_all(&config, target.as_str()).replace("version: 1\n", TOP);
        self.config = Some((config, port.to_owned()));
        self.gateway = None;
    }

    /// Serves policies that are shown alone, and comes without a credential.
    fn knock(&self, policies: &str, place: &str) {
        let kinds: Vec<&str> =
            policy::KINDS.iter().filter(|kind| kind.identifies()).map(|kind| kind.name).collect();
        let named = Regex::new(&format!(r"(?m)[-{{] ({})\b", kinds.join("|"))).unwrap();
        let identifies = named.is_match(policies);
        let public = if identifies { "" } else { "    public: a test\n" };
        let config = format!(
            "{TOP}{PUBLIC}upstreams: {{ orders: {{ targets: [\"{}\"] }} }}\napis:\n  test:\n    upstream: orders\n{public}{}",
            self.backend.address,
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
        let Some((config, _)) = &self.config else { return };
        if self.gateway.is_some() {
            return;
        }
        let mut launch = Launch::new(config);
        for file in fs::read_dir(self.folder.path()).unwrap() {
            let file: PathBuf = file.unwrap().path();
            let name = file.file_name().unwrap().to_str().unwrap();
            launch = launch.file(name, fs::read(&file).unwrap());
        }
        for (name, value) in &self.exported {
            // A test has few, and ends.
            launch = launch.env(name.clone().leak(), value);
        }
        self.gateway = Some(launch.start());
    }

    fn run(&mut self, block: &Block, place: &str) {
        let steps = steps(block);
        // What makes files or exports is there before the gateway is.
        if steps.iter().any(|step| step.command.contains("127.0.0.1")) {
            self.serve();
        }
        let address = self.gateway.as_ref().map(|gateway| gateway.address("public"));
        let here = |text: &str| match (&self.config, &address) {
            (Some((_, port)), Some(address)) => text.replace(&format!("127.0.0.1:{port}"), address),
            _ => text.to_owned(),
        };
        let mut script = String::new();
        for step in &steps {
            script.push_str(&here(&step.command));
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
                let is_there = lines.any(|line| is_as_shown(line, &here(shown)));
                assert!(is_there, "{place}: `{}` does not say `{shown}`:\n{part}", step.command);
            }
            rest.clone_into(&mut part);
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
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{script}")])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("no_proxy", "*")
            .envs(self.exported.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output();
        output.unwrap().stdout
    }
}

#[test]
fn what_guides_show_on_a_terminal_is_what_happens() {
    for name in GUIDES {
        Reader::new().follow(name);
    }
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
