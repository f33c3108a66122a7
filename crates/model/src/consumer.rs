//! Who calls: the identified client of a request.

use base::Placed;
use base::decode::short_or_long;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// Someone or something that calls.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// Groups it belongs to, for policies to ask about.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Its API keys, only ever as hashes; `yett key create` makes one.
    #[serde(default)]
    pub keys: Vec<Placed<ApiKey>>,
}

/// The hash of an API key: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// What people call it, for logs.
    pub name: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyLong {
    /// `sha256:` and 64 hexadecimal digits.
    hash: HashText,
    /// What people call it, for logs.
    name: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(transparent)]
struct HashText(#[schemars(with = "String", regex(pattern = r"^sha256:[0-9a-f]{64}$"))] [u8; 32]);

impl<'de> Deserialize<'de> for HashText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hash(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl From<ApiKeyLong> for ApiKey {
    fn from(long: ApiKeyLong) -> Self {
        Self { hash: long.hash.0, name: long.name }
    }
}

impl ApiKey {
    /// Reads the short form.
    ///
    /// # Errors
    /// A sentence that says what is expected; it never repeats what was written, which may be a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse_hash(text).map(|hash| Self { hash, name: None })
    }
}

fn parse_hash(text: &str) -> Result<[u8; 32], String> {
    let wrong = || {
        "a key is kept as its hash, `sha256:` and 64 hexadecimal digits; `yett key create` makes one"
            .to_owned()
    };
    let digits = text.strip_prefix("sha256:").filter(|d| d.len() == 64).ok_or_else(wrong)?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

impl<'de> Deserialize<'de> for ApiKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, ApiKeyLong, Self>(
            deserializer,
            "the hash of a key (`sha256:…`), or `{ hash, name }`",
            Self::parse,
        )
    }
}

impl JsonSchema for ApiKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ApiKey".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<ApiKeyLong>();
        schemars::json_schema!({
            "oneOf": [{ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" }, long]
        })
    }
}
