//! From a document to typed values, with all problems at their places.
//!
//! serde stops at the first error. [`decode`] therefore notes where it stopped, leaves that part of
//! the document out and goes again, until nothing new is wrong: types need nothing beyond a derived
//! `Deserialize` with `deny_unknown_fields`.

use crate::caps::PROBLEMS_MAX;
use crate::report::{Place, Report, did_you_mean};
use crate::tree::{FIRST_KEY_TOKEN, Node, PLACED_TOKEN, Placed, TEXT_TOKEN, Value};
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected,
    IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use std::fmt;

/// Makes a typed value of `node`, whose JSON pointer in its document is `path`. Every problem goes to
/// `report`; there is a value only when there was none.
pub fn decode<T: DeserializeOwned>(node: &Node, path: &str, report: &mut Report) -> Option<T> {
    let mut skipped: Vec<*const Node> = Vec::new();
    loop {
        let cursor = Cursor { node, path: Path { parent: None, part: path }, skipped: &skipped };
        match T::deserialize(cursor) {
            Ok(value) => return skipped.is_empty().then_some(value),
            Err(failure) => {
                let culprit = failure.culprit;
                // What is missing because it was left out was reported when it was left out.
                if !failure.is_consequence {
                    failure.report(node, path, report);
                }
                let is_whole = culprit.is_null() || std::ptr::eq(culprit, node);
                if is_whole || skipped.contains(&culprit) || skipped.len() >= PROBLEMS_MAX {
                    return None;
                }
                skipped.push(culprit);
            }
        }
    }
}

/// The short or the long form of one thing: a scalar read by `short`, or a map read as `Long`.
///
/// # Errors
/// What `short` or `Long` say, or that the value is neither.
pub fn short_or_long<'de, D, Long, T>(
    deserializer: D,
    expecting: &'static str,
    short: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    Long: serde::Deserialize<'de> + Into<T>,
{
    deserializer.deserialize_any(ShortOrLong {
        expecting,
        short,
        long: std::marker::PhantomData::<Long>,
    })
}

struct ShortOrLong<T, Long> {
    expecting: &'static str,
    short: fn(&str) -> Result<T, String>,
    long: std::marker::PhantomData<Long>,
}

impl<'de, T, Long: serde::Deserialize<'de> + Into<T>> Visitor<'de> for ShortOrLong<T, Long> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.short)(text).map_err(E::custom)
    }
    fn visit_bool<E: serde::de::Error>(self, is_so: bool) -> Result<T, E> {
        (self.short)(&is_so.to_string()).map_err(E::custom)
    }
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        (self.short)(&number.to_string()).map_err(E::custom)
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        (self.short)(&number.to_string()).map_err(E::custom)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        Long::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Into::into)
    }
}

/// Reads a value in the way that its first key calls for: a map whose first key satisfies `is_keyed` as
/// `Keyed`, everything else as `Other`.
///
/// # Errors
/// What the chosen form says.
pub fn by_first_key<'de, D, Keyed, Other, T>(
    deserializer: D,
    is_keyed: fn(&str) -> bool,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    Keyed: serde::Deserialize<'de> + Into<T>,
    Other: serde::Deserialize<'de> + Into<T>,
{
    let visitor = ByFirstKey { is_keyed, forms: std::marker::PhantomData::<(Keyed, Other, T)> };
    deserializer.deserialize_newtype_struct(FIRST_KEY_TOKEN, visitor)
}

struct ByFirstKey<Keyed, Other, T> {
    is_keyed: fn(&str) -> bool,
    forms: std::marker::PhantomData<(Keyed, Other, T)>,
}

impl<'de, Keyed, Other, T> Visitor<'de> for ByFirstKey<Keyed, Other, T>
where
    Keyed: serde::Deserialize<'de> + Into<T>,
    Other: serde::Deserialize<'de> + Into<T>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    /// Takes the first key and the whole value from [`Cursor`].
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let key: Option<String> = seq.next_element()?;
        let whole = if key.is_some_and(|key| (self.is_keyed)(&key)) {
            seq.next_element::<Keyed>()?.map(Into::into)
        } else {
            seq.next_element::<Other>()?.map(Into::into)
        };
        whole.ok_or_else(|| A::Error::custom("there is no value"))
    }

    /// Any other deserializer cannot look ahead.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<T, D::Error> {
        Other::deserialize(d).map(Into::into)
    }
}

