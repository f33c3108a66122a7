//! Documents: what they link to and name exists, and every config in them loads.

use super::files::{self, Source};
use base::caps;
use policy::{KINDS, ORDER, policy_schema};
use regex::Regex;
use std::collections::HashSet;
use std::path::Path;
use testkit::gateway::report;
use testkit::{Authority, Surroundings, TestGateway, repository};
use traffic::Stage;

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// A fenced block of a document.
struct Block {
    /// Document and line.
    place: String,
    language: String,
    text: String,
}

fn blocks(source: &Source) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for (number, line) in source.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_inside => is_inside = false,
            Some(language) => {
                is_inside = true;
                let place = format!("{}:{number}", source.path);
                blocks.push(Block { place, language: language.to_owned(), text: String::new() });
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

fn all_blocks(language: &str) -> Vec<Block> {
    let documents = files::ending(".md");
    let blocks = documents.iter().flat_map(blocks);
    blocks.filter(|block| block.language == language).collect()
}

/// A heading as the end of a link.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn anchors(text: &str) -> HashSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut found = Vec::new();
    for document in files::ending(".md") {
        for (number, line) in document.lines() {
            for target in link.captures_iter(line).map(|c| c.get(1).unwrap().as_str()) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, heading) = target.split_once('#').unwrap_or((target, ""));
                let own = Path::new(&document.path);
                let file = if path.is_empty() {
                    repository().join(own)
                } else {
                    repository().join(own.parent().unwrap()).join(path)
                };
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                let is_there =
                    file.exists() && (heading.is_empty() || anchors(&text).contains(heading));
                if !is_there {
                    found.push(format!("{}:{number}: {target}", document.path));
                }
            }
        }
    }
    none("links that lead nowhere", &found);
}

#[test]
fn paths_that_are_named_exist() {
    let folders = "crates|docs|examples|scripts|schema|bench|openapi|deploy|fuzz|web";
    let named = Regex::new(&format!(r"(^|[\s`(])((?:{folders})/[\w./*-]*)")).unwrap();
    let mut found = Vec::new();
    for document in files::ending(".md") {
        for (number, line) in document.lines() {
            for path in named.captures_iter(line).map(|c| c.get(2).unwrap().as_str()) {
                let path = path.trim_end_matches('.');
                let fixed = path.split_once('*').map_or(path, |(before, _)| before);
                let fixed =
                    fixed.rsplit_once('/').filter(|_| path != fixed).map_or(fixed, |(f, _)| f);
                // What an example or a benchmark makes is not committed.
                let is_made =
                    path.contains("/certs/") || path.contains("/out/") || path.ends_with("/state");
                if !is_made && !repository().join(fixed).exists() {
                    found.push(format!("{}:{number}: {path}", document.path));
                }
            }
        }
    }
    none("paths that do not exist", &found);
}

/// Everything that a config in a document may refer to.
fn surroundings(config: &str) -> Surroundings {
    let authority = Authority::new();
    let mut pairs = std::collections::BTreeMap::new();
    let mut all = Surroundings::of(config).file("teams/one.yaml", "version: 1\n");
    let cert = Regex::new(r"\b(cert|key|ca): ([\w./-]+)\.(pem|key)").unwrap();
    for found in cert.captures_iter(config) {
        // Each certificate is for a host of its own, as entries that share one must not differ.
        let host = format!("{}.example.com", found[2].replace(['/', '.', '_'], "-"));
        let pair = pairs.entry(host.clone()).or_insert_with(|| authority.sign(&[host.as_str()]));
        let content = if &found[1] == "key" { &pair.key_pem } else { &pair.cert_pem };
        all = all.file(&format!("{}.{}", &found[2], &found[3]), content.as_bytes());
    }
    let list = Regex::new(r"\bcrl: ([\w./-]+\.crl)").unwrap();
    for found in list.captures_iter(config) {
        all = all.file(&found[1], authority.revoked(&[], std::time::Duration::from_secs(86_400)));
    }
    let addresses = Regex::new(r"\bfile: ?([\w./-]+(?:\.txt|bot\.json))").unwrap();
    for found in addresses.captures_iter(config) {
        all = all.file(found[1].trim_start_matches("./"), "203.0.113.0/24 # a list\n");
    }
    let places = Regex::new(r"\b(country|asn)\.mmdb\b").unwrap();
    for found in places.captures_iter(config) {
        all = all.file(&found[0], testkit::mmdb::of_this_machine());
    }
    let reference = Regex::new(r"\$\{(env|file):([^}]+)\}").unwrap();
    for found in reference.captures_iter(config) {
        all = match &found[1] {
            "env" => all.env(&found[2], "value-of-the-environment-32-bytes-long"),
            _ => all.file(&found[2], "value\n"),
        };
    }
    all
}

