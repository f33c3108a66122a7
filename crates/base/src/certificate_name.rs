//! What certificates say of whom they are for, as text that cannot be mistaken: distinguished names (RFC 4514) and
//! alternative names.
//!
//! What one certificate says in one attribute never reads like what another says in two: whatever separates attributes
//! is escaped within them. The order is that of the certificate, as people know it from `openssl x509 -subject`; RFC
//! 4514 would turn it round.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// Types of attributes by their object identifiers, and what they are called: the first is written, all are read
/// (RFC 4514, 3; RFC 4519, 2; the others as openssl calls them).
const TYPES: &[(&str, &[&str])] = &[
    ("2.5.4.3", &["CN", "commonName"]),
    ("2.5.4.4", &["SN", "surname"]),
    ("2.5.4.5", &["serialNumber"]),
    ("2.5.4.6", &["C", "countryName"]),
    ("2.5.4.7", &["L", "localityName"]),
    ("2.5.4.8", &["ST", "S", "stateOrProvinceName"]),
    ("2.5.4.9", &["STREET", "streetAddress"]),
    ("2.5.4.10", &["O", "organizationName"]),
    ("2.5.4.11", &["OU", "organizationalUnitName"]),
    ("2.5.4.12", &["title"]),
    ("2.5.4.42", &["GN", "givenName"]),
    ("2.5.4.46", &["dnQualifier"]),
    ("2.5.4.65", &["pseudonym"]),
    ("2.5.4.97", &["organizationIdentifier"]),
    ("0.9.2342.19200300.100.1.1", &["UID", "userId"]),
    ("0.9.2342.19200300.100.1.25", &["DC", "domainComponent"]),
    ("1.2.840.113549.1.9.1", &["emailAddress", "E", "Email"]),
];

/// A distinguished name. Its text is the same for the same name, and another one for every other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<Attribute>>);

/// One statement of a distinguished name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The object identifier of what it is, with dots.
    pub oid: String,
    /// What is said.
    pub value: AttributeValue,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// Text.
    Text(String),
    /// Anything else, in its DER form.
    Der(Vec<u8>),
}

impl DistinguishedName {
    /// A name of these parts; those of one part are said together.
    #[must_use]
    pub const fn new(parts: Vec<Vec<Attribute>>) -> Self {
        Self(parts)
    }