/// One step of a JSON pointer, linked to the steps above it.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Self>,
    part: &'a str,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parent {
            None => f.write_str(self.part),
            Some(parent) => {
                write!(f, "{parent}/{}", self.part.replace('~', "~0").replace('/', "~1"))
            }
        }
    }
}

/// Why deserialization stopped.
#[derive(Debug)]
struct Failure {
    message: Box<str>,
    help: Option<Box<str>>,
    code: &'static str,
    place: Option<Place>,
    path: Box<str>,
    culprit: *const Node,
    missing: Option<&'static str>,
    /// It only went wrong because a part was left out that was wrong itself.
    is_consequence: bool,
}

impl Failure {
    fn new(code: &'static str, message: String) -> Self {
        Self {
            message: message.into(),
            help: None,
            code,
            place: None,
            path: Box::default(),
            culprit: std::ptr::null(),
            missing: None,
            is_consequence: false,
        }
    }

    /// Notes where it happened, unless a deeper value already has.
    fn inside(mut self, cursor: &Cursor<'_>) -> Self {
        if self.place.is_none() {
            self.place = Some(cursor.node.place.clone());
            self.path = cursor.path.to_string().into();
            self.culprit = cursor.node;
            self.is_consequence = match self.missing {
                Some(missing) => cursor.has_skipped(missing) || cursor.has_misspelt(missing),
                None => cursor.has_skipped_part(),
            };
        }
        self
    }

    fn report(self, root: &Node, path: &str, report: &mut Report) {
        let place = self.place.as_ref().unwrap_or(&root.place);
        let problem = report.error(self.code, place, self.message);
        problem.path = if self.path.is_empty() { path.to_owned() } else { self.path.into() };
        problem.help = self.help.map(Into::into);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("invalid_value", message.to_string())
    }
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = wanted(expected);
        let message = format!("expected {expected}, found {}", shown(unexpected));
        let mut failure = Self::new("wrong_type", message);
        if expected == "a text" && matches!(unexpected, Unexpected::Bool(_) | Unexpected::Float(_))
        {
            failure.help = Some("put quotes around it to make it a text".into());
        }
        failure
    }
    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = wanted(expected);
        Self::new("invalid_value", format!("expected {expected}, found {}", shown(unexpected)))
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let message = format!("`{}` is not known here", shortened(variant));
        let mut failure = Self::new("unknown_value", message);
        failure.help = Some(choice(variant, expected).into());
        failure
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut failure =
            Self::new("unknown_field", format!("unknown field `{}`", shortened(field)));
        failure.help = Some(choice(field, expected).into());
        failure
    }
    fn missing_field(field: &'static str) -> Self {
        let mut failure = Self::new("missing_field", format!("`{field}` is missing"));
        failure.missing = Some(field);
        failure
    }
}

/// "did you mean …", or the list of what is known.
fn choice(written: &str, known: &[&str]) -> String {
    match did_you_mean(written, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "nothing is expected here".to_owned(),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// What serde expects, in the words of those who write configs.
fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    let plain = match text.as_str() {
        "a sequence" => "a list",
        "a string" | "string" | "str" => "a text",
        "a boolean" => "`true` or `false`",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        _ if text.starts_with("struct ") => "a map of settings",
        _ => return text,
    };
    plain.to_owned()
}

fn shown(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(flag) => format!("`{flag}`"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Str(text) => format!("the text `{}`", shortened(text)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map | Unexpected::StructVariant => "a map".to_owned(),
        other => other.to_string(),
    }
}

fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    if text.chars().count() <= SHOWN_CHARS {
        return text.to_owned();
    }
    text.chars().take(SHOWN_CHARS).chain(std::iter::once('…')).collect()
}

/// One value of the document during deserialization.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    node: &'a Node,
    path: Path<'a>,
    skipped: &'a [*const Node],
}