/// The upstream of the routes of short examples, and those that policies name in them.
const UPSTREAMS: &str = "{ echo: { targets: ['10.0.0.1:80'] }, orders: { targets: ['10.0.0.1:80'] }, orders-v2: { targets: ['10.0.0.1:80'] }, shadow: { targets: ['10.0.0.1:80'] } }";

/// A whole config, or the policies of a gateway made into one.
fn whole(text: &str) -> Option<String> {
    // A part that is published beside the rest.
    if text.starts_with("# ") && !text.contains("\nlisteners:") {
        let lacks = |field: &str| !text.contains(&format!("\n{field}:"));
        let rest = [
            ("listeners", "{ public: { bind: '127.0.0.1:8080' } }"),
            ("upstreams", UPSTREAMS),
            ("policies", "[api_key]"),
        ];
        let rest = rest.iter().filter(|(field, _)| lacks(field));
        return Some(
            rest.fold(text.to_owned(), |all, (field, is)| format!("{all}{field}: {is}\n")),
        );
    }
    if text.contains("version: 1\n") {
        return Some(text.to_owned());
    }
    text.starts_with("policies:\n").then(|| {
        let is_closed = KINDS.iter().filter(|kind| kind.identifies()).any(|kind| {
            let named = Regex::new(&format!(r"(?m)[-{{] {}\b", kind.name)).unwrap();
            named.is_match(text)
        });
        let public = if is_closed { "" } else { "    public: a test\n" };
        format!(
            "version: 1\nlisteners: {{ public: {{ bind: '127.0.0.1:8080' }} }}\nupstreams: {UPSTREAMS}\napis:\n  test:\n    upstream: echo\n{public}{text}"
        )
    })
}

#[test]
fn every_config_in_a_document_loads() {
    let mut found = Vec::new();
    for block in all_blocks("yaml") {
        let Some(config) = whole(&block.text) else {
            found.push(format!(
                "{}: it begins with neither `version:` nor `policies:`",
                block.place
            ));
            continue;
        };
        let report = report(&surroundings(&config));
        if report.has_errors() {
            found.push(format!("{}:\n{report}", block.place));
        }
    }
    none("configs in documents", &found);
}

#[tokio::test]
async fn the_example_of_every_policy_serves() {
    for kind in KINDS {
        let public = if kind.identifies() { "" } else { "public: a test, " };
        let config = format!(
            "version: 1\nlisteners: {{ public: {{ bind: '127.0.0.1:8080' }} }}\nupstreams: {UPSTREAMS}\napis:\n  test: {{ {public}upstream: echo, policies: [{{ {} }}] }}\n",
            kind.example
        );
        let answer = TestGateway::within(&surroundings(&config)).ask("GET /").await;
        assert!(answer.starts_with("HTTP/1.1 "), "{}: {answer}", kind.name);
    }
}

