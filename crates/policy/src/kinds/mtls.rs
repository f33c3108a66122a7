//! Identifies consumers by the certificate they showed to the listener (mutual TLS).
//!
//! The handshake verified the certificate by the listener's authorities, and every request is checked against what its
//! host demands; here it is only found out whose it is.

use crate::identity::{Identify, Identity, Scheme};
use crate::kind::{BuildCtx, Group, Kind};
use base::caps::CONSUMER_NAME_BYTES_MAX;
use base::{Clock, Node, Report, decode};
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::directory::{Consumer, Credential, CredentialKind, Directory};
use traffic::head::RequestHead;
use traffic::policy::Phases;
use traffic::tls::ClientCertificate;
use traffic::{Exchange, Fault, FaultCode, Policy, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "mtls",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Identifies the consumer by the certificate that its client showed to the listener, which must ask for one \
            (`client` of its `tls`). Requests over connections without a certificate, or with one that belongs to no \
            consumer, are refused with 401.",
    example: "mtls: { consumer: known }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `mtls`; it needs none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whose a certificate must be.
    pub consumer: Whose,
}

/// Whose a certificate must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Whose {
    /// A consumer's that has it under `certificates`, by its fingerprint, its subject or one of its alternative names.
    #[default]
    Known,
    /// Also anybody's: who has none is the consumer `AUTHORITY/SUBJECT`, where others signed on the way from the
    /// listener's authority `AUTHORITY/ISSUER/SUBJECT`.
    Any,
    /// Anybody's, and nobody is looked for: beside another policy that says who calls, as in `all`.
    Nobody,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    read(node, ctx, report).map(|scheme| Identify::policy(scheme, ctx))
}

/// The same as one of the ways of `any` and `all`.
pub(crate) fn scheme(
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Box<dyn Scheme>> {
    read(node, ctx, report).map(|scheme| Box::new(scheme) as _)
}

fn read(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Mtls> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let (directory, clock) = (Arc::clone(ctx.directory), ctx.clock.clone());
    Some(Mtls { whose: settings.consumer, directory, clock })
}

struct Mtls {
    whose: Whose,
    directory: Arc<Directory>,
    clock: Clock,
}

impl Mtls {
    /// Whose a certificate is: the fingerprint says more than the subject, and that more than an alternative name.
    fn find(&self, certificate: &ClientCertificate) -> Result<Option<Arc<Credential>>, Fault> {
        let by_one =
            [("fingerprint", &*certificate.fingerprint), ("subject", &certificate.subject)];
        for (by, text) in by_one {
            if let Some(found) = self.look_up(certificate, by, text) {
                return Ok(Some(found));
            }
        }
        let mut found: Option<Arc<Credential>> = None;
        for name in &certificate.names {
            let Some(next) = self.look_up(certificate, name.kind, &name.text) else { continue };
            if found.as_ref().is_some_and(|found| found.consumer.name != next.consumer.name) {
                let fault = Fault::new(Stage::Guard, FaultCode::CredentialsConflict);
                return Err(
                    fault.cause("the certificate has alternative names of several consumers")
                );
            }
            found.get_or_insert(next);
        }
        Ok(found)
    }

    /// A record that names the issuer counts before one that does not.
    fn look_up(&self, shown: &ClientCertificate, by: &str, text: &str) -> Option<Arc<Credential>> {
        let kind = CredentialKind::Certificate;
        let wall = self.clock.wall();
        let find = |issuer: &str| {
            let found = self.directory.find(kind, &kind.hash(&[by, text, issuer]));
            found.filter(|found| found.is_valid_at(wall))
        };
        if text.is_empty() {
            return None;
        }
        let by_authority = (!shown.authority.is_empty()).then(|| find(&shown.authority)).flatten();
        let by_digest = || shown.authorities.iter().find_map(|digest| find(digest));
        by_authority.or_else(by_digest).or_else(|| find(""))
    }

    fn identify(&self, shown: Option<&ClientCertificate>) -> Result<Identity, Fault> {
        let Some(certificate) = shown else {
            return Err(refused(FaultCode::CredentialsMissing));
        };
        if self.whose == Whose::Nobody {
            return Ok(Identity::default());
        }
        if let Some(found) = self.find(certificate)? {
            return Ok(Identity::of(found));
        }
        if self.whose == Whose::Known {
            let cause =
                format!("the certificate of `{}` belongs to no consumer", certificate.subject);
            let fault = refused(FaultCode::CredentialsInvalid);
            return Err(fault.detail("the certificate belongs to no consumer").cause(cause));
        }
        let Some(name) = name_of(certificate) else {
            let fault = refused(FaultCode::CredentialsInvalid);
            let cause = "the certificate does not say whom it is for, or at too great a length";
            return Err(fault.detail("the certificate belongs to no consumer").cause(cause));
        };
        let consumer = Consumer { name: name.into(), is_known: false, ..Consumer::default() };
        Ok(Identity { consumer: Some(Arc::new(consumer)), ..Identity::default() })
    }
}

impl Scheme for Mtls {
    fn kinds(&self) -> Option<&'static [CredentialKind]> {
        (self.whose != Whose::Nobody).then_some(&[CredentialKind::Certificate])
    }

    fn accepts_strangers(&self) -> bool {
        self.whose == Whose::Any
    }

    /// What is shown is not in the request.
    fn is_shown(&self, _: &RequestHead) -> bool {
        false
    }

    fn now(&self, exchange: &Exchange) -> Option<Result<Identity, Fault>> {
        Some(self.identify(exchange.client_certificate()))
    }

    fn hide(&self, _: &mut RequestHead) {}
}

