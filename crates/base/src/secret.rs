//! Values that must not be shown, and texts that refer to them.

use crate::tree::TEXT_TOKEN;
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use zeroize::Zeroizing;

/// A value that is never printed and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value into custody.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself: only for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the values behind references come from.
pub trait Secrets {
    /// The value that a reference stands for.
    ///
    /// # Errors
    /// A sentence that says why there is none, without any secret in it.
    fn resolve(&self, reference: &Reference) -> Result<Secret, String>;
}

/// What a `${…}` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `${env:NAME}`: an environment variable.
    Env(String),
    /// `${file:PATH}`: the content of a file, without the final line break.
    File(String),
    /// `${secret:NAME}`: a secret that a workspace keeps.
    Kept(String),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "${{env:{name}}}"),
            Self::File(path) => write!(f, "${{file:{path}}}"),
            Self::Kept(name) => write!(f, "${{secret:{name}}}"),
        }
    }
}

/// A text that may contain references to secrets: `Bearer ${env:TOKEN}`. It shows the references,
/// never what they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Plain(String),
    Reference(Reference),
}

impl Text {
    /// Reads a text with `${env:NAME}` and `${file:PATH}` in it; `$${` stands for a plain `${`.
    ///
    /// # Errors
    /// When a reference is not closed or names an unknown source.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(escaped) = before.strip_suffix('$') {
                plain.push_str(escaped);
                plain.push_str("${");
                rest = after;
                continue;
            }
            plain.push_str(before);
            let (inside, tail) = after.split_once('}').ok_or_else(|| {
                "`${` without a closing `}` (write `$${` for a plain `${`)".to_owned()
            })?;
            if !plain.is_empty() {
                parts.push(Part::Plain(std::mem::take(&mut plain)));
            }
            parts.push(Part::Reference(reference(inside)?));
            rest = tail;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Plain(plain));
        }
        Ok(Self { parts })
    }

    /// Whether the text contains a reference.
    #[must_use]
    pub fn has_reference(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Reference(_)))
    }

    /// The references of this text, in order.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Plain(_) => None,
            Part::Reference(reference) => Some(reference),
        })
    }

    /// The text with every reference replaced by its value.
    ///
    /// # Errors
    /// The first reference that has no value, with the reason.
    pub fn resolve(&self, secrets: &dyn Secrets) -> Result<Secret, String> {
        let mut resolved = String::new();
        for part in &self.parts {
            match part {
                Part::Plain(plain) => resolved.push_str(plain),
                Part::Reference(reference) => {
                    resolved.push_str(secrets.resolve(reference)?.reveal());
                }
            }
        }
        Ok(Secret::new(resolved))
    }
}

fn reference(inside: &str) -> Result<Reference, String> {
    match inside.split_once(':') {
        Some(("env", name)) if !name.is_empty() => Ok(Reference::Env(name.to_owned())),
        Some(("file", path)) if !path.is_empty() => Ok(Reference::File(path.to_owned())),
        Some(("secret", name)) if !name.is_empty() => Ok(Reference::Kept(name.to_owned())),
        _ => Err(format!(
            "`${{{inside}}}` is not a reference; write `${{env:NAME}}` or `${{file:PATH}}`"
        )),
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Plain(plain) => f.write_str(&plain.replace("${", "$${"))?,
                Part::Reference(reference) => write!(f, "{reference}")?,
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, which may refer to `${env:NAME}` or `${file:PATH}`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Text::parse(text).map_err(E::custom)
            }
            /// An unquoted number is a fine text.
            fn visit_i64<E: Error>(self, number: i64) -> Result<Text, E> {
                Text::parse(&number.to_string()).map_err(E::custom)
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Text, D::Error> {
                d.deserialize_str(self)
            }
        }
        deserializer.deserialize_newtype_struct(TEXT_TOKEN, TextVisitor)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A text; `${env:NAME}` and `${file:PATH}` stand for secrets."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Reference, Secret, Secrets, Text};

    struct Fixed;
    impl Secrets for Fixed {
        fn resolve(&self, reference: &Reference) -> Result<Secret, String> {
            match reference {
                Reference::Env(name) if name == "TOKEN" => Ok(Secret::new("s3cret".to_owned())),
                other => Err(format!("{other} has no value")),
            }
        }
    }

    #[test]
    fn references_are_resolved_and_never_shown() {
        let text = Text::parse("Bearer ${env:TOKEN}!").unwrap();
        assert_eq!(text.resolve(&Fixed).unwrap().reveal(), "Bearer s3cret!");
        assert_eq!(text.to_string(), "Bearer ${env:TOKEN}!");
        assert_eq!(format!("{:?}", text.resolve(&Fixed).unwrap()), "Secret(…)");
    }

    #[test]
    fn a_dollar_can_be_escaped() {
        let text = Text::parse("$${env:TOKEN} costs $5").unwrap();
        assert!(!text.has_reference());
        assert_eq!(text.resolve(&Fixed).unwrap().reveal(), "${env:TOKEN} costs $5");
        assert_eq!(text.to_string(), "$${env:TOKEN} costs $5");
    }

    #[test]
    fn what_is_not_a_reference_is_refused() {
        assert!(Text::parse("${TOKEN}").unwrap_err().contains("is not a reference"));
        assert!(Text::parse("${env:TOKEN").unwrap_err().contains("without a closing"));
        assert!(Text::parse("${env:NONE}").unwrap().resolve(&Fixed).is_err());
    }
}
