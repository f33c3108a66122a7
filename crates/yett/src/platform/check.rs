//! Whether a config of a workspace may be published: what the gateway would say of it, with pointers into it.

use super::parts::{self, Part, Parts, file_name};
use super::{DEFAULT, Shared};
use crate::prepare;
use base::{Node, Place, Problem, Report, Severity, Value};
use control::{Asked, Checked, Finding};
use model::{EffectiveConfig, join};
use std::collections::HashMap;
use std::sync::Arc;

/// What only the file of those who run the gateway says: it is needed before the database is there, or speaks of the host.
const OF_THE_FILE: [&str; 6] = ["state_dir", "workers", "admin", "control", "include", "consumers"];

/// Tries a config, without bringing anything of it to life.
pub(super) fn check(shared: &Shared, asked: Asked<'_>) -> Checked {
    let (newest, used) = shared.parts();
    let known = newest.iter().chain(&used).find(|(_, part)| part.id == asked.workspace);
    let name = known.map_or_else(|| asked.name.to_owned(), |(name, _)| name.clone());
    let mut checked = Checked::default();
    let value: serde_json::Value = serde_json::from_str(asked.config).unwrap_or_default();
    if name == DEFAULT {
        host(&value, &mut String::new(), &mut checked.errors);
        for field in OF_THE_FILE.iter().filter(|field| value.get(**field).is_some()) {
            checked.errors.push(Finding {
                pointer: format!("/{field}"),
                message: format!("`{field}` belongs into the config file of the gateway"),
            });
        }
    }
    let (grants, secrets) = match shared.known_now(asked.workspace, &name) {
        Ok(known) => known,
        Err(message) => {
            checked.errors.push(Finding { pointer: String::new(), message });
            return checked;
        }
    };
    let (id, config) = (asked.workspace.to_owned(), Arc::from(asked.config));
    let mut tried: Parts = used.clone();
    tried.insert(name.clone(), Part { id, number: 0, config, grants });
    let look = |parts: &Parts| {
        let published = parts::published(parts, &used, &secrets);
        prepare::read_with(shared.root(), &published).check().report
    };
    let report = look(&tried);
    sort_out(&report, &name, asked.config, &mut checked);
    let is_elsewhere =
        |it: &&Problem| it.severity == Severity::Error && *it.place.file != *file_name(&name);
    let elsewhere: Vec<&Problem> = report.problems().iter().filter(is_elsewhere).collect();
    if !elsewhere.is_empty() {
        // What is wrong without this config as well is not its author's to mend.
        let before = look(&used);
        let is_new = |it: &&&Problem| !before.problems().contains(it);
        let mut new = elsewhere.iter().filter(is_new).peekable();
        if name == DEFAULT {
            checked.errors.extend(new.map(|it| Finding {
                pointer: String::new(),
                message: format!("{}: {}", it.place, message(it)),
            }));
        } else if new.peek().is_some() {
            // What others have written is none of its author's business.
            checked.errors.push(stranger("others would no longer be served beside it"));
        } else if elsewhere
            .iter()
            .any(|it| join::workspace_of(&it.place).is_none_or(|it| it == DEFAULT))
        {
            // Beside a config with errors no workspace is looked at.
            checked.errors.push(stranger(
                "the gateway's own config has errors, so that nothing can be tried beside it",
            ));
        }
    }
    checked
}

/// What the gateway would come to with a config, if nothing is wrong with that.
pub(super) fn effect(shared: &Shared, asked: Asked<'_>) -> Option<EffectiveConfig> {
    let (newest, used) = shared.parts();
    let known = newest.iter().chain(&used).find(|(_, part)| part.id == asked.workspace);
    let name = known.map_or_else(|| asked.name.to_owned(), |(name, _)| name.clone());
    let (grants, secrets) = shared.known_now(asked.workspace, &name).ok()?;
    let (id, config) = (asked.workspace.to_owned(), Arc::from(asked.config));
    let mut tried: Parts = used.clone();
    tried.insert(name.clone(), Part { id, number: 0, config, grants });
    let published = parts::published(&tried, &used, &secrets);
    let checked = prepare::read_with(shared.root(), &published).check();
    let is_wrong =
        |it: &Problem| it.severity == Severity::Error && *it.place.file == *file_name(&name);
    if checked.report.problems().iter().any(is_wrong) {
        return None;
    }
    checked.effective()
}

/// What is not within a config that cannot be published.
fn stranger(why: &str) -> Finding {
    let message = format!("{why}; ask those who run the platform");
    Finding { pointer: String::new(), message }
}

fn message(problem: &Problem) -> String {
    match &problem.help {
        Some(help) => format!("{}; {help}", problem.message),
        None => problem.message.clone(),
    }
}

/// Problems of a workspace's own part, as findings.
fn sort_out(report: &Report, name: &str, config: &str, checked: &mut Checked) {
    let file: Arc<str> = Arc::from(file_name(name));
    let node = model::yaml::parse(parts::text(config).as_bytes(), &file, &mut Report::new());
    let mut pointers = HashMap::new();
    if let Some(node) = &node {
        places(node, String::new(), &mut pointers);
    }
    for problem in report.problems().iter().filter(|it| it.place.file == file) {
        let pointer = pointers.get(&problem.place).unwrap_or(&problem.path).clone();
        let finding = Finding { pointer, message: message(problem) };
        match problem.severity {
            Severity::Error => checked.errors.push(finding),
            Severity::Warning => checked.warnings.push(finding),
            Severity::Note => {}
        }
    }
}

/// One more step of a JSON pointer.
pub(crate) fn below(pointer: &str, step: &str) -> String {
    format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"))
}

/// Where each value and key of a document was written, and what points there.
pub(crate) fn places(node: &Node, pointer: String, found: &mut HashMap<Place, String>) {
    match &node.value {
        Value::Map(fields) => {
            for (key, value) in fields {
                let pointer = below(&pointer, &key.value);
                found.insert(key.place.clone(), pointer.clone());
                places(value, pointer, found);
            }
        }
        Value::List(items) => {
            for (at, item) in items.iter().enumerate() {
                places(item, format!("{pointer}/{at}"), found);
            }
        }
        _ => {}
    }
    found.insert(node.place.clone(), pointer);
}

/// Refuses references to what only the host has.
fn host(value: &serde_json::Value, pointer: &mut String, errors: &mut Vec<Finding>) {
    let length = pointer.len();
    match value {
        serde_json::Value::String(text) => {
            if let Some(found) = ["${env:", "${file:"].into_iter().find(|it| refers(text, it)) {
                let message = format!(
                    "`{found}…}}` reads the host, which what is published must not; keep the value as a secret of the workspace and write `${{secret:NAME}}`, or leave this part in the config file of the gateway"
                );
                errors.push(Finding { pointer: pointer.clone(), message });
            }
        }
        serde_json::Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{at}"));
                host(item, pointer, errors);
                pointer.truncate(length);
            }
        }
        serde_json::Value::Object(fields) => {
            for (key, item) in fields {
                *pointer = below(pointer, key);
                host(item, pointer, errors);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

/// Whether a text has a reference that is none of `$${`, which stands for itself.
fn refers(text: &str, reference: &str) -> bool {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(reference) {
        if !before.ends_with('$') {
            return true;
        }
        rest = after;
    }
    false
}