/// The name of a consumer that the directory does not know: the authority that vouches for it, the one that signed its
/// certificate where that is another one, and whom it is for. A slash in any of them is not one between them.
fn name_of(certificate: &ClientCertificate) -> Option<String> {
    let ClientCertificate { subject, issuer, authority, .. } = certificate;
    if subject.is_empty() || authority.is_empty() {
        return None;
    }
    let between = Some(issuer).filter(|issuer| *issuer != authority);
    let parts = [Some(authority), between, Some(subject)].into_iter().flatten();
    let parts: Vec<String> = parts.map(|part| part.replace('/', "\\2f")).collect();
    Some(parts.join("/")).filter(|name| name.len() <= CONSUMER_NAME_BYTES_MAX)
}

/// No registered scheme stands for certificates, but RFC 9110, 11.6.1 wants a challenge.
fn refused(code: FaultCode) -> Fault {
    let challenge = HeaderValue::from_static("Certificate realm=\"yett\"");
    Fault::new(Stage::Guard, code).header(WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use super::{KIND, Mtls, Whose};
    use crate::fixture::{self, World};
    use serde_json::{Value, json};
    use std::sync::Arc;
    use std::time::Duration;
    use traffic::directory::{Consumer, Credential, CredentialKind};
    use traffic::tls::{AlternativeName, ClientCertificate};

    /// A certificate of `CN=shop`, and who it is found to be if the directory has these records.
    fn check(whose: Whose, records: &[(&str, &[&str])], expected: &str) {
        let world = World::default();
        for (name, parts) in records {
            let consumer = Consumer { name: (*name).into(), is_known: true, ..Consumer::default() };
            let kind = CredentialKind::Certificate;
            let credential = Arc::new(Credential::new(kind, Arc::new(consumer)));
            world.directory.put(kind.hash(parts), &credential);
        }
        let name = |kind, text: &str| AlternativeName { kind, text: text.into() };
        let certificate = ClientCertificate {
            subject: "CN=shop".into(),
            issuer: "CN=ours".into(),
            authority: "CN=ours".into(),
            authorities: ["sha256:ca".into()].into(),
            names: [name("dns", "shop.test"), name("uri", "spiffe://test/shop")].into(),
            fingerprint: "ab".into(),
            ..ClientCertificate::default()
        };
        let (directory, clock) = (Arc::clone(&world.directory), world.clock().clone());
        let found = match (Mtls { whose, directory, clock }).identify(Some(&certificate)) {
            Ok(identity) => identity.consumer.map_or_else(String::new, |it| it.name.to_string()),
            Err(fault) => fault.code.name().to_owned(),
        };
        assert_eq!(found, expected, "{records:?}");
    }

    #[test]
    fn a_certificate_is_found_by_what_it_says() {
        let known = Whose::Known;
        check(known, &[("alice", &["fingerprint", "ab", ""])], "alice");
        check(known, &[("alice", &["subject", "CN=shop", ""])], "alice");
        check(known, &[("alice", &["subject", "CN=shop", "CN=ours"])], "alice");
        check(known, &[("alice", &["dns", "shop.test", ""])], "alice");
        check(known, &[("alice", &["uri", "spiffe://test/shop", "CN=ours"])], "alice");
        check(known, &[("alice", &["subject", "CN=shop", "sha256:ca"])], "alice");
        check(known, &[("alice", &["subject", "CN=shop", "CN=theirs"])], "credentials_invalid");
        check(known, &[("alice", &["email", "shop.test", ""])], "credentials_invalid");
        check(known, &[], "credentials_invalid");
    }

    #[test]
    fn what_says_more_counts_before_what_says_less() {
        let fingerprint: (&str, &[&str]) = ("alice", &["fingerprint", "ab", ""]);
        let subject: (&str, &[&str]) = ("bob", &["subject", "CN=shop", ""]);
        let host: (&str, &[&str]) = ("carol", &["dns", "shop.test", ""]);
        let uri: (&str, &[&str]) = ("dave", &["uri", "spiffe://test/shop", ""]);
        check(Whose::Known, &[uri, host, subject, fingerprint], "alice");
        check(Whose::Known, &[uri, host, subject], "bob");
        check(Whose::Known, &[uri, host], "credentials_conflict");
    }

    #[test]
    fn others_have_names_that_nobody_else_has_or_none() {
        check(Whose::Any, &[], "CN=ours/CN=shop");
        check(Whose::Any, &[("alice", &["fingerprint", "ab", ""])], "alice");
        check(Whose::Nobody, &[("alice", &["fingerprint", "ab", ""])], "");
    }

    #[test]
    fn an_issuer_is_the_authority_that_vouches_and_not_one_that_says_so() {
        let name = |issuer: &str, authority: &str, subject: &str| {
            super::name_of(&ClientCertificate {
                subject: subject.into(),
                issuer: issuer.into(),
                authority: authority.into(),
                ..ClientCertificate::default()
            })
        };
        assert_eq!(name("CN=a", "CN=a", "CN=x").unwrap(), "CN=a/CN=x");
        assert_eq!(name("CN=a", "CN=b", "CN=x").unwrap(), "CN=b/CN=a/CN=x");
        assert_eq!(name("CN=b", "CN=b", "CN=a/CN=x").unwrap(), "CN=b/CN=a\\2fCN=x");
        assert_eq!(name("CN=a", "CN=a", ""), None);
        assert_eq!(name("CN=a", "", "CN=x"), None);
        assert_eq!(name("CN=a", "CN=a", &"x".repeat(300)), None);
    }

    #[test]
    fn who_shows_none_is_refused() {
        for settings in [Value::Null, json!({ "consumer": "any" }), json!({ "consumer": "nobody" })]
        {
            let policy = World::default().build(&KIND, &settings).unwrap();
            let mut exchange = fixture::exchange("GET /");
            assert_eq!(policy.request(&mut exchange), "credentials_missing", "{settings}");
            assert!(exchange.consumer.is_none());
        }
    }

    #[test]
    fn an_expired_record_is_none() {
        let world = World::default();
        let kind = CredentialKind::Certificate;
        let consumer = Consumer { name: "alice".into(), is_known: true, ..Consumer::default() };
        let until = Some(world.clock().wall() + Duration::from_secs(1));
        let credential = Credential { until, ..Credential::new(kind, Arc::new(consumer)) };
        world.directory.put(kind.hash(&["fingerprint", "ab", ""]), &Arc::new(credential));
        let (directory, clock) = (Arc::clone(&world.directory), world.clock().clone());
        let mtls = Mtls { whose: Whose::Known, directory, clock };
        let shown = ClientCertificate { fingerprint: "ab".into(), ..ClientCertificate::default() };
        assert_eq!(mtls.identify(Some(&shown)).unwrap().until, until);
        world.clock().advance(Duration::from_secs(1));
        mtls.identify(Some(&shown)).unwrap_err();
    }

    #[test]
    fn wrong_settings_are_refused() {
        fixture::refuses(&KIND, &json!({ "consumer": "everybody" }), "everybody");
    }
}