impl Cursor<'_> {
    fn is_skipped(&self, node: &Node) -> bool {
        self.skipped.iter().any(|skipped| std::ptr::eq(*skipped, node))
    }

    fn has_skipped(&self, field: &str) -> bool {
        self.node.field(field).is_some_and(|node| self.is_skipped(node))
    }

    /// Whether a field was left out whose name was probably meant to be this one.
    fn has_misspelt(&self, field: &str) -> bool {
        let Value::Map(fields) = &self.node.value else { return false };
        !self.skipped.is_empty()
            && fields.iter().any(|(key, node)| {
                self.is_skipped(node) && did_you_mean(&key.value, [field]).is_some()
            })
    }

    fn has_skipped_part(&self) -> bool {
        match &self.node.value {
            _ if self.skipped.is_empty() => false,
            Value::List(items) => items.iter().any(|node| self.is_skipped(node)),
            Value::Map(fields) => fields.iter().any(|(_, node)| self.is_skipped(node)),
            _ => false,
        }
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { cursor: self, items, next: 0 }),
            Value::Map(fields) => visitor.visit_map(Fields { cursor: self, fields, next: 0 }),
        }
    }

    /// Deserializes this value; what a check made of it afterwards is told here too.
    fn seed<'de, T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        seed.deserialize(self).map_err(|failure| failure.inside(&self))
    }

    /// Refuses a reference where the value will not be resolved.
    fn plain(&self) -> Result<(), Failure> {
        match &self.node.value {
            Value::Text(text) if text.contains("${env:") || text.contains("${file:") => {
                let mut failure = Failure::custom("a `${…}` reference is not possible here");
                failure.help = Some("write the value itself".into());
                Err(failure)
            }
            _ => Ok(()),
        }
    }
}

macro_rules! deserialize_as_any {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            self.deserialize_any(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Cursor<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.plain()
            .and_then(|()| self.any(visitor))
            .map_err(|failure: Failure| failure.inside(&self))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
        .map_err(|failure: Failure| failure.inside(&self))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match name {
            PLACED_TOKEN => {
                visitor.visit_map(PlacedFields { place: &self.node.place, value: self, next: 0 })
            }
            TEXT_TOKEN => self.any(visitor),
            FIRST_KEY_TOKEN => visitor.visit_seq(FirstKey { cursor: self, next: 0 }),
            _ => visitor.visit_newtype_struct(self),
        }
        .map_err(|failure: Failure| failure.inside(&self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(self).map_err(|failure: Failure| failure.inside(&self))
    }

    /// An unquoted number is a fine text.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Int(number) => visitor
                .visit_str(&number.to_string())
                .map_err(|failure: Failure| failure.inside(&self)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_any(visitor)
    }

    /// A field that is there but empty counts as a map without fields.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Null => visitor.visit_map(Fields { cursor: self, fields: &[], next: 0 }),
            _ => self.any(visitor),
        }
        .map_err(|failure: Failure| failure.inside(&self))
    }

    /// A field that is there but empty counts as a list without items.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Null => visitor.visit_seq(Items { cursor: self, items: &[], next: 0 }),
            _ => self.any(visitor),
        }
        .map_err(|failure: Failure| failure.inside(&self))
    }

    deserialize_as_any! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32
        deserialize_f64 deserialize_char deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_map deserialize_identifier
    }
}

/// The first key of a map (an empty one for any other value), then the value as a whole.
struct FirstKey<'a> {
    cursor: Cursor<'a>,
    next: usize,
}

impl<'de> SeqAccess<'de> for FirstKey<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        self.next += 1;
        if self.next > 1 {
            return seed.deserialize(self.cursor).map(Some);
        }
        let key = match &self.cursor.node.value {
            Value::Map(fields) => fields.first().map_or("", |(key, _)| key.value.as_str()),
            _ => "",
        };
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }
}

/// The elements of a list that are not skipped.
struct Items<'a> {
    cursor: Cursor<'a>,
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        while let Some(node) = self.items.get(self.next) {
            let index = self.next.to_string();
            self.next += 1;
            if self.cursor.is_skipped(node) {
                continue;
            }
            let path = Path { parent: Some(&self.cursor.path), part: &index };
            let cursor = Cursor { node, path, skipped: self.cursor.skipped };
            return cursor.seed(seed).map(Some);
        }
        Ok(None)
    }
}

