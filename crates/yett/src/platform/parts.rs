//! What workspaces have published, as parts of the gateway's config; and which of it can be served by.

use super::{DEFAULT, Refused};
use crate::disk::{Secrets, digest};
use crate::kept;
use crate::prepare::{Published, Tenant};
use base::{Report, Severity};
use model::join::{self, Grants};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What was served by last, in `state_dir`.
const NAME: &str = "last-good.json";
/// Bytes that are read of it.
const BYTES_MAX: usize = 256 << 20;

/// What one workspace has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The id of the workspace.
    pub(crate) id: String,
    /// The number of the revision.
    pub(crate) number: i64,
    /// The config, as JSON.
    pub(crate) config: Arc<str>,
    /// What the platform delegates to it.
    pub(crate) grants: Arc<Grants>,
}

/// Parts by the names of their workspaces.
pub(crate) type Parts = BTreeMap<String, Part>;

/// The name under which problems tell of what a workspace has published.
pub(crate) fn file_name(workspace: &str) -> String {
    join::file_of(workspace)
}

/// Parts as a config takes them, with lines as `yett dump` shows them. Those that are what they were before go before those
/// that are not: who has a path keeps it.
pub(crate) fn published(parts: &Parts, former: &Parts, secrets: &Arc<Secrets>) -> Published {
    let (ours, others): (Vec<_>, Vec<_>) = parts.iter().partition(|(name, _)| *name == DEFAULT);
    let ours = ours.into_iter();
    let files = ours.map(|(name, part)| (Arc::from(file_name(name)), text(&part.config))).collect();
    let (same, changed): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|(name, part)| former.get(*name) == Some(*part));
    let tenant = |(name, part): (&String, &Part)| Tenant {
        name: name.clone(),
        config: text(&part.config),
        grants: Arc::clone(&part.grants),
    };
    let tenants = same.into_iter().chain(changed).map(tenant).collect();
    Published { files, tenants, secrets: Arc::clone(secrets) }
}

/// A config on many lines.
pub(crate) fn text(config: &str) -> Arc<str> {
    let value =
        serde_json::from_str::<Value>(config).and_then(|it| serde_json::to_string_pretty(&it));
    value.map_or_else(|_| Arc::from(config), Arc::from)
}

/// What came of trying parts.
pub(crate) struct Settled<T> {
    pub(crate) made: T,
    pub(crate) used: Parts,
    pub(crate) refused: BTreeMap<String, Refused>,
}

/// Tries what was published last. Where that has errors, the workspaces to blame go back to what they had before, until
/// there are none, or nothing is left to go back to: then the last attempt is what counts.
///
/// `former` is what is served by; at a start what was served by last, as far as that is known.
pub(crate) fn settle<T>(
    newest: Parts,
    former: &Parts,
    is_start: bool,
    mut attempt: impl FnMut(&Parts) -> T,
    report: impl Fn(&T) -> &Report,
) -> Settled<T> {
    let mut used = newest;
    let mut refused = BTreeMap::new();
    loop {
        let made = attempt(&used);
        let names = to_blame(report(&made), &used, former, is_start);
        if names.is_empty() {
            return Settled { made, used, refused };
        }
        for name in names {
            let Some(part) = used.remove(&name) else { continue };
            // What was good before and is no longer, as the platform has changed, is left out as a whole.
            if let Some(before) = former.get(&name).filter(|before| **before != part) {
                used.insert(name.clone(), before.clone());
            }
            let report = own(report(&made), &name);
            refused.entry(name).or_insert(Refused { number: part.number, report });
        }
    }
}

/// The problems of a workspace; all if none are its own.
fn own(report: &Report, name: &str) -> Report {
    let file = file_name(name);
    let mut own = Report::new();
    for problem in report.problems().iter().filter(|it| *it.place.file == *file) {
        own.push(problem.clone());
    }
    if own.has_errors() { own } else { report.clone() }
}

/// The workspaces that differ from what they were and in which there are errors. If the errors are in others, the platform's
/// own, or else those others; all that differ if the errors are in none.
fn to_blame(report: &Report, used: &Parts, former: &Parts, is_start: bool) -> BTreeSet<String> {
    if !report.has_errors() {
        return BTreeSet::new();
    }
    let differ: BTreeSet<String> = used
        .iter()
        .filter(|(name, part)| former.get(*name) != Some(part))
        // What the platform's own workspace says may keep something shut that is open without it.
        .filter(|(name, _)| !is_start || *name != DEFAULT || former.contains_key(*name))
        .map(|(name, _)| name.clone())
        .collect();
    let errors = report.problems().iter().filter(|it| it.severity == Severity::Error);
    let files: BTreeSet<&str> = errors.map(|it| &*it.place.file).collect();
    let named: BTreeSet<String> =
        differ.iter().filter(|name| files.contains(&*file_name(name))).cloned().collect();
    if !named.is_empty() {
        return named;
    }
    let others: BTreeSet<String> = used
        .keys()
        .filter(|name| *name != DEFAULT && files.contains(&*file_name(name)))
        .cloned()
        .collect();
    match differ.get(DEFAULT) {
        Some(platform) if !others.is_empty() => BTreeSet::from([platform.clone()]),
        _ if others.is_empty() => differ,
        _ => others,
    }
}

/// Keeps what is served by and the database it came from, so that it is there as a whole or as it was before.
pub(crate) fn keep(folder: &Path, parts: &Parts, origin: Option<&str>) -> io::Result<()> {
    let all: Vec<Value> = parts
        .iter()
        .map(|(name, part)| json!({ "workspace": name, "id": part.id, "revision": part.number, "config": &*part.config, "grants": *part.grants }))
        .collect();
    let parts = json!({ "parts": all, "origin": origin }).to_string();
    let file = json!({ "digest": hexadecimal(&digest(parts.as_bytes())), "parts": parts });
    kept::write(&folder.join(NAME), file.to_string().as_bytes())
}

