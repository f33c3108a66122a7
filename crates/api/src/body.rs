use crate::refusal::Refusal;
use base::caps::ADMIN_BODY_DEPTH_MAX;
use base::{Node, Report};
use bytes::Bytes;
use control::Finding;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

/// How long a body may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Takes a whole body that says it is JSON.
pub(crate) async fn take<B>(headers: &HeaderMap, body: B, max: usize) -> Result<Bytes, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<base::BoxError>,
{
    let is_json = |value: &str| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/json")
    };
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media_type.is_some_and(is_json) || headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "send JSON, uncompressed, with `Content-Type: application/json`",
        ));
    }
    let collected = tokio::time::timeout(TIMEOUT, Limited::new(body, max).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body has more than {max} bytes"),
        )),
        Ok(Err(_)) => Err(Refusal::malformed("", "the body ended early")),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "the body took too long to arrive",
        )),
    }
}

/// Reads JSON (RFC 8259) in which no name stands twice and nothing is too deep.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    let flaw = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let strict = Strict { path: &Path { parent: None, part: Part::Root }, depth: 0, flaw: &flaw };
    let read = strict.deserialize(&mut deserializer);
    let read = read.and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| match flaw.take() {
        Some((pointer, message)) => Refusal::malformed(pointer, message),
        None => Refusal::malformed("", format!("this is not JSON: {error}")),
    })
}

/// A step to a value.
#[derive(Clone, Copy)]
enum Part<'a> {
    Root,
    Item(usize),
    Field(&'a str),
}

struct Path<'a> {
    parent: Option<&'a Self>,
    part: Part<'a>,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.part {
            Part::Root => Ok(()),
            Part::Item(at) => write!(f, "/{at}"),
            Part::Field(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
        }
    }
}

/// Where it was wrong, and what.
type Flaw = RefCell<Option<(String, String)>>;

/// Reads a value, noting where it is wrong.
#[derive(Clone, Copy)]
struct Strict<'a> {
    path: &'a Path<'a>,
    depth: usize,
    flaw: &'a Flaw,
}

impl Strict<'_> {
    fn refuse<E: Error>(&self, message: &str) -> E {
        *self.flaw.borrow_mut() = Some((self.path.to_string(), message.to_owned()));
        E::custom(message)
    }

    /// Refuses what not every database can keep.
    fn plain<E: Error>(&self, text: String) -> Result<String, E> {
        if text.contains('\0') { Err(self.refuse("a text cannot hold NUL")) } else { Ok(text) }
    }

    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.depth < ADMIN_BODY_DEPTH_MAX {
            return Ok(self.depth + 1);
        }
        Err(self.refuse(&format!(
            "more than {ADMIN_BODY_DEPTH_MAX} lists and maps stand within each other"
        )))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.plain(text.to_owned()).map(Value::String)
    }
    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        self.plain(text).map(Value::String)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut items = Vec::new();
        loop {
            let path = Path { parent: Some(self.path), part: Part::Item(items.len()) };
            match seq.next_element_seed(Strict { path: &path, depth, flaw: self.flaw })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let name = self.plain(name)?;
            let path = Path { parent: Some(self.path), part: Part::Field(&name) };
            let inner = Strict { path: &path, depth, flaw: self.flaw };
            if fields.contains_key(&name) {
                return Err(inner.refuse("this name stands there twice"));
            }
            let value = map.next_value_seed(inner)?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

/// Makes a typed value of what was sent; everything that is wrong is told. Where `is_private`, no text that was sent is
/// repeated.
pub(crate) fn typed<T: DeserializeOwned>(sent: &Value, is_private: bool) -> Result<T, Refusal> {
    let mut report = Report::new();
    let read = base::decode(&Node::from_json(sent), "", &mut report);
    if let Some(value) = read {
        return Ok(value);
    }
    if is_private {
        report.mask(|_| true);
    }
    let finding = |problem: &base::Problem| {
        let help = problem.help.iter().map(|help| format!(": {help}"));
        let message = help.fold(problem.message.clone(), |message, help| message + &help);
        Finding { pointer: problem.path.clone(), message }
    };
    let findings: Vec<Finding> = report.problems().iter().map(finding).collect();
    let detail = match findings.as_slice() {
        [only] => only.message.clone(),
        many => format!("{} things are wrong with what was sent", many.len()),
    };
    Err(Refusal { findings, ..Refusal::new(StatusCode::BAD_REQUEST, "malformed", detail) })
}

/// A text that was sent as one: a number is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line(pub(crate) String);

impl<'de> serde::Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyText;
        impl Visitor<'_> for OnlyText {
            type Value = Line;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Line, E> {
                Ok(Line(text.to_owned()))
            }
        }
        deserializer.deserialize_any(OnlyText)
    }
}

