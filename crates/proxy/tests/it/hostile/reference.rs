//! The table as data: `docs/reference/hostile.md` is made of it, and the rows that are compared with other
//! servers are sent to them from there.

use crate::it::hostile::answers::{self, Answer};
use crate::it::hostile::recorder::CUT;
use crate::it::hostile::row::{Class, Row, Then};
use crate::it::hostile::{http1, http2, slow, text};
use crate::it::kit::brief;
use serde_json::{Value, json};
use testkit::committed;

/// Beside the test that compares.
const PATH: &str = "crates/yett/tests/hostile/table.json";

#[test]
fn the_table_is_fresh() {
    let slow: Vec<Value> = slow::rows().iter().map(slow_row).collect();
    let table = json!({
        "parts": [
            part("Requests over HTTP/1", &requests(http1::CLASSES)),
            part("Requests over HTTP/2", &requests(http2::CLASSES)),
            part("Answers of HTTP/1 backends", &answers()),
            part("Whoever is slow", &[class("Heads, bodies, readers and backends", &slow)]),
        ],
        "compared": http1::CLASSES.iter().flat_map(compared).collect::<Vec<_>>(),
    });
    committed(PATH, &format!("{}\n", lines(&table, 3)));
}

/// JSON with its outer lists and objects on lines of their own.
fn lines(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(4 - depth);
    let (open, items, close) = match value {
        Value::Object(fields) if depth > 0 => {
            let items = fields.iter().map(|(name, value)| {
                format!("{indent}{}: {}", json!(name), lines(value, depth - 1))
            });
            ('{', items.collect::<Vec<_>>(), '}')
        }
        Value::Array(values) => {
            let items = values.iter().map(|value| format!("{indent}{}", lines(value, depth)));
            ('[', items.collect(), ']')
        }
        value => return value.to_string(),
    };
    format!("{open}\n{}\n{}{close}", items.join(",\n"), indent.get(2..).unwrap_or_default())
}

#[test]
fn no_two_rows_of_a_class_have_the_same_name() {
    for class in http1::CLASSES.iter().chain(http2::CLASSES) {
        let mut names: Vec<&str> = (class.rows)().iter().map(|row| row.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{}: {names:?}", class.title);
    }
}

fn part(title: &str, classes: &[Value]) -> Value {
    json!({ "title": title, "classes": classes })
}

fn class(title: &str, rows: &[Value]) -> Value {
    json!({ "title": title, "rows": rows })
}

fn requests(classes: &[Class]) -> Vec<Value> {
    let rows = |class: &Class| (class.rows)().iter().map(request).collect::<Vec<_>>();
    classes.iter().map(|c| class(c.title, &rows(c))).collect()
}

fn request(row: &Row) -> Value {
    json!({
        "name": row.name,
        "clause": row.clause,
        "cases": row.cases.len(),
        "outcome": short(&row.outcome),
        "counted": row.reason.split('|').filter(|name| !name.is_empty()).collect::<Vec<_>>(),
        "other": seen(row),
    })
}

/// What the backend saw, in short.
fn seen(row: &Row) -> String {
    let line = |message: &String| {
        let line = message.lines().next().unwrap_or_default();
        let line = line.strip_suffix(" HTTP/1.1").unwrap_or(line);
        let line = if line.len() > 60 { "a long line" } else { line };
        let end = if message.ends_with(CUT) { ", cut" } else { "" };
        format!("`{line}`{end}")
    };
    match (row.saw.as_slice(), &row.late) {
        ([], None) => "nothing".to_owned(),
        ([], Some(most)) => format!("nothing, or a part of {}", line(most)),
        ([first, rest @ ..], _) if rest.len() > 2 => {
            format!("{} {} times", line(first), rest.len() + 1)
        }
        (messages, _) => messages.iter().map(line).collect::<Vec<_>>().join(", "),
    }
}

/// An outcome without its repetitions.
fn short(outcome: &str) -> String {
    let parts: Vec<&str> = outcome.split(", ").collect();
    let count = parts.iter().take_while(|part| part == &&parts[0]).count();
    if count > 3 {
        let rest = parts[count..].iter().map(|part| format!(", {part}")).collect::<String>();
        return format!("{} {count} times{rest}", parts[0]);
    }
    if parts.len() > 6 {
        format!("{}, …, {}", parts[0], parts[parts.len() - 1])
    } else {
        outcome.to_owned()
    }
}

fn answers() -> Vec<Value> {
    let rows = |class: &answers::Class| (class.rows)().iter().map(answer).collect::<Vec<_>>();
    answers::CLASSES.iter().map(|c| class(c.title, &rows(c))).collect()
}

fn answer(row: &Answer) -> Value {
    let outcome = if !row.gets.contains('\n') {
        row.gets.clone()
    } else if answers::is_broken(&row.gets) {
        format!("{}, broken off", brief(&row.gets).trim_end_matches(", closed"))
    } else {
        brief(&row.gets)
    };
    json!({ "name": row.name, "clause": row.clause, "cases": row.cases.len(), "outcome": short(&outcome) })
}

fn slow_row(row: &slow::Slow) -> Value {
    json!({ "name": row.title(), "clause": row.clause, "cases": 1, "outcome": short(&row.outcome), "other": row.time() })
}

/// The rows that other servers get as well.
fn compared(class: &Class) -> Vec<Value> {
    let rows = (class.rows)();
    let compared = rows.iter().filter_map(|row| {
        let bytes = row.cases.first()?;
        Some(json!({
            "class": class.title,
            "name": row.name,
            "clause": row.clause,
            "bytes": text::latin(bytes),
            "asks": row.then == Then::Asks,
            "why": row.peers?,
        }))
    });
    compared.collect()
}