/// The fields of a map whose values are not skipped.
struct Fields<'a> {
    cursor: Cursor<'a>,
    fields: &'a [(Placed<String>, Node)],
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        while let Some((key, node)) = self.fields.get(self.next) {
            if self.cursor.is_skipped(node) {
                self.next += 1;
                continue;
            }
            let path = Path { parent: Some(&self.cursor.path), part: &key.value };
            let key = Key { key, node, path };
            return seed.deserialize(key).map(Some).map_err(|failure| failure.of_key(&key));
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Failure> {
        let Some((key, node)) = self.fields.get(self.next) else {
            return Err(Failure::custom("a value without a key"));
        };
        self.next += 1;
        let path = Path { parent: Some(&self.cursor.path), part: &key.value };
        Cursor { node, path, skipped: self.cursor.skipped }.seed(seed)
    }
}

/// A key of a map.
#[derive(Clone, Copy)]
struct Key<'a> {
    key: &'a Placed<String>,
    node: &'a Node,
    path: Path<'a>,
}

impl Failure {
    /// A key that is not wanted is a fault of its whole entry.
    fn of_key(mut self, key: &Key<'_>) -> Self {
        if self.place.is_none() {
            self.place = Some(key.key.place.clone());
            self.path = key.path.to_string().into();
            self.culprit = key.node;
        }
        self
    }
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str(&self.key.value)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match name {
            PLACED_TOKEN => {
                visitor.visit_map(PlacedFields { place: &self.key.place, value: self, next: 0 })
            }
            TEXT_TOKEN => self.deserialize_any(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(StrDeserializer::new(&self.key.value))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The four fields by which a value with its place is handed over.
struct PlacedFields<'a, V> {
    place: &'a Place,
    value: V,
    next: usize,
}

impl<'de, V: Deserializer<'de, Error = Failure> + Copy> MapAccess<'de> for PlacedFields<'_, V> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        let name = ["file", "line", "column", "value"].get(self.next);
        name.map(|name| seed.deserialize(StrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Failure> {
        self.next += 1;
        match self.next {
            1 => seed.deserialize(StrDeserializer::new(&self.place.file)),
            2 => seed.deserialize(self.place.line.into_deserializer()),
            3 => seed.deserialize(self.place.column.into_deserializer()),
            _ => seed.deserialize(self.value),
        }
    }
}

/// A variant by its name alone, or as a map of one entry.
impl<'de, 'a> EnumAccess<'de> for Cursor<'a> {
    type Error = Failure;
    type Variant = Variant<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Failure> {
        match &self.node.value {
            Value::Text(name) => {
                let variant = seed.deserialize(StrDeserializer::<Failure>::new(name))?;
                Ok((variant, Variant { cursor: self, content: None }))
            }
            Value::Map(fields) if fields.len() == 1 => {
                let (key, node) = &fields[0];
                let variant = seed
                    .deserialize(StrDeserializer::<Failure>::new(&key.value))
                    .map_err(|mut failure| {
                        if failure.place.is_none() {
                            failure.place = Some(key.place.clone());
                            failure.path = self.path.to_string().into();
                            failure.culprit = self.node;
                        }
                        failure
                    })?;
                Ok((variant, Variant { cursor: self, content: Some((key, node)) }))
            }
            _ => Err(Failure::new(
                "wrong_type",
                format!("expected a name, or a map with one entry, found {}", self.node.kind()),
            )),
        }
    }
}

struct Variant<'a> {
    cursor: Cursor<'a>,
    content: Option<(&'a Placed<String>, &'a Node)>,
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        match self.content {
            None => Ok(()),
            Some((key, _)) => {
                Err(Failure::new("wrong_type", format!("`{}` takes no settings", key.value)))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        let Some((key, node)) = self.content else {
            return Err(Failure::new("wrong_type", "this needs a value: `name: value`".to_owned()));
        };
        let path = Path { parent: Some(&self.cursor.path), part: &key.value };
        Cursor { node, path, skipped: self.cursor.skipped }.seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.newtype_variant_seed(VisitWith(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.newtype_variant_seed(VisitWith(visitor))
    }
}

struct VisitWith<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for VisitWith<V> {
    type Value = V::Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_any(self.0)
    }
}

#[cfg(test)]
mod tests;