impl JsonSchema for Line {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Line".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// Any JSON, kept as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Any(pub(crate) Value);

impl<'de> serde::Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(json(base::Value::deserialize(deserializer)?)))
    }
}

fn json(value: base::Value) -> Value {
    match value {
        base::Value::Null => Value::Null,
        base::Value::Bool(flag) => Value::Bool(flag),
        base::Value::Int(number) => Value::Number(number.into()),
        base::Value::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        base::Value::Text(text) => Value::String(text),
        base::Value::List(items) => {
            Value::Array(items.into_iter().map(|item| json(item.value)).collect())
        }
        base::Value::Map(fields) => Value::Object(
            fields.into_iter().map(|(name, node)| (name.value, json(node.value))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{ADMIN_BODY_DEPTH_MAX, Any, Line, parse, typed};
    use serde_json::json;

    #[test]
    fn json_is_read_strictly_and_told_where_it_is_wrong() {
        let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(deep(ADMIN_BODY_DEPTH_MAX).as_bytes()).is_ok());
        for (wrong, pointer) in [
            (r#"{"a":{"b/c":1,"b/c":2}}"#, "/a/b~1c"),
            (r#"{"a":[0,"\u0000"]}"#, "/a/1"),
            (r#"{"a":1}x"#, ""),
            (r#"{"a":"\ud800"}"#, ""),
            (r#"{"a":1e999}"#, ""),
            ("", ""),
            ("{'a':1}", ""),
            ("\u{feff}{}", ""),
            (&deep(ADMIN_BODY_DEPTH_MAX + 1), &"/0".repeat(ADMIN_BODY_DEPTH_MAX)),
            (&deep(100_000), &"/0".repeat(ADMIN_BODY_DEPTH_MAX)),
        ] {
            let refusal = parse(wrong.as_bytes()).unwrap_err();
            assert_eq!((refusal.status.as_u16(), &*refusal.findings[0].pointer), (400, pointer));
        }
        let whole = r#"{"b":[null,true,-1,18446744073709551615,1.5,"é"],"a":{}}"#;
        assert_eq!(parse(whole.as_bytes()).unwrap().to_string(), whole);
    }

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Sent {
        name: Line,
        config: Any,
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let read: Sent =
            typed(&json!({ "name": "a", "config": { "x": "${secret:y}" } }), false).unwrap();
        assert_eq!((read.name.0.as_str(), read.config.0), ("a", json!({ "x": "${secret:y}" })));
        let refusal = typed::<Sent>(&json!({ "name": 5, "confg": {} }), false).unwrap_err();
        let told: Vec<_> = refusal.findings.iter().map(|it| (&*it.pointer, &*it.message)).collect();
        assert!(told.iter().any(|it| it.0 == "/name"), "{told:?}");
        assert!(told.iter().any(|it| it.0 == "/confg" && it.1.contains("did you mean `config`")));
    }

    #[test]
    fn what_is_private_is_not_repeated() {
        let refusal = typed::<Sent>(&json!({ "name": ["x"], "hunter2": 1 }), true).unwrap_err();
        assert!(!format!("{refusal:?}").contains("hunter2"), "{refusal:?}");
    }
}
