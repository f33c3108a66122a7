//! From when on a node refuses what it could not do well.

use base::Placed;
use base::decode::short_or_long;
use base::units::{Period, Share, Size};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// From when on a node refuses what it could not do well: `off`, or `{ queue_delay, memory }`.
#[derive(Clone, Debug, Default)]
pub struct Overload {
    /// Whether it never does.
    pub is_off: bool,
    /// What is said in the long form.
    pub long: OverloadLong,
}

/// The same, in full.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverloadLong {
    /// How late a worker may come to what is ready for it, for a second and longer, before it refuses requests, those of low
    /// priority first; 500 ms unless said otherwise. What counts is the time in which the worker itself was at work meanwhile,
    /// not that in which the system let others run: a machine that is busy with something else makes a gateway late, but
    /// leaves it no backlog. The default is far above what bursts cause, so that it hurts nobody; 50 ms suit a machine of
    /// its own whose clients would rather be refused than wait.
    pub queue_delay: Option<Placed<Period>>,
    /// How much memory the process may take: a size such as `512MiB`, or a share such as `80%` of the limit of its cgroup or,
    /// where that has none, of the machine's memory. Unbounded unless said otherwise. From eight tenths of it on nothing more is held in
    /// memory for requests, from nine tenths on requests are refused, those of low priority first, and in the end connections.
    pub memory: Option<Placed<MemoryMax>>,
}

impl From<OverloadLong> for Overload {
    fn from(long: OverloadLong) -> Self {
        Self { is_off: false, long }
    }
}

impl<'de> Deserialize<'de> for Overload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, OverloadLong, Self>(
            deserializer,
            "`off`, or `{ queue_delay, memory }`",
            |text| match text.trim() {
                "off" => Ok(Self { is_off: true, long: OverloadLong::default() }),
                text => Err(format!("`{text}` is neither `off` nor `{{ queue_delay, memory }}`")),
            },
        )
    }
}

impl JsonSchema for Overload {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Overload".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<OverloadLong>();
        schemars::json_schema!({ "anyOf": [{ "const": "off" }, long] })
    }
}

/// How much memory a process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryMax {
    /// So many bytes.
    Size(Size),
    /// So much of what the system gives it.
    Share(Share),
}

impl MemoryMax {
    /// Reads a size or a share.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim_end().ends_with('%') {
            return Share::parse(text).map(Self::Share);
        }
        Size::parse(text).map(Self::Size).map_err(|_| {
            format!("`{text}` is neither a size such as `512MiB` nor a share such as `80%`")
        })
    }
}

impl<'de> Deserialize<'de> for MemoryMax {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = MemoryMax;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as `512MiB`, or a share such as `80%`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<MemoryMax, E> {
                MemoryMax::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl JsonSchema for MemoryMax {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MemoryMax".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (size, share) = (generator.subschema_for::<Size>(), generator.subschema_for::<Share>());
        schemars::json_schema!({ "anyOf": [size, share] })
    }
}
