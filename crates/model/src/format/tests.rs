use super::format;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use serde_json::Value as Json;
use std::sync::Arc;

fn formatted(text: &str) -> String {
    format(text, &Arc::from("f")).unwrap_or_else(|report| report.to_string())
}

fn check(text: &str, expected: &str) {
    let once = formatted(text);
    assert_eq!(once, expected, "\n--- of:\n{text}--- is:\n{once}");
    assert_eq!(formatted(&once), once, "formatting again");
}

#[test]
fn indentation_and_quotes_become_canonical() {
    check(
        "a:\n    b: 'x'\n    c:\n    - \"1\"\n    -   'two words'\n    - - p\n      - q\n    -\n      k: v\n      l: [ 1,2 ,{a : b}]\n",
        "a:\n  b: x\n  c:\n    - \"1\"\n    - two words\n    - - p\n      - q\n    - k: v\n      l: [1, 2, { a: b }]\n",
    );
}

#[test]
fn scalars_keep_their_meaning() {
    check(
        "a: 'yes'\nb: yes\nc: 'it''s'\nd: \"say \\\"hi\\\"\"\ne: \"tab\\t\\u00e9\\x07\"\nf: ''\ng:\nh: ~\ni: 0x1F\nj: 'a: b'\nk: 'a #b'\nl: ' x'\nm: '*'\nn: '0x1F'\no: \"null\"\n",
        "a: \"yes\"\nb: yes\nc: it's\nd: say \"hi\"\ne: \"tab\\té\\u0007\"\nf: \"\"\ng:\nh: ~\ni: 0x1F\nj: \"a: b\"\nk: \"a #b\"\nl: \" x\"\nm: \"*\"\nn: \"0x1F\"\no: \"null\"\n",
    );
    check("a: '\"admin\" in claims.roles'\n", "a: '\"admin\" in claims.roles'\n");
    check("a: [\"GET /{id}\", 'a,b', \"x\"]\n", "a: [\"GET /{id}\", \"a,b\", x]\n");
    check("- \"GET /{id}\": { a: '' }\n", "- GET /{id}: { a: \"\" }\n");
}

#[test]
fn top_level_keys_come_in_their_order_with_their_comments() {
    check(
        "# About this file.\n\n# The APIs.\napis: {}  # none yet\nzzz: 1\nversion: 1\n\n# Where.\nlisteners: {}\n# The end.\n",
        "# About this file.\n\nversion: 1\n\n# Where.\nlisteners: {}\n\n# The APIs.\napis: {}  # none yet\nzzz: 1\n# The end.\n",
    );
    check("apis: &a {}\nversion: 1\nconsumers: *a\n", "apis: &a {}\nversion: 1\nconsumers: *a\n");
}

#[test]
fn comments_stay_where_they_belong() {
    check(
        "# top\na: # at a\n    # above b\n    b: 1 # at b\n\n\n    # above c\n\n    c: 2\n    # end of a\n# above d\nd:\n- 1 # one\n# above two\n- 2\n# above e\ne: # at e\n  - x\n# last\n\n# really\n",
        "# top\na:  # at a\n  # above b\n  b: 1  # at b\n\n  # above c\n\n  c: 2\n  # end of a\n# above d\nd:\n  - 1  # one\n  # above two\n  - 2\n# above e\ne:  # at e\n  - x\n# last\n\n# really\n",
    );
}

#[test]
fn comments_without_a_spot_of_their_own_go_above() {
    check("a:\n  # c\n  1\n", "# c\na: 1\n");
    check("- # c\n  a: 1\n", "# c\n- a: 1\n");
    check("- - # c\n    a\n  - b\n", "# c\n- - a\n  - b\n");
    check("- &x # c\n  a: 1\n", "# c\n- &x\n  a: 1\n");
    check("a: [ # c\n]\n", "# c\na: []\n");
    check("--- # c\na: 1\n...\n# d\n", "# c\na: 1\n# d\n");
    check("? a # c\n: b # d\n", "# c\na: b  # d\n");
}

#[test]
fn lists_with_comments_or_too_long_get_lines() {
    check(
        "a: [1, # one\n  # above two\n  2, {b: 3} # three\n  ] # a\n",
        "a:  # a\n  - 1  # one\n  # above two\n  - 2\n  - { b: 3 }  # three\n",
    );
    let word = "x".repeat(28);
    check(
        &format!("a: {{ b: [{word}, {word}, {word}], c: [1] }}\n"),
        &format!("a:\n  b: [{word}, {word}, {word}]\n  c: [1]\n"),
    );
    check(
        &format!("- [{word}, {word}, [{word}, {word}]] # c\n"),
        &format!("# c\n- - {word}\n  - {word}\n  - [{word}, {word}]\n"),
    );
}

