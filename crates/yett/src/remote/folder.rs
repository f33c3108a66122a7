//! A config as the files of a folder: one for each API, and one for each other kind of part. Files that say already what they
//! should are left as they are, with their comments.

use super::files::json;
use base::Report;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a file says, by its name.
type Contents = BTreeMap<String, Map<String, Value>>;

/// What becomes of the files of a folder.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Layout {
    /// Files that are written, and what they say then.
    pub(crate) written: Contents,
    /// Files that say nothing any more.
    pub(crate) emptied: Vec<String>,
    /// Parts that the config lacks and the files keep, such as `apis/old`.
    pub(crate) kept: Vec<String>,
}

/// Reads what the files of a folder say.
///
/// # Errors
/// In words, when one cannot be read.
pub(crate) fn read(folder: &Path) -> Result<Contents, String> {
    let mut all = Contents::new();
    if !folder.exists() {
        return Ok(all);
    }
    let told = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    for entry in fs::read_dir(folder).map_err(|error| told(folder, &error))? {
        let path = entry.map_err(|error| told(folder, &error))?.path();
        if !path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            continue;
        }
        let text = fs::read(&path).map_err(|error| told(&path, &error))?;
        let (file, mut report) = (Arc::from(path.to_string_lossy()), Report::new());
        let node = model::yaml::parse(&text, &file, &mut report);
        let said = node.filter(|_| !report.has_errors()).map(|node| json(&node));
        let Some(Value::Object(said)) = said else {
            return Err(told(&path, &"this is no config file; nothing was written"));
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        all.insert(name.unwrap_or_default(), said);
    }
    Ok(all)
}

/// Which files say what, so that all of them together say a config. What the config lacks stays unless it is pruned.
pub(crate) fn layout(there: &Contents, config: &Map<String, Value>, prune: bool) -> Layout {
    let mut now = Contents::new();
    for (field, value) in config.iter().filter(|(field, _)| *field != "version") {
        match value {
            Value::Object(parts) if !parts.is_empty() => {
                for (key, part) in parts {
                    let of = |said: &Map<String, Value>| said.get(field)?.get(key).map(drop);
                    let file = find(there, of).unwrap_or_else(|| home(field, key));
                    put(&mut now, &file, (field, key), part);
                }
            }
            Value::Array(items) if is_spread(there, field, items) => {
                for (file, said) in there {
                    if let Some(own) = said.get(field) {
                        now.entry(file.clone()).or_default().insert(field.clone(), own.clone());
                    }
                }
            }
            value => {
                let file = find(there, |said| said.get(field).map(drop));
                let file = file.unwrap_or_else(|| "gateway.yaml".to_owned());
                now.entry(file).or_default().insert(field.clone(), value.clone());
            }
        }
    }
    let mut layout = Layout::default();
    for (file, said) in there {
        keep(&mut now, (file, said), config, prune, &mut layout.kept);
    }
    let is_left = |file: &&String| !now.contains_key(*file);
    layout.emptied = there.keys().filter(is_left).cloned().collect();
    for (file, mut said) in now {
        said.insert("version".to_owned(), Value::from(1));
        if there.get(&file) != Some(&said) {
            layout.written.insert(file, said);
        }
    }
    layout
}

/// Keeps of a file what the config does not speak of, unless that is to go.
fn keep(
    now: &mut Contents,
    (file, said): (&String, &Map<String, Value>),
    config: &Map<String, Value>,
    prune: bool,
    kept: &mut Vec<String>,
) {
    for (field, value) in said.iter().filter(|(field, _)| *field != "version") {
        if field == "include" {
            now.entry(file.clone()).or_default().insert(field.clone(), value.clone());
        } else if let (Value::Object(parts), Some(Value::Object(known))) =
            (value, config.get(field))
        {
            for (key, part) in parts.iter().filter(|(key, _)| !known.contains_key(*key) && !prune) {
                put(now, file, (field, key), part);
                kept.push(format!("{field}/{key}"));
            }
        } else if !config.contains_key(field) && !prune {
            now.entry(file.clone()).or_default().insert(field.clone(), value.clone());
            kept.push(field.clone());
        }
    }
}

fn find(there: &Contents, has: impl Fn(&Map<String, Value>) -> Option<()>) -> Option<String> {
    there.iter().find(|(_, said)| has(said).is_some()).map(|(file, _)| file.clone())
}

