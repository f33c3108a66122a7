//! Consumers.

use super::names;
use crate::Config;
use crate::consumer::{ApiKey, Credentials, Validity, password};
use base::caps::CREDENTIAL_ID_BYTES_MAX;
use base::{Place, Placed, Report, Text};
use std::collections::HashMap;

/// What a credential is found by.
#[derive(PartialEq, Eq, Hash)]
enum Found {
    Key([u8; 32]),
    Text(&'static str, Vec<String>),
}

/// Whose it is, and where.
struct Owner<'a> {
    name: String,
    place: &'a Place,
}

/// What a consumer shows must tell who calls, so no two have the same. No hash is repeated in a message.
pub(super) fn check(config: &Config, report: &mut Report) {
    let mut seen = HashMap::new();
    for (name, consumer) in config.consumers.iter() {
        names("an application", &consumer.applications, report);
        for credentials in consumer.credentials() {
            let name = match credentials.application {
                None => name.value.clone(),
                Some(application) => format!("{}/{}", name.value, application.value),
            };
            all(&name, credentials, &mut seen, report);
        }
    }
}

fn all<'a>(
    name: &str,
    of: Credentials<'a>,
    seen: &mut HashMap<Found, Owner<'a>>,
    report: &mut Report,
) {
    for key in of.keys {
        let ApiKey { hash, validity } = &key.value;
        times(validity, report);
        unique(Found::Key(*hash), name, &key.place, seen, report);
    }
    for login in of.basic {
        times(&login.validity(), report);
        if identifier("user name", &login.username, &login.place, report)
            && login.username.contains(':')
        {
            // RFC 7617, 2.
            let message = format!("the user name `{}` has a colon, which ends it", login.username);
            report.error("invalid_value", &login.place, message).help("choose one without");
        }
        if !login.password.has_reference() {
            password_hash(&login.password, report);
        }
        unique(
            Found::Text("user name", vec![login.username.clone()]),
            name,
            &login.place,
            seen,
            report,
        );
    }
    for key in of.hmac {
        times(&key.validity(), report);
        identifier("id", &key.id, &key.place, report);
        if !key.secret.has_reference() {
            report
                .error("plain_secret", &key.secret.place, "a secret is written in the config")
                .help(
                    "name it: `${env:SHOP_SECRET}`, or `${file:shop.secret}`; and take a new one",
                );
        }
        unique(Found::Text("id", vec![key.id.clone()]), name, &key.place, seen, report);
    }
    for certificate in of.certificates {
        times(&certificate.validity(), report);
        let by = certificate.found_by();
        match by.and_then(|by| Ok((by, certificate.issued_by()?))) {
            Ok((by, issuer)) => {
                let found = vec![format!("{by:?}"), issuer.unwrap_or_default()];
                unique(Found::Text("certificate", found), name, &certificate.place, seen, report);
            }
            Err(why) => {
                report.error("invalid_value", &certificate.place, why).help(
                    "`openssl x509 -noout -fingerprint -sha256 -subject -nameopt sep_comma_plus_space -ext subjectAltName -in FILE` shows them",
                );
            }
        }
    }
    for token in of.tokens {
        times(&token.validity(), report);
        identifier("issuer", &token.issuer, &token.place, report);
        identifier("subject", &token.subject, &token.place, report);
        let found = vec![token.issuer.clone(), token.subject.clone()];
        unique(Found::Text("subject of tokens", found), name, &token.place, seen, report);
    }
}

/// What is looked up has a length.
fn identifier(what: &str, text: &str, place: &Place, report: &mut Report) -> bool {
    let is_fine = !text.is_empty()
        && text.len() <= CREDENTIAL_ID_BYTES_MAX
        && !text.chars().any(char::is_control);
    if !is_fine {
        let message = format!("this cannot be the {what} of a credential");
        report.error("invalid_value", place, message).help(format!(
            "one has 1 to {CREDENTIAL_ID_BYTES_MAX} bytes and no control characters"
        ));
    }
    is_fine
}

fn password_hash(hash: &Placed<Text>, report: &mut Report) {
    if let Err(why) = password::check(&hash.value.to_string()) {
        report
            .error("bad_password_hash", &hash.place, why)
            .help("`yett password hash` reads a password and prints what belongs here");
    }
}

/// A time that ends before it begins is a slip of the pen.
fn times(validity: &Validity, report: &mut Report) {
    if let (Some(from), Some(expires)) = (&validity.from, &validity.expires)
        && from.value >= expires.value
    {
        let message = format!("it expires at {} and begins only at {}", expires.value, from.value);
        report
            .error("invalid_value", &expires.place, message)
            .help("raise `expires`, or lower `from`");
    }
}

fn unique<'a>(
    found: Found,
    name: &str,
    place: &'a Place,
    seen: &mut HashMap<Found, Owner<'a>>,
    report: &mut Report,
) {
    let (code, what, remedy) = match &found {
        Found::Key(_) => ("duplicate_key_hash", "key", "`yett key create` makes a new one"),
        Found::Text(what, _) => ("duplicate_credential", *what, "each must tell who calls"),
    };
    let owner = Owner { name: name.to_owned(), place };
    if let Some(first) = seen.insert(found, owner) {
        let message = if first.name == name {
            format!("consumer `{name}` has the same {what} twice")
        } else {
            format!("consumers `{}` and `{name}` have the same {what}", first.name)
        };
        report
            .error(code, place, message)
            .help(format!("the other is at {}; {remedy}", first.place));
    }
}
