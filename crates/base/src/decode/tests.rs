use super::decode;
use crate::report::Report;
use crate::tree::{Node, Placed};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Garden {
    name: String,
    beds: Vec<Bed>,
    #[serde(default)]
    tools: BTreeMap<String, u8>,
    kind: Option<Kind>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Bed {
    width: u32,
    plant: Placed<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Wild,
    Formal(u8),
}

fn problems(json: &serde_json::Value) -> Vec<String> {
    let mut report = Report::new();
    let garden: Option<Garden> = decode(&Node::from_json(json), "", &mut report);
    assert_eq!(garden.is_none(), report.has_errors(), "a value comes exactly without problems");
    report
        .problems()
        .iter()
        .map(|p| {
            let help = p.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{} {}{help}", p.path, p.message)
        })
        .collect()
}

#[test]
fn a_right_document_becomes_a_value() {
    let json = serde_json::json!({
        "name": "back", "beds": [{"width": 3, "plant": "leek"}], "tools": {"rake": 1},
        "kind": {"formal": 2},
    });
    let mut report = Report::new();
    let garden: Garden = decode(&Node::from_json(&json), "", &mut report).unwrap();
    assert_eq!(garden.beds[0].plant.value, "leek");
    assert_eq!(garden.kind, Some(Kind::Formal(2)));
}

#[test]
fn all_problems_are_found_in_one_go() {
    let found = problems(&serde_json::json!({
        "name": "back",
        "beds": [{"width": -3, "plant": "leek"}, {"width": 1, "plant": "kale", "heigth": 2}, {"width": 9}],
        "tools": {"rake": 300, "hoe": "many"},
        "kind": "wilt",
        "bedz": [],
    }));
    assert_eq!(
        found,
        [
            "/beds/0/width expected a whole number from 0 to 4294967295, found the number -3",
            "/beds/1/heigth unknown field `heigth` (known here: width, plant)",
            "/beds/2 `plant` is missing",
            "/tools/rake expected a whole number from 0 to 255, found the number 300",
            "/tools/hoe expected a whole number from 0 to 255, found the text `many`",
            "/kind `wilt` is not known here (did you mean `wild`?)",
            "/bedz unknown field `bedz` (did you mean `beds`?)",
        ]
    );
}

#[test]
fn a_field_that_is_wrong_is_not_also_called_missing() {
    assert_eq!(
        problems(&serde_json::json!({"name": ["x"], "beds": []})),
        ["/name expected a text, found a list"]
    );
}

#[test]
fn a_reference_to_a_secret_is_refused_where_it_would_not_be_resolved() {
    assert_eq!(
        problems(&serde_json::json!({"name": "${env:NAME}", "beds": []})),
        ["/name a `${…}` reference is not possible here (write the value itself)"]
    );
}

#[test]
fn a_list_that_is_there_but_empty_has_no_items() {
    assert_eq!(problems(&serde_json::json!({"name": "x", "beds": null})), [""; 0]);
}

#[test]
fn a_misspelt_field_is_not_also_called_missing() {
    assert_eq!(
        problems(&serde_json::json!({"name": "x", "bets": []})),
        ["/bets unknown field `bets` (did you mean `beds`?)"]
    );
}