    /// Reads a name as it is written, with or without spaces around `,`, `+` and `=`, and with quoted values.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text.trim_start() };
        let mut parts = vec![vec![reader.attribute()?]];
        while let Some(separator) = reader.next() {
            let attribute = reader.attribute()?;
            match (separator, parts.last_mut()) {
                ('+', Some(part)) => part.push(attribute),
                _ => parts.push(vec![attribute]),
            }
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            for (index, attribute) in part.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { "+" })?;
                attribute.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = TYPES.iter().find(|(oid, _)| *oid == self.oid);
        f.write_str(known.and_then(|(_, names)| names.first()).unwrap_or(&self.oid.as_str()))?;
        f.write_char('=')?;
        match &self.value {
            AttributeValue::Text(text) => escaped(text, f),
            AttributeValue::Der(der) => {
                f.write_char('#')?;
                der.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// RFC 4514, 2.4; control characters as well, since the text goes into logs.
fn escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (index, c) in text.chars().enumerate() {
        let is_special = match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            ' ' => index == 0 || index == last,
            '#' => index == 0,
            _ => false,
        };
        if c.is_control() {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().try_for_each(|byte| write!(f, "\\{byte:02x}"))?;
            continue;
        }
        if is_special {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    Ok(())
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        Some(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn attribute(&mut self) -> Result<Attribute, String> {
        let wrong = || "a name has parts such as `CN=shop`, with commas between them".to_owned();
        let (name, rest) = self.rest.split_once('=').ok_or_else(wrong)?;
        let name = name.trim();
        let is_it = |(_, names): &&(&str, &[&str])| {
            names.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        let known = TYPES.iter().find(is_it).map(|(oid, _)| *oid);
        let is_oid = name.contains('.') && name.split('.').all(is_number);
        let Some(oid) = known.or_else(|| is_oid.then_some(name)) else {
            return Err(format!(
                "`{}` is no part of a name such as `CN`, `O`, `OU`, `C`, nor an object identifier",
                name.escape_debug()
            ));
        };
        let oid = oid.to_owned();
        self.rest = rest.trim_start();
        let value = match self.peek() {
            Some('#') => self.der()?,
            Some('"') => self.quoted()?,
            _ => self.plain()?,
        };
        self.rest = self.rest.trim_start();
        match self.peek() {
            None | Some(',' | '+') => Ok(Attribute { oid, value }),
            Some(other) => Err(format!("`{other}` stands behind a value of a name")),
        }
    }

    fn der(&mut self) -> Result<AttributeValue, String> {
        self.next();
        let mut der = Vec::new();
        while let Some(high) = self.peek().and_then(|c| c.to_digit(16)) {
            self.next();
            let low = self.next().and_then(|c| c.to_digit(16)).ok_or("a digit is missing")?;
            der.extend(u8::try_from(high * 16 + low));
        }
        Ok(AttributeValue::Der(der))
    }

    fn quoted(&mut self) -> Result<AttributeValue, String> {
        self.next();
        let mut bytes = Vec::new();
        loop {
            match self.next().ok_or("a quote is not closed")? {
                '"' => return text(bytes),
                '\\' => self.escape(&mut bytes)?,
                c => push(&mut bytes, c),
            }
        }
    }

    fn plain(&mut self) -> Result<AttributeValue, String> {
        let (mut bytes, mut end) = (Vec::new(), 0);
        while let Some(c) = self.peek().filter(|c| !matches!(c, ',' | '+')) {
            self.next();
            match c {
                '\\' => self.escape(&mut bytes)?,
                '"' | ';' | '<' | '>' => {
                    return Err(format!("write `\\{c}` for a `{c}` in a name"));
                }
                c => push(&mut bytes, c),
            }
            if c != ' ' {
                end = bytes.len();
            }
        }
        bytes.truncate(end);
        text(bytes)
    }

    /// What follows a backslash: a byte in two hexadecimal digits, or what would mean something else without it.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let wrong = "behind a backslash stands one of ` \"#+,;<=>\\`, or two hexadecimal digits";
        let first = self.next().ok_or(wrong)?;
        if " \"#+,;<=>\\".contains(first) {
            push(bytes, first);
            return Ok(());
        }
        let second = self.next().and_then(|c| c.to_digit(16));
        let byte = first.to_digit(16).zip(second).map(|(high, low)| high * 16 + low);
        bytes.push(byte.and_then(|byte| u8::try_from(byte).ok()).ok_or(wrong)?);
        Ok(())
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn text(bytes: Vec<u8>) -> Result<AttributeValue, String> {
    let text = String::from_utf8(bytes).map_err(|_| "a value of a name is not in UTF-8")?;
    Ok(AttributeValue::Text(text))
}

/// An alternative name (RFC 5280, 4.2.1.6) in the one form in which it is compared: hosts in lower case, addresses as
/// they are usually written. Nothing if it is none of its kind, which is `dns`, `email`, `uri` or `ip`.
#[must_use]
pub fn alternative_name(kind: &str, text: &str) -> Option<String> {
    match kind {
        _ if text.is_empty() => None,
        "dns" => Some(text.to_ascii_lowercase()),
        "ip" => Some(text.parse::<IpAddr>().ok()?.to_string()),
        "email" => {
            let (local, host) = text.rsplit_once('@')?;
            Some(format!("{local}@{}", host.to_ascii_lowercase()))
        }
        "uri" => {
            let (scheme, rest) = text.split_once(':')?;
            let scheme = scheme.to_ascii_lowercase();
            let Some(rest) = rest.strip_prefix("//") else {
                return Some(format!("{scheme}:{rest}"));
            };
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (host, path) = rest.split_at_checked(end)?;
            Some(format!("{scheme}://{}{path}", host.to_ascii_lowercase()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Attribute, AttributeValue, DistinguishedName, alternative_name};

    fn check(written: &str, expected: &str) {
        let name = DistinguishedName::parse(written).unwrap();
        assert_eq!(name.to_string(), expected, "{written}");
        assert_eq!(DistinguishedName::parse(expected).unwrap(), name, "{written}");
    }

    #[test]
    fn a_name_has_one_text_however_it_is_written() {
        check("CN=scanner,O=Example", "CN=scanner, O=Example");
        check("CN = scanner, O = Example", "CN=scanner, O=Example");
        check("commonName=scanner ,  o=Example ", "CN=scanner, O=Example");
        check("2.5.4.3=scanner", "CN=scanner");
        check("O = \"Example, Inc.\", CN=a", "O=Example\\, Inc., CN=a");
        check("O=Example\\2c Inc.", "O=Example\\, Inc.");
        check("OU=a + CN=b", "OU=a+CN=b");
        check("CN=Z\\c3\\ab", "CN=Z\u{eb}");
        check("1.2.3=#0C0141", "1.2.3=#0c0141");
        check(
            "emailAddress=a@b, DC=c, UID=d, E=e",
            "emailAddress=a@b, DC=c, UID=d, emailAddress=e",
        );
        check("CN=a=b", "CN=a=b");
        check("CN=", "CN=");
        check("CN=\\ a\\ ", "CN=\\ a\\ ");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in [
            "",
            "scanner",
            "CN",
            "/CN=a/O=b",
            "XY=a",
            "CN=a,",
            "CN=a;O=b",
            "CN=a\\",
            "CN=a\\zz",
            "CN=\"a",
            "CN=\"a\"b",
            "CN=\\ff",
            "CN=#0",
            "CN=#0cx",
            "subject=CN = a",
            "..=a",
        ] {
            DistinguishedName::parse(wrong).unwrap_err();
        }
    }

    /// The name of a certificate with one attribute says nothing that two attributes say.
    #[test]
    fn one_attribute_never_reads_like_two() {
        let text = |text: &str| {
            let value = AttributeValue::Text(text.to_owned());
            Attribute { oid: "2.5.4.3".to_owned(), value }
        };
        for (value, expected) in [
            ("scanner, O=Example", "CN=scanner\\, O=Example"),
            ("a+O=b", "CN=a\\+O=b"),
            ("#0c", "CN=\\#0c"),
            (" ", "CN=\\ "),
            ("a\\, b", "CN=a\\\\\\, b"),
            ("evil\nx: 1\0", "CN=evil\\0ax: 1\\00"),
        ] {
            let name = DistinguishedName::new(vec![vec![text(value)]]);
            assert_eq!(name.to_string(), expected);
            assert_eq!(DistinguishedName::parse(expected).unwrap(), name);
        }
        let der = AttributeValue::Der(b"A".to_vec());
        let der = Attribute { oid: "2.5.4.3".to_owned(), value: der };
        let der = DistinguishedName::new(vec![vec![der]]).to_string();
        assert_ne!(der, DistinguishedName::new(vec![vec![text("#41")]]).to_string());
    }

    #[test]
    fn alternative_names_are_compared_in_one_form() {
        for (kind, written, expected) in [
            ("dns", "Shop.Example.com", Some("shop.example.com")),
            ("ip", "2001:DB8:0::1", Some("2001:db8::1")),
            ("ip", "192.0.2.7", Some("192.0.2.7")),
            ("ip", "192.0.2", None),
            ("email", "Shop@Example.COM", Some("Shop@example.com")),
            ("email", "shop", None),
            ("uri", "SPIFFE://Example/Shop", Some("spiffe://example/Shop")),
            ("uri", "URN:a:B", Some("urn:a:B")),
            ("uri", "shop", None),
            ("dns", "", None),
            ("x", "y", None),
        ] {
            assert_eq!(alternative_name(kind, written).as_deref(), expected, "{kind}:{written}");
        }
    }
}
