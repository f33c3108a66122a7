//! The fields of a head or of a trailer section: names from the common stock, values as parts of the
//! bytes that were read, and on the way what the engine itself must know of them.

use crate::head::Version;
use crate::names;
use crate::refusal::Refusal;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use traffic::Headers;
use traffic::headers::SPARE;

/// The fields of one head.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    /// All but those of the framing.
    pub(crate) headers: Headers,
    /// `Content-Length`, the last if there are several.
    pub(crate) length: Option<&'a [u8]>,
    /// How many `Content-Length` there are.
    pub(crate) lengths: usize,
    /// `Transfer-Encoding`, the last if there are several.
    pub(crate) coding: Option<&'a [u8]>,
    /// How many `Transfer-Encoding` there are.
    pub(crate) codings: usize,
    /// `Connection: close`
    pub(crate) closes: bool,
    /// `Connection: keep-alive`
    pub(crate) keeps_alive: bool,
    /// `Connection: upgrade`
    pub(crate) wants_upgrade: bool,
    /// `Upgrade`
    pub(crate) names_protocol: bool,
    /// `Expect: 100-continue`
    pub(crate) expects_continue: bool,
    /// `Expect` with something else.
    pub(crate) expects_more: bool,
}

impl<'a> Fields<'a> {
    /// Takes the fields over; they are parts of `head`.
    pub(crate) fn read(head: &Bytes, written: &[httparse::Header<'a>]) -> Result<Self, Refusal> {
        let headers = Headers::with_capacity(written.len() + SPARE);
        let mut fields = Self { headers, ..Self::default() };
        for field in written {
            let name = names::name(field.name).map_err(|_| Refusal::BadFieldName)?;
            // Known names are compared by number, not letter by letter.
            if name == CONTENT_LENGTH {
                fields.length = Some(field.value);
                fields.lengths += 1;
                continue;
            }
            if name == TRANSFER_ENCODING {
                fields.coding = Some(field.value);
                fields.codings += 1;
                continue;
            }
            if name == CONNECTION {
                fields.read_connection(field.value);
            } else if name == UPGRADE {
                fields.names_protocol = true;
            } else if name == EXPECT {
                let is_continue = field.value.eq_ignore_ascii_case(b"100-continue");
                fields.expects_continue |= is_continue;
                fields.expects_more |= !is_continue;
            }
            fields.headers.append(name, value(head, field.value)?);
        }
        Ok(fields)
    }

    /// Whether the sender keeps the connection (RFC 9112, 9.3).
    pub(crate) fn keeps_connection(&self, version: Version) -> bool {
        !self.closes && (self.keeps_alive || version == Version::Http11)
    }

    fn read_connection(&mut self, list: &[u8]) {
        for option in list.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.wants_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

/// Trailers, which are parts of `section`.
pub(crate) fn trailers(
    section: &Bytes,
    written: &[httparse::Header<'_>],
) -> Result<HeaderMap, Refusal> {
    let mut map = HeaderMap::with_capacity(written.len());
    for field in written {
        let name = names::name(field.name).map_err(|_| Refusal::BadFieldName)?;
        map.append(name, value(section, field.value)?);
    }
    Ok(map)
}

fn value(whole: &Bytes, part: &[u8]) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_maybe_shared(whole.slice_ref(part)).map_err(|_| Refusal::BadFieldValue)
}

/// What is wrong with the first of these lines that is no field.
#[cold]
pub(crate) fn first_fault(lines: &[u8]) -> Refusal {
    let lines =
        lines.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let faults = lines.enumerate().find_map(|(number, line)| fault_of(line, number == 0));
    faults.unwrap_or(Refusal::BadFieldValue)
}

fn fault_of(line: &[u8], is_first: bool) -> Option<Refusal> {
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    let is_value = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F);
    match (line, parts.next()) {
        ([], _) => None,
        ([b' ' | b'\t', ..], _) if is_first => Some(Refusal::SpaceBeforeFields),
        ([b' ' | b'\t', ..], _) => Some(Refusal::Folded),
        (_, None) => Some(Refusal::MissingColon),
        _ if name.ends_with(b" ") || name.ends_with(b"\t") => Some(Refusal::SpaceBeforeColon),
        _ if http::HeaderName::from_bytes(name).is_err() => Some(Refusal::BadFieldName),
        (_, Some(value)) if !value.iter().all(is_value) => Some(Refusal::BadFieldValue),
        _ => None,
    }
}
