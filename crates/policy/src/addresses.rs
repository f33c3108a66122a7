//! Lists of addresses as they are written in settings: networks inline, and files full of them.

use crate::files::{Kept, open};
use crate::kind::BuildCtx;
use base::caps::ADDRESS_LISTS_MAX;
use base::network::Network;
use base::ranges::Ranges;
use base::{Node, Report};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// One network, address or file, or several.
#[derive(Debug, Default)]
pub(crate) struct WrittenAddresses(Vec<Source>);

/// Where addresses come from.
#[derive(Debug)]
enum Source {
    Inline(String),
    File(String),
}

const EXPECTING_ONE: &str =
    "a network such as `10.0.0.0/8`, an address, `unix`, or `file: ./addresses.txt`";
const EXPECTING: &str =
    "a network such as `10.0.0.0/8`, an address, `file:./addresses.txt`, or a list of these";

impl Source {
    fn word(text: &str) -> Self {
        match text.strip_prefix("file:") {
            Some(path) => Self::File(path.trim().to_owned()),
            None => Self::Inline(text.to_owned()),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct InFile {
    file: String,
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Source;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING_ONE)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Source, E> {
                Ok(Source::word(text))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                let InFile { file } = InFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Source::File(file))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl<'de> Deserialize<'de> for WrittenAddresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = WrittenAddresses;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<WrittenAddresses, E> {
                Ok(WrittenAddresses::word(text))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WrittenAddresses, A::Error> {
                let InFile { file } = InFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(WrittenAddresses(vec![Source::File(file)]))
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<WrittenAddresses, A::Error> {
                let mut sources = Vec::new();
                while let Some(source) = seq.next_element()? {
                    sources.push(source);
                }
                Ok(WrittenAddresses(sources))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

impl JsonSchema for WrittenAddresses {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Addresses".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({ "anyOf": [
            { "type": "string", "description": EXPECTING_ONE },
            {
                "type": "object",
                "properties": { "file": {
                    "type": "string",
                    "description": "A file with one network or address a line; what follows `#` or `;` is a comment."
                } },
                "required": ["file"],
                "additionalProperties": false
            },
        ] });
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// Addresses, ready to be asked.
#[derive(Debug)]
pub(crate) struct Addresses {
    inline: Ranges,
    /// The same, as they were written.
    written: Vec<String>,
    files: Box<[Arc<Kept<Ranges>>]>,
}

impl WrittenAddresses {
    /// One network, address or file, as a word.
    pub(crate) fn word(text: &str) -> Self {
        Self(vec![Source::word(text)])
    }

    /// What is written in the setting `below`, with its files read. Whatever is wrong is told.
    pub(crate) fn build(
        &self,
        (node, below): (&Node, &str),
        ctx: &BuildCtx<'_>,
        report: &mut Report,
    ) -> Option<Addresses> {
        let mut networks = Vec::new();
        let mut written = Vec::new();
        let mut files = Vec::new();
        let mut is_whole = true;
        for (index, source) in self.0.iter().enumerate() {
            let below = format!("{below}/{index}");
            match source {
                Source::Inline(text) => match Network::parse(text) {
                    Ok(network) => {
                        networks.push(network);
                        written.push(text.trim().to_owned());
                    }
                    Err(message) => {
                        is_whole = false;
                        ctx.error(report, node, &below, message);
                    }
                },
                Source::File(path) => match open::<Ranges>(path, (node, &below), ctx, report) {
                    Some(file) => files.push(file),
                    None => is_whole = false,
                },
            }
        }
        if files.len() > ADDRESS_LISTS_MAX {
            let message = format!("at most {ADDRESS_LISTS_MAX} files can be named here");
            ctx.error(report, node, below, message);
            is_whole = false;
        }
        let inline = networks.into_iter().collect();
        is_whole.then(|| Addresses { inline, written, files: files.into() })
    }
}

impl Addresses {
    /// Whether there is nobody in them, as they are now.
    pub(crate) fn is_empty(&self) -> bool {
        self.inline.networks() == 0 && self.files.iter().all(|file| file.now().networks() == 0)
    }

    /// Whether a client is in them; one without an address has come over a Unix socket.
    pub(crate) fn hold(&self, client: Option<IpAddr>) -> bool {
        self.inline.hold(client) || self.files.iter().any(|file| file.now().hold(client))
    }

    /// Which of them holds a client, as it was written.
    pub(crate) fn which(&self, client: Option<IpAddr>) -> String {
        if self.inline.hold(client) {
            return "the addresses in the config".to_owned();
        }
        let file = self.files.iter().find(|file| file.now().hold(client));
        file.map_or_else(String::new, |file| format!("`{}`", file.path().display()))
    }

    /// All of them, in a few words.
    pub(crate) fn about(&self) -> String {
        const SHOWN: usize = 8;
        let mut parts: Vec<String> = self.written.iter().take(SHOWN).cloned().collect();
        if let Some(others @ 1..) = self.written.len().checked_sub(SHOWN) {
            parts.push(format!("{others} others"));
        }
        for file in &self.files {
            let entries = file.now().networks();
            parts.push(format!("{} ({entries} entries)", file.path().display()));
        }
        if parts.is_empty() { "nobody".to_owned() } else { parts.join(", ") }
    }
}
