use super::files::Written;
use owo_colors::{OwoColorize as _, Stream, Style};
use serde_json::Value;

/// Lines of one value that are shown.
const LINES_MAX: usize = 12;
/// Parts that are named where the same is said of several.
const SUBJECTS_MAX: usize = 3;

fn painted(text: &str, style: Style) -> String {
    text.if_supports_color(Stream::Stdout, |text| text.style(style)).to_string()
}

/// What a plan, or what came of it, says to people.
pub(crate) fn lines(applied: &Value, files: &Written) -> Vec<String> {
    let list = |name: &str| applied[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    let mut counts = [0; 3];
    for change in list("changes") {
        let text = |name: &str| change[name].as_str().unwrap_or_default();
        let (at, mark, style) = match text("action") {
            "create" => (0, "+", Style::new().green()),
            "update" => (1, "~", Style::new().yellow()),
            _ => (2, "-", Style::new().red()),
        };
        counts[at] += 1;
        let place =
            if at == 2 { String::new() } else { format!("  {}", files.place(text("pointer"))) };
        let head = painted(&format!("{mark} {} {}", text("kind"), text("name")), style);
        lines.push(format!("{head}{}", painted(&place, Style::new().dimmed())));
        if at == 1 {
            lines.extend(difference(&change["was"], &change["became"]));
        }
    }
    for kept in list("drift") {
        let text = |name: &str| kept[name].as_str().unwrap_or_default();
        let head = format!("! {} {}", text("kind"), text("name"));
        lines.push(format!(
            "{}  is there and not in the files",
            painted(&head, Style::new().cyan())
        ));
    }
    let [created, updated, deleted] = counts;
    lines.push(format!("{created} to create, {updated} to change, {deleted} to delete"));
    if let Some(drift) = Some(list("drift").len()).filter(|count| *count > 0) {
        lines.push(format!("{drift} not in the files, kept as they are; `--prune` deletes them"));
    }
    lines.extend(meaning(&applied["diff"]));
    lines
}

/// What changes mean; what is said of several parts is said once.
pub(crate) fn meaning(diff: &Value) -> Vec<String> {
    let changes = diff["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |change: &Value, name: &str| change[name].as_str().unwrap_or_default().to_owned();
    let mut said: Vec<((String, String), Vec<String>)> = Vec::new();
    for change in changes {
        let (key, subject) =
            ((text(change, "level"), text(change, "text")), text(change, "subject"));
        match said.last_mut().filter(|(known, _)| *known == key) {
            Some((_, subjects)) => subjects.push(subject),
            None => said.push((key, vec![subject])),
        }
    }
    let mut lines = Vec::new();
    if !said.is_empty() {
        lines.push("what it means:".to_owned());
    }
    for ((level, means), subjects) in said {
        let style = match &*level {
            "danger" => Style::new().red(),
            "warning" => Style::new().yellow(),
            _ => Style::new().dimmed(),
        };
        let more = match subjects.len().saturating_sub(SUBJECTS_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = subjects.iter().take(SUBJECTS_MAX).cloned().collect::<Vec<_>>().join(", ");
        lines.push(format!("{} {named}{more}: {means}", painted(&format!("{level:<8}"), style)));
    }
    lines
}

/// What two values do not share, line by line.
fn difference(was: &Value, became: &Value) -> Vec<String> {
    let text = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    let (was, became) = (text(was), text(became));
    if was == became {
        return vec!["    stands elsewhere in its list".to_owned()];
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (was.lines().collect(), became.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let left = old.len().min(new.len()) - same;
    let same_end =
        old.iter().rev().zip(new.iter().rev()).take(left).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str], mark: &str, style: Style| {
        let count = lines.len() - same - same_end;
        let mut all: Vec<String> = lines
            .iter()
            .skip(same)
            .take(count.min(LINES_MAX))
            .map(|line| painted(&format!("    {mark} {line}"), style))
            .collect();
        if count > LINES_MAX {
            all.push(format!("    {mark} … and {} more lines", count - LINES_MAX));
        }
        all
    };
    let mut lines = part(&old, "-", Style::new().red());
    lines.extend(part(&new, "+", Style::new().green()));
    lines
}

#[cfg(test)]
mod tests {
    use super::{difference, meaning};
    use serde_json::json;

    #[test]
    fn what_is_said_of_several_parts_is_said_once() {
        owo_colors::set_override(false);
        let change = |subject: &str, text: &str| json!({ "level": "note", "subject": subject, "text": text });
        let all: Vec<_> = ["a", "b", "c", "d"].map(|it| change(it, "it is new")).into();
        let lines = meaning(&json!({ "changes": all }));
        assert_eq!(lines, ["what it means:", "note     a, b, c and 1 more: it is new"]);
        assert!(meaning(&json!({ "changes": [] })).is_empty() && meaning(&json!(null)).is_empty());
    }

    #[test]
    fn only_what_differs_is_shown() {
        owo_colors::set_override(false);
        let lines =
            difference(&json!({ "a": 1, "b": 2, "c": 3 }), &json!({ "a": 1, "b": 5, "c": 3 }));
        assert_eq!(lines, ["    -   \"b\": 2,", "    +   \"b\": 5,"]);
        assert_eq!(difference(&json!("9/s"), &json!("5/s")).len(), 2);
    }
}