#[test]
fn texts_of_several_lines_are_kept() {
    check(
        "a: |   # c\n     x\n       y\n\n     z\n\n\nb: >-\n  p\n  q\nc: |+\n  keep\n\nd: |4\n      two more\n    x\ne:\n  - |\n   in list\n  - k: |-\n      deep\n",
        "a: |  # c\n  x\n    y\n\n  z\n\nb: >-\n  p\n  q\nc: |+\n  keep\n\nd: |2\n    two more\n  x\ne:\n  - |\n    in list\n  - k: |-\n      deep\n",
    );
    check("a: |\n\n\nb: 1\n", "a: \"\"\n\nb: 1\n");
    check("a: plain\n   goes on\nb: \"quoted\n  too\"\n", "a: plain goes on\nb: quoted too\n");
    check("a: |\n  x", "a: |\n  x\n");
}

#[test]
fn anchors_and_aliases_stay() {
    check(
        "a: &x\n    b: 1\nc: *x\nd: &y [ 1 ]\ne: [ *x,*y ]\nf: &z 'v'\ng:\n- &q\n  h: 1\n- &r\n  - 2\n",
        "a: &x\n  b: 1\nc: *x\nd: &y [1]\ne: [*x, *y]\nf: &z v\ng:\n  - &q\n    h: 1\n  - &r\n    - 2\n",
    );
}

#[test]
fn a_text_that_means_nothing_is_refused_with_its_problems() {
    assert!(formatted("a: [\n").contains("`[` is not closed"));
    assert!(formatted("# only\n").contains("the file is empty"));
}

#[test]
fn a_byte_order_mark_and_foreign_line_ends_vanish() {
    check("\u{feff}a: 1\r\nb:\r\n  - x # c\r\n", "a: 1\nb:\n  - x  # c\n");
}

fn tree() -> impl Strategy<Value = Json> {
    let text = prop_oneof![
        any::<String>(),
        "[ a-z0-9:#,\\[\\]{}&*!|>'\"%@`~?.=<+-]{0,12}",
        "(yes|no|null|true|~|0x1f|007|1e3|\\.inf|<<|---|\\.\\.\\.|- a|a: b|a #b|#)",
        "[a-z ]{60,90}",
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1e9..1e9).prop_map(Json::from),
        text.clone().prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let key = text.clone().prop_filter("a NUL is no text", |key| !key.contains('\0'));
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Json::from),
            vec((key, inner), 0..6).prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

/// Writes a tree in lines, quoted as JSON, with comments and blank lines where `dice` says so.
fn in_lines(json: &Json, indent: usize, dice: &mut dyn FnMut() -> u8, out: &mut String) {
    let pad = " ".repeat(indent);
    let entry = |lead: String, value: &Json, dice: &mut dyn FnMut() -> u8, out: &mut String| {
        for _ in 0..dice() % 3 {
            out.push_str(match dice() % 4 {
                0 => "\n",
                1 => "# left\n",
                2 => "          # right\n",
                _ => "",
            });
        }
        out.push_str(&format!("{pad}{lead}"));
        let comment = if dice().is_multiple_of(4) { " # beside" } else { "" };
        let is_empty = value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty);
        if (value.is_array() || value.is_object()) && !is_empty && !dice().is_multiple_of(4) {
            out.push_str(&format!("{comment}\n"));
            in_lines(value, indent + 1 + usize::from(dice() % 3), dice, out);
        } else {
            out.push_str(&format!(" {value}{comment}\n"));
        }
    };
    match json {
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                entry("-".to_owned(), item, dice, out);
            }
        }
        Json::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                entry(format!("{}:", Json::from(key.as_str())), value, dice, out);
            }
        }
        other => out.push_str(&format!("{pad}{other}\n")),
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    // `format` itself compares the trees and the comments, so that a result is proof of both.
    #[test]
    fn any_json_can_be_formatted_and_again(json in tree()) {
        let once = format(&json.to_string(), &Arc::from("f"));
        let once = once.map_err(|report| format!("{report}\n{json}")).unwrap();
        prop_assert_eq!(format(&once, &Arc::from("f")).map_err(|r| r.to_string()), Ok(once));
    }

    #[test]
    fn any_tree_in_lines_can_be_formatted_and_again(json in tree(), seed in vec(any::<u8>(), 1..200)) {
        let mut at = 0;
        let mut dice = || { at += 1; seed[at % seed.len()].wrapping_add(u8::try_from(at / seed.len() % 256).unwrap()) };
        let mut text = String::new();
        in_lines(&json, 0, &mut dice, &mut text);
        let once = format(&text, &Arc::from("f"));
        let once = once.map_err(|report| format!("{report}\n{text}")).unwrap();
        prop_assert_eq!(format(&once, &Arc::from("f")).map_err(|r| r.to_string()), Ok(once));
    }
}
