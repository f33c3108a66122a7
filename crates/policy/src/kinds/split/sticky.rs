//! A cookie that keeps a browser on its side. Its value tells sides apart without naming them.

use super::Side;
use crate::by;
use base::decode::short_or_long;
use base::units::Period;
use http::HeaderValue;
use http::header::SET_COOKIE;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer};
use std::borrow::Cow;
use traffic::head::Scheme;
use traffic::{Exchange, Response};

/// A cookie; short: its name.
#[derive(Debug)]
pub struct WrittenSticky(Long);

#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Long {
    /// Its name.
    name: String,
    /// How long a browser keeps it; until it is closed, when left out.
    max_age: Option<Period>,
}

impl From<Long> for WrittenSticky {
    fn from(long: Long) -> Self {
        Self(long)
    }
}

impl<'de> Deserialize<'de> for WrittenSticky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, Long, Self>(
            deserializer,
            "a cookie's name, or `{ name, max_age }`",
            |t| Ok(Self(Long { name: t.to_owned(), max_age: None })),
        )
    }
}

impl JsonSchema for WrittenSticky {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Sticky".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<Long>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, long] })
    }
}

pub(super) struct Sticky {
    name: Box<str>,
    /// `; Max-Age=…`, or nothing.
    max_age: Box<str>,
}

impl Sticky {
    pub(super) fn new(written: &WrittenSticky) -> Result<Self, String> {
        let Long { name, max_age } = &written.0;
        if !by::is_cookie_name(name) {
            return Err(format!("`{name}` is not the name of a cookie"));
        }
        let max_age = max_age.map(|age| format!("; Max-Age={}", age.0.as_secs().max(1)));
        Ok(Self { name: name.as_str().into(), max_age: max_age.unwrap_or_default().into() })
    }

    /// The side that the browser remembers, unless there is none such any more or it gets nothing.
    pub(super) fn side(&self, exchange: &Exchange, sides: &[Side]) -> Option<usize> {
        let value = by::cookie(exchange, &self.name)?;
        sides.iter().position(|side| side.weight > 0.0 && token(side) == value)
    }

    /// Has the browser remember the side.
    pub(super) fn set(&self, side: &Side, exchange: &Exchange, reply: &mut Response) {
        let secure = match exchange.request.scheme {
            Scheme::Https => "; Secure",
            Scheme::Http => "",
        };
        let Self { name, max_age } = self;
        let cookie =
            format!("{name}={}; Path=/{max_age}; HttpOnly; SameSite=Lax{secure}", token(side));
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            reply.headers.append(SET_COOKIE, cookie);
        }
    }
}

/// What stands for a side in the cookie.
fn token(side: &Side) -> String {
    format!("{:08x}", by::hash(&[b"side", side.name.as_bytes()]) >> 32)
}
