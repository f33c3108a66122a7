//! What is signed: the signature base of RFC 9421, 2.5, read strictly. Of the components those are known that a request
//! has as a whole; one with parameters, which could mean a part of it, is refused.

use base::caps::{CREDENTIAL_ID_BYTES_MAX, SIGNATURE_BYTES_MAX, SIGNATURE_COMPONENTS_MAX};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, ListSerializer, Parser};
use traffic::Headers;
use traffic::head::{RequestHead, Scheme};

/// The header with the signature.
pub(super) const SIGNATURE: &str = "signature";
/// The header that says what is signed, and how.
pub(super) const SIGNATURE_INPUT: &str = "signature-input";

/// A signature as a request shows it.
#[derive(Debug)]
pub(super) struct Signed {
    list: InnerList,
    /// The signature itself.
    pub(super) mac: Vec<u8>,
    /// Whose secret it was made with.
    pub(super) key_id: String,
    /// When it was made, in seconds since 1970.
    pub(super) created_s: u64,
    /// When it ends, in seconds since 1970.
    pub(super) expires_s: Option<u64>,
}

/// All values of a header as one dictionary (RFC 9651, 4.2).
pub(super) fn dictionary(headers: &Headers, name: &str) -> Result<Dictionary, &'static str> {
    let bytes = joined(headers, name).ok_or("there is no signature, or nothing about it")?;
    if bytes.len() > SIGNATURE_BYTES_MAX {
        return Err("a header of the signature is too long");
    }
    Parser::new(&bytes).parse().map_err(|_| "a header of the signature is malformed")
}

/// The values of a header as one, as RFC 9421, 2.1 has it.
fn joined(headers: &Headers, name: &str) -> Option<Vec<u8>> {
    let mut whole: Option<Vec<u8>> = None;
    for value in headers.all(name) {
        let value = value.as_bytes().trim_ascii();
        match &mut whole {
            None => whole = Some(value.to_vec()),
            Some(whole) => {
                whole.extend_from_slice(b", ");
                whole.extend_from_slice(value);
            }
        }
    }
    whole
}

impl Signed {
    /// The one signature of a request.
    pub(super) fn read(headers: &Headers) -> Result<Self, &'static str> {
        let mut inputs = dictionary(headers, SIGNATURE_INPUT)?;
        let mut signatures = dictionary(headers, SIGNATURE)?;
        if inputs.len() != 1 || signatures.len() != 1 {
            return Err("there must be one signature");
        }
        let (Some((label, input)), Some((of, signature))) = (inputs.pop(), signatures.pop()) else {
            return Err("there must be one signature");
        };
        if label != of {
            return Err("`signature` and `signature-input` are about different signatures");
        }
        let ListEntry::InnerList(list) = input else {
            return Err("`signature-input` is no list of components");
        };
        let mac = match signature {
            ListEntry::Item(item) if item.params.is_empty() => item.bare_item,
            _ => return Err("the signature is no sequence of bytes"),
        };
        let BareItem::ByteSequence(mac) = mac else {
            return Err("the signature is no sequence of bytes");
        };
        Self::of(list, mac)
    }

    fn of(list: InnerList, mac: Vec<u8>) -> Result<Self, &'static str> {
        let text = |name: &str| match list.params.get(name) {
            None => Ok(None),
            Some(BareItem::String(text)) => Ok(Some(text.as_str().to_owned())),
            Some(_) => Err("a parameter of the signature that must be a text is none"),
        };
        let time = |name: &str| match list.params.get(name) {
            None => Ok(None),
            Some(BareItem::Integer(time_s)) => u64::try_from(i64::from(*time_s))
                .map(Some)
                .map_err(|_| "a time of the signature is before 1970"),
            Some(_) => Err("a time of the signature is none"),
        };
        if text("alg")?.is_some_and(|alg| alg != "hmac-sha256") {
            return Err("the algorithm is not `hmac-sha256`");
        }
        let key_id = text("keyid")?.ok_or("there is no `keyid`")?;
        if key_id.is_empty() || key_id.len() > CREDENTIAL_ID_BYTES_MAX {
            return Err("the `keyid` is empty or too long");
        }
        let created_s =
            time("created")?.ok_or("the signature does not say when it was `created`")?;
        let expires_s = time("expires")?;
        if list.items.len() > SIGNATURE_COMPONENTS_MAX {
            return Err("the signature covers too many components");
        }
        for (index, item) in list.items.iter().enumerate() {
            let BareItem::String(name) = &item.bare_item else {
                return Err("a component is no text");
            };
            if !item.params.is_empty() {
                return Err("a component with parameters is not known here");
            }
            let name = name.as_str();
            if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return Err("a component is not in lower case");
            }
            if names(&list).take(index).any(|earlier| earlier == name) {
                return Err("a component is there twice");
            }
        }
        Ok(Self { list, mac, key_id, created_s, expires_s })
    }

    /// Whether a component is signed.
    pub(super) fn covers(&self, name: &str) -> bool {
        names(&self.list).any(|covered| covered == name)
    }

    /// What was signed, letter by letter (RFC 9421, 2.5).
    pub(super) fn base(&self, head: &RequestHead) -> Result<Vec<u8>, &'static str> {
        let mut base = Vec::new();
        for name in names(&self.list) {
            base.extend_from_slice(format!("\"{name}\": ").as_bytes());
            base.extend(component(head, name).ok_or("a component that is signed is not there")?);
            base.push(b'\n');
        }
        let mut params = ListSerializer::new();
        params.members([&ListEntry::InnerList(self.list.clone())]);
        let params = params.finish().ok_or("nothing is signed")?;
        base.extend_from_slice(b"\"@signature-params\": ");
        base.extend_from_slice(params.as_bytes());
        Ok(base)
    }
}

fn names(list: &InnerList) -> impl Iterator<Item = &str> {
    list.items.iter().filter_map(|item| match &item.bare_item {
        BareItem::String(name) => Some(name.as_str()),
        _ => None,
    })
}

/// The value of a component: of those derived from the request (RFC 9421, 2.2), or a header.
fn component(head: &RequestHead, name: &str) -> Option<Vec<u8>> {
    let scheme = head.scheme.as_str();
    let text = match name {
        "@method" => head.method.as_str().to_owned(),
        "@scheme" => scheme.to_owned(),
        "@authority" => authority(head)?,
        "@path" => head.path().to_owned(),
        "@query" => format!("?{}", head.query().unwrap_or_default()),
        "@request-target" => head.target.as_str().to_owned(),
        "@target-uri" => format!("{scheme}://{}{}", authority(head)?, head.target),
        _ if name.starts_with('@') => return None,
        _ => return joined(&head.headers, name),
    };
    Some(text.into_bytes())
}

/// In lower case, without the port that the scheme has anyway (RFC 9421, 2.2.3).
fn authority(head: &RequestHead) -> Option<String> {
    let mut text = head.authority.to_str().ok()?.to_ascii_lowercase();
    let usual = match head.scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    if let Some(host) = text.strip_suffix(usual) {
        text.truncate(host.len());
    }
    Some(text)
}