/// Parts, and the database they came from.
type Restored = (Parts, Option<String>);

/// What was kept. What is damaged is not used.
pub(crate) fn restore(folder: &Path) -> Restored {
    let path = folder.join(NAME);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Restored::default(),
        _ => {}
    }
    read(&path).unwrap_or_else(|why| {
        tracing::error!(path = %path.display(), why, "what was served by last is not used");
        Restored::default()
    })
}

/// Forgets what was kept of another database than the one whose first workspace has this id.
pub(crate) fn forget_another(folder: &Path, first: Option<&str>) -> io::Result<()> {
    let (_, origin) = restore(folder);
    if origin.is_none() || origin.as_deref() == first {
        return Ok(());
    }
    for name in [NAME, super::cold::NAME, super::cold::CHANGES] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Restored, String> {
    let damaged = || "it is not what was written".to_owned();
    let bytes = crate::disk::read(path, BYTES_MAX)?;
    let file: Value = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    let parts = file["parts"].as_str().ok_or_else(damaged)?;
    if file["digest"].as_str() != Some(&hexadecimal(&digest(parts.as_bytes()))) {
        return Err(damaged());
    }
    let kept: Value = serde_json::from_str(parts).map_err(|_| damaged())?;
    let part = |it: &Value| {
        let (id, config) = (it["id"].as_str()?.to_owned(), Arc::from(it["config"].as_str()?));
        let grants = Arc::new(serde_json::from_value(it["grants"].clone()).unwrap_or_default());
        let part = Part { id, number: it["revision"].as_i64()?, config, grants };
        Some((it["workspace"].as_str()?.to_owned(), part))
    };
    let all = kept["parts"].as_array().ok_or_else(damaged)?;
    let parts = all.iter().map(|it| part(it).ok_or_else(damaged)).collect::<Result<Parts, _>>()?;
    Ok((parts, kept["origin"].as_str().map(str::to_owned)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, NAME, Part, Parts, file_name, keep, restore, settle};
    use base::{Place, Report};
    use std::fs;
    use std::sync::Arc;

    fn part(number: i64) -> Part {
        Part {
            id: "x".to_owned(),
            number,
            config: format!("{{\"n\":{number}}}").into(),
            grants: Arc::default(),
        }
    }

    fn parts(all: &[(&str, i64)]) -> Parts {
        all.iter().map(|(name, number)| ((*name).to_owned(), part(*number))).collect()
    }

    /// Tries parts of which some are wrong; what is served by, and what is refused.
    fn tried(
        newest: &[(&str, i64)],
        former: &[(&str, i64)],
        wrong: &[(&str, i64)],
    ) -> (Parts, Vec<String>, bool) {
        let attempt = |used: &Parts| {
            let mut report = Report::new();
            for (name, part) in used {
                if wrong.contains(&(name.as_str(), part.number)) {
                    report.error("bad", &Place::new(file_name(name).into(), 1, 1), "it is bad");
                }
            }
            report
        };
        let settled = settle(parts(newest), &parts(former), true, attempt, |report| report);
        let refused = settled.refused.keys().cloned().collect();
        (settled.used, refused, settled.made.has_errors())
    }

    #[test]
    fn who_published_something_bad_goes_back_and_the_others_do_not() {
        let newest = [("bank", 4), ("shop", 8), ("new", 1)];
        let former = [("bank", 3), ("shop", 7)];
        let (used, refused, is_bad) = tried(&newest, &former, &[("shop", 8), ("new", 1)]);
        assert_eq!((used, is_bad), (parts(&[("bank", 4), ("shop", 7)]), false));
        assert_eq!(refused, ["new", "shop"]);
    }

    #[test]
    fn what_was_bad_before_is_told_and_nothing_is_taken_out_for_it() {
        let same = [(DEFAULT, 3)];
        let (used, refused, is_bad) = tried(&same, &same, &same);
        assert_eq!((used, refused.len(), is_bad), (parts(&same), 0, true));
    }

    #[test]
    fn a_workspace_that_is_no_longer_good_is_left_out_and_keeps_nobody_from_publishing() {
        let (used, refused, is_bad) =
            tried(&[("bank", 4), ("shop", 7)], &[("bank", 3), ("shop", 7)], &[("shop", 7)]);
        assert_eq!((used, is_bad), (parts(&[("bank", 4)]), false));
        assert_eq!(refused, ["shop"]);
    }

    #[test]
    fn the_platforms_own_part_is_never_left_out() {
        let (used, _, is_bad) = tried(&[(DEFAULT, 1)], &[], &[(DEFAULT, 1)]);
        assert_eq!((used, is_bad), (parts(&[(DEFAULT, 1)]), true));
        let (used, _, is_bad) = tried(&[(DEFAULT, 2)], &[(DEFAULT, 1)], &[(DEFAULT, 2)]);
        assert_eq!((used, is_bad), (parts(&[(DEFAULT, 1)]), false));
    }

    #[test]
    fn what_is_kept_comes_back_unless_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(restore(folder.path()), (Parts::new(), None));
        let all = parts(&[("bank", 3), ("shop", 7)]);
        keep(folder.path(), &all, Some("x")).unwrap();
        assert_eq!(restore(folder.path()), (all, Some("x".to_owned())));
        let path = folder.path().join(NAME);
        let text = fs::read_to_string(&path).unwrap();
        for damaged in
            [text.replace("bank", "back"), text.chars().take(40).collect(), String::new()]
        {
            fs::write(&path, damaged).unwrap();
            assert_eq!(restore(folder.path()), (Parts::new(), None));
        }
    }
}