#[test]
fn every_policy_is_documented_ordered_and_described_by_a_schema() {
    let page = files::read("docs/reference/policies.md");
    let schema = policy_schema();
    for kind in KINDS {
        let name = kind.name;
        assert!(page.contains(&format!("\n## `{name}`\n")), "{name} is not in the reference");
        assert!(ORDER.iter().any(|(ordered, _)| *ordered == name), "{name} has no order");
        let forms = schema["oneOf"].as_array().unwrap();
        assert!(forms.iter().any(|form| form["properties"].get(name).is_some()), "{name}");
    }
}

#[test]
fn the_life_of_a_request_has_the_chapters_of_the_code() {
    let page = files::read("docs/life-of-a-request.md");
    let stages = [
        Stage::Admit,
        Stage::Route,
        Stage::Guard,
        Stage::Cache,
        Stage::Forward,
        Stage::Reply,
        Stage::Record,
    ];
    let names: Vec<String> = stages.iter().map(|s| format!("{s:?}").to_lowercase()).collect();
    let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let of_stages: Vec<&str> =
        headings.into_iter().filter(|heading| names.iter().any(|name| name == heading)).collect();
    assert_eq!(of_stages, names);
}

#[test]
fn the_headers_that_are_stripped_are_those_that_are_listed() {
    let page = files::read("SECURITY.md");
    let (_, after) = page.split_once("<!-- identity headers -->").unwrap();
    let (listed, _) = after.split_once("<!-- end -->").unwrap();
    let listed: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
    assert_eq!(listed, proxy::admit::IDENTITY_HEADERS);
}

#[test]
fn the_bounds_that_are_told_are_those_of_the_code() {
    let page = files::read("SECURITY.md");
    for bound in [
        format!("{} KiB of head", caps::HEAD_BYTES_MAX >> 10),
        format!("{} headers", caps::HEADERS_MAX),
        format!("{} KiB of target", caps::TARGET_BYTES_MAX >> 10),
        format!("{} s for a head", caps::HEAD_TIMEOUT_S),
        format!("{} MiB of body", caps::BODY_BYTES_DEFAULT >> 20),
        format!("{} HTTP/2 streams", caps::STREAMS_MAX),
        format!("{} connections per listener", caps::CONNECTIONS_PER_LISTENER_MAX),
    ] {
        assert!(page.contains(&bound), "SECURITY.md does not say `{bound}`");
    }
}

#[test]
fn commands_and_targets_in_documents_exist() {
    let commands = files::read("docs/reference/command-line.md");
    let makefile = files::read("Makefile");
    let command = Regex::new(r"(?:^|/| )yett ([a-z]+)\b").unwrap();
    let target = Regex::new(r"^make ([a-z]+)\b").unwrap();
    let mut found = Vec::new();
    for block in all_blocks("sh") {
        for line in block.text.lines() {
            let line = line.split(" #").next().unwrap_or_default();
            for name in command.captures_iter(line).map(|c| c.get(1).unwrap().as_str()) {
                if !commands.contains(&format!("## `yett {name}")) && name != "help" {
                    found.push(format!("{}: there is no `yett {name}`", block.place));
                }
            }
            for name in target.captures_iter(line).map(|c| c.get(1).unwrap().as_str()) {
                if !makefile.contains(&format!("\n{name}:")) {
                    found.push(format!("{}: there is no `make {name}`", block.place));
                }
            }
        }
    }
    none("commands that do not exist", &found);
}

#[test]
fn the_key_in_the_documents_opens_the_quick_start() {
    let key = Regex::new(policy::key::PATTERN).unwrap();
    let quickstart = files::read("examples/quickstart/yett.yaml");
    for document in files::ending(".md") {
        for found in key.find_iter(&document.text) {
            assert!(policy::key::has_valid_checksum(found.as_str()), "{}", document.path);
            let hash = policy::key::hash(found.as_str().as_bytes());
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(quickstart.contains(&hash), "{}: {}", document.path, found.as_str());
        }
    }
}
