//! What somebody copies who follows a guide: what was shown once, and what was exported.
//!
//! `yett_link_…`, `yett_session_…`, `yett_token_…`, `yett_…` (an API key) and `01…` (an id) in a command stand for the last
//! of their kind that was shown.

use regex::{Captures, Regex};

/// What was said so far, the last thing last.
#[derive(Default)]
pub(super) struct Shown(String);

impl Shown {
    pub(super) fn say(&mut self, text: &str) {
        // What was exported was shown before.
        let said = text.lines().filter(|line| !line.starts_with('\u{2}'));
        said.for_each(|line| self.0.extend(["\n", line]));
    }

    /// A command with what was shown in place of what is left out of it.
    pub(super) fn copied(&self, command: &str) -> String {
        let left_out =
            Regex::new(r"(yett_link_|yett_session_|yett_token_|yett_|01[0-9a-f]*)…").unwrap();
        let last = |found: &Captures<'_>| {
            let rest = match &found[1] {
                "yett_" => r"yett_[A-Za-z0-9]{40,}",
                "yett_link_" => r"yett_link_[\w-]+",
                "yett_session_" => r"yett_session_[\w-]+",
                "yett_token_" => r"yett_token_[\w-]+",
                _ => r#""id":"(01[0-9a-f]{6}-[0-9a-f-]{27})""#,
            };
            let all = Regex::new(rest).unwrap();
            let last = all.captures_iter(&self.0).last();
            let last = last.unwrap_or_else(|| panic!("`{}…` was never shown", &found[1]));
            last.get(1).or_else(|| last.get(0)).unwrap().as_str().to_owned()
        };
        left_out.replace_all(command, last).into_owned()
    }

    /// Variables that a script has exported, by its end.
    pub(super) fn exported(&self, told: &str) -> Vec<(String, String)> {
        let export = told.lines().filter_map(|line| line.strip_prefix('\u{2}')?.split_once('='));
        export.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// A script that tells behind each command how it ended, and at last what was exported.
pub(super) fn marked(commands: &[String]) -> String {
    let export = Regex::new(r"^export ([A-Z_]+)=").unwrap();
    let mut script = String::new();
    for command in commands {
        script.push_str(command);
        script.push_str("\nprintf '\\n\\001%s\\n' $?\n");
    }
    for found in commands.iter().filter_map(|command| export.captures(command)) {
        script.push_str(&format!("printf '\\002%s\\n' \"{0}=${0}\"\n", &found[1]));
    }
    script
}

/// What each command of a script said.
pub(super) fn lines_of<'a>(told: &'a str) -> Vec<&'a str> {
    let behind = |part: &'a str| part.split_once('\n').map_or("", |(_, behind)| behind);
    let parts = told.split('\u{1}').enumerate();
    parts.map(|(at, part)| if at == 0 { part } else { behind(part) }).collect()
}
