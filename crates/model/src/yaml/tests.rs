use super::parse;
use base::caps::{CONFIG_DEPTH_MAX, CONFIG_FILE_BYTES_MAX, CONFIG_NODES_MAX};
use base::{Node, Report, Value};
use std::sync::Arc;

fn read(text: &str) -> Result<Node, String> {
    let mut report = Report::new();
    let node = parse(text.as_bytes(), &Arc::from("f"), &mut report);
    match node {
        Some(node) if !report.has_errors() => Ok(node),
        _ => Err(report.to_string()),
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(entries) => entries.iter().map(|(_, node)| count(node)).sum(),
        _ => 0,
    }
}

#[test]
fn values_remember_line_and_column_in_characters() {
    let node = read("\u{feff}é: { ü: [1, x] }\nempty:\nb:\n  - true\n  - \"yes\"\n").unwrap();
    let place = |node: &Node| (node.place.line, node.place.column);
    let inner = node.field("é").unwrap().field("ü").unwrap();
    assert_eq!(place(inner), (1, 9));
    let Value::List(items) = &inner.value else { panic!("a list") };
    assert_eq!((place(&items[1]), &items[1].value), ((1, 13), &Value::Text("x".to_owned())));
    assert_eq!(place(node.field("empty").unwrap()), (2, 1), "nothing is told where its key is");
    let Value::List(items) = &node.field("b").unwrap().value else { panic!("a list") };
    assert_eq!(items[0].value, Value::Bool(true));
    assert_eq!(items[1].value, Value::Text("yes".to_owned()));
}

#[test]
fn keys_keep_their_written_text() {
    let node = read("1: a\ntrue: b\n0x1F: c\n~: d\n").unwrap();
    let Value::Map(entries) = node.value else { panic!("a map") };
    let keys: Vec<_> = entries.iter().map(|(key, _)| key.value.as_str()).collect();
    assert_eq!(keys, ["1", "true", "0x1F", "~"]);
}

#[test]
fn an_alias_is_a_copy_that_remembers_the_anchor() {
    let node = read("a: &x [1, &y { z: 2 }]\nb: *x\nc: [*y, *x]\n").unwrap();
    assert_eq!(node.field("a"), node.field("b"));
    let Value::List(items) = &node.field("c").unwrap().value else { panic!("a list") };
    assert_eq!(items[0].field("z").unwrap().value, Value::Int(2));
    assert_eq!(&items[1], node.field("a").unwrap());
    assert_eq!(count(&node), 1 + 4 + 4 + 1 + 2 + 4);
}

#[test]
fn an_anchor_can_be_given_anew() {
    let node = read("a: &x 1\nb: *x\nc: &x 2\nd: *x\n").unwrap();
    assert_eq!(node.field("b").unwrap().value, Value::Int(1));
    assert_eq!(node.field("d").unwrap().value, Value::Int(2));
}

#[test]
fn aliases_of_aliases_stop_at_the_cap() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..=30 {
        let below = level - 1;
        let items = format!("*a{below},").repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let problem = read(&text).unwrap_err();
    assert!(problem.contains(&format!("more than {CONFIG_NODES_MAX} values")), "{problem}");
    // 11 + 111 + … values: the sixth level would be the first to break the cap.
    assert!(problem.starts_with("f:7:"), "{problem}");
}

#[test]
fn as_many_values_as_the_cap_allows_can_be_had_by_aliases() {
    // The root, its three values and ten more for each alias.
    let aliases = (CONFIG_NODES_MAX - 3 - 10) / 11 - 1;
    let list = "*x,".repeat(aliases);
    let node = read(&format!("a: &x [1,2,3,4,5,6,7,8,9,10]\nb: [{list}]\n")).unwrap();
    assert!(count(&node) <= CONFIG_NODES_MAX);
    let over = "*x,".repeat(aliases + 2);
    assert!(read(&format!("a: &x [1,2,3,4,5,6,7,8,9,10]\nb: [{over}]\n")).is_err());
}

#[test]
fn nesting_is_capped_also_through_aliases() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(CONFIG_DEPTH_MAX)).is_ok());
    assert!(read(&nested(CONFIG_DEPTH_MAX + 1)).unwrap_err().contains("levels deep"));
    assert!(read(&nested(100_000)).unwrap_err().contains("too deeply"));
    let half = nested(CONFIG_DEPTH_MAX / 2);
    let rest = CONFIG_DEPTH_MAX / 2;
    let wrapped = |depth: usize| format!("{}*x{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&format!("a: &x {half}\nb: {}\n", wrapped(rest - 1))).is_ok());
    assert!(read(&format!("a: &x {half}\nb: {}\n", wrapped(rest))).unwrap_err().contains("deep"));
}

#[test]
fn a_file_beyond_the_cap_is_not_read() {
    let mut report = Report::new();
    let bytes = vec![b'#'; CONFIG_FILE_BYTES_MAX + 1];
    assert!(parse(&bytes, &Arc::from("f"), &mut report).is_none());
    assert_eq!(report.problems()[0].code, "file_too_large");
}

#[test]
fn other_parts_of_a_document_with_problems_can_still_be_read() {
    let mut report = Report::new();
    let text = b"a: 1\na: 2\n<<: { x: 1 }\n? [k]\n: 3\nb: !t 4\n";
    let node = parse(text, &Arc::from("f"), &mut report).unwrap();
    let Value::Map(entries) = &node.value else { panic!("a map") };
    assert_eq!(entries.len(), 2);
    assert_eq!(node.field("a").unwrap().value, Value::Int(1));
    let codes: Vec<_> = report.problems().iter().map(|p| p.code).collect();
    assert_eq!(codes, ["duplicate_key", "merge_key", "invalid_key", "tag"]);
}