/// Where a part is written that no file has yet.
fn home(field: &str, key: &str) -> String {
    if field == "apis" { format!("api-{key}.yaml") } else { format!("{field}.yaml") }
}

/// Writes a part below a field of a file.
fn put(now: &mut Contents, file: &str, (field, key): (&str, &str), part: &Value) {
    let said = now.entry(file.to_owned()).or_default();
    let value = said.entry(field.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(parts) = value {
        parts.insert(key.to_owned(), part.clone());
    }
}

/// Whether a list is what several files say one after the other.
fn is_spread(there: &Contents, field: &str, items: &[Value]) -> bool {
    let lists = there.values().filter_map(|said| said.get(field)?.as_array());
    lists.flatten().eq(items)
}

/// Does it. Each file is replaced as a whole.
///
/// # Errors
/// When the folder cannot be written to.
pub(crate) fn write(folder: &Path, layout: &Layout) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, said) in &layout.written {
        let text = serde_json::to_string_pretty(&ordered(said)).unwrap_or_default();
        // JSON is YAML; the canonical form has it as people write it.
        let text = model::format(&text, &Arc::from(&**name)).unwrap_or(text);
        let beside = folder.join(format!("{name}.new"));
        fs::write(&beside, text)?;
        fs::rename(beside, folder.join(name))?;
    }
    for name in &layout.emptied {
        fs::remove_file(folder.join(name))?;
    }
    Ok(())
}

/// With the version first.
fn ordered(said: &Map<String, Value>) -> Value {
    let version = said.iter().filter(|(field, _)| *field == "version");
    let rest = said.iter().filter(|(field, _)| *field != "version");
    Value::Object(version.chain(rest).map(|(key, it)| (key.clone(), it.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::{Contents, layout};
    use serde_json::{Map, Value, json};

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn contents(all: &[(&str, Value)]) -> Contents {
        all.iter().map(|(name, said)| ((*name).to_owned(), map(said))).collect()
    }

    fn config() -> Map<String, Value> {
        map(&json!({
            "version": 1, "policies": ["api_key", "hsts"],
            "upstreams": { "a": { "targets": ["x:1"] } },
            "apis": { "a": { "upstream": "a" }, "b": { "upstream": "a" } },
        }))
    }

    #[test]
    fn each_api_has_a_file_and_what_was_written_changes_nothing() {
        let laid = layout(&Contents::new(), &config(), false);
        let names: Vec<_> = laid.written.keys().map(String::as_str).collect();
        assert_eq!(names, ["api-a.yaml", "api-b.yaml", "gateway.yaml", "upstreams.yaml"]);
        let again = layout(&laid.written, &config(), true);
        assert_eq!(again, super::Layout::default());
    }

    #[test]
    fn files_that_say_what_they_should_are_left_alone_and_parts_stay_where_they_are() {
        let there = contents(&[
            (
                "one.yaml",
                json!({ "version": 1, "policies": ["api_key"], "apis": { "a": { "upstream": "a" } } }),
            ),
            (
                "two.yaml",
                json!({ "version": 1, "policies": ["hsts"], "apis": { "b": { "upstream": "other" }, "old": {} } }),
            ),
        ]);
        let laid = layout(&there, &config(), false);
        let names: Vec<_> = laid.written.keys().map(String::as_str).collect();
        assert_eq!(names, ["two.yaml", "upstreams.yaml"]);
        let two = &laid.written["two.yaml"];
        assert_eq!(two["apis"], json!({ "b": { "upstream": "a" }, "old": {} }));
        assert_eq!(
            (&two["policies"], &laid.kept),
            (&json!(["hsts"]), &vec!["apis/old".to_owned()])
        );
        let pruned = layout(&there, &config(), true);
        assert_eq!(pruned.written["two.yaml"]["apis"], json!({ "b": { "upstream": "a" } }));
        assert!(pruned.kept.is_empty());
    }

    #[test]
    fn a_file_of_which_nothing_is_left_goes() {
        let there = contents(&[("old.yaml", json!({ "version": 1, "apis": { "old": {} } }))]);
        assert_eq!(layout(&there, &config(), true).emptied, ["old.yaml"]);
        assert!(layout(&there, &config(), false).emptied.is_empty());
    }
}
