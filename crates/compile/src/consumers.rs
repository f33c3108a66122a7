//! Who calls: consumers become records of the Directory, which lives outside snapshots.

use crate::inputs::{Inputs, SecretsAt};
use base::caps::{HMAC_SECRET_BYTES_MIN, PASSWORD_COSTS_MAX};
use base::{Place, Placed, Report, Secret, Text};
use model::Config;
use model::consumer::{Credentials, FoundBy, Validity, password};
use model::join::split;
use std::sync::Arc;
use traffic::directory::{Consumer, Credential, CredentialHash, CredentialKind};

/// Gathers the credentials of all consumers.
struct Gather<'a> {
    inputs: Inputs<'a>,
    report: &'a mut Report,
    found: Vec<(CredentialHash, Arc<Credential>)>,
    /// What passwords cost to check, and where the first of each cost is.
    costs: Vec<((u32, u32, u32), Place)>,
}

/// The credentials of all consumers. One that could not be had is not there: nobody gets in by it.
pub(crate) fn compile(
    config: &Config,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Vec<(CredentialHash, Arc<Credential>)> {
    let mut gather = Gather { inputs, report, found: Vec::new(), costs: Vec::new() };
    for (name, written) in config.consumers.iter() {
        let consumer = Arc::new(Consumer {
            name: Arc::from(name.value.as_str()),
            groups: written.groups.iter().map(|group| Arc::from(group.as_str())).collect(),
            roles: names(&written.roles),
            plan: written.plan.as_ref().map(|plan| Arc::from(plan.as_str())),
            is_known: true,
            workspace: split(&name.value).0.map(Arc::from),
        });
        let named = Credential::new(CredentialKind::Name, Arc::clone(&consumer));
        gather.found.push((CredentialKind::Name.hash(&[consumer.own_name()]), Arc::new(named)));
        for credentials in written.credentials() {
            gather.all(&consumer, credentials);
        }
    }
    check_costs(&gather.costs, gather.report);
    check_ends(config, inputs, gather.report);
    gather.found
}

/// Whose password it is must not show in the time that checking it takes: every attempt costs a hash of each cost.
fn check_costs(costs: &[((u32, u32, u32), Place)], report: &mut Report) {
    let Some(((first, _), (second, place))) = costs.first().zip(costs.get(1)) else { return };
    let told = |(m, t, p): &(u32, u32, u32)| format!("`m={m},t={t},p={p}`");
    let help = "hash the others by the same program and parameters when they are changed: `yett password hash`";
    if let Some((_, place)) = costs.get(PASSWORD_COSTS_MAX) {
        let message = format!(
            "hashes of passwords have more than {PASSWORD_COSTS_MAX} different parameters, and each attempt costs one hash of each"
        );
        report.error("too_many_password_costs", place, message).help(help);
        return;
    }
    let message = format!(
        "passwords are hashed with different parameters ({} and {}{}): each attempt costs one hash of each, so that its time does not tell whose password it is",
        told(first),
        told(second),
        if costs.len() > 2 { " …" } else { "" }
    );
    report.warning("mixed_password_costs", place, message).help(help);
}

/// Tells of credentials by which nobody gets in any more: once, for there may be many. It is a note, for a config that was
/// fine must not turn bad by the mere passing of time.
fn check_ends(config: &Config, inputs: Inputs<'_>, report: &mut Report) {
    let now = inputs.clock.wall();
    let all = config.consumers.iter().flat_map(|(name, consumer)| {
        consumer
            .credentials()
            .flat_map(Credentials::validities)
            .map(move |validity| (name, validity))
    });
    let mut ended = all.filter_map(|(name, validity)| {
        validity.expires.filter(|until| until.value.0 <= now).map(|until| (name, until.place))
    });
    let Some((name, place)) = ended.next() else { return };
    let others = match ended.count() {
        0 => String::new(),
        others => format!(", and {others} more have"),
    };
    let message =
        format!("a credential of `{}` has ended{others}: nobody gets in by it", name.value);
    report
        .note("ended_credential", &place, message)
        .help("give it another end (`expires`), or remove it");
}

fn names(written: &[Placed<String>]) -> Box<[Arc<str>]> {
    written.iter().map(|name| Arc::from(name.as_str())).collect()
}

impl Gather<'_> {
    fn all(&mut self, consumer: &Arc<Consumer>, of: Credentials<'_>) {
        let application: Option<Arc<str>> = of.application.map(|name| Arc::from(name.as_str()));
        let roles = of.roles.map(names);
        let credential = |kind, validity: &Validity, secret| Credential {
            name: validity.name.as_deref().map(Arc::from),
            application: application.clone(),
            roles: roles.clone(),
            plan: of.plan.map(|plan| Arc::from(plan.as_str())),
            secret,
            from: validity.from.as_ref().map(|moment| moment.value.0),
            until: validity.expires.as_ref().map(|moment| moment.value.0),
            ..Credential::new(kind, Arc::clone(consumer))
        };
        let mut add = |hash, it| self.found.push((hash, Arc::new(it)));
        for key in of.keys {
            add(key.hash, credential(CredentialKind::ApiKey, &key.validity, None));
        }
        for certificate in of.certificates {
            // What is wrong with one was told by the model.
            let Ok(by) = certificate.found_by() else { continue };
            let (by, name) = match &by {
                FoundBy::Fingerprint(digits) => ("fingerprint", digits),
                FoundBy::Subject(subject) => ("subject", subject),
                FoundBy::San(kind, name) => (*kind, name),
            };
            let Ok(issuer) = certificate.issued_by() else { continue };
            let issuer = issuer.unwrap_or_default();
            let hash = CredentialKind::Certificate.hash(&[by, name, &issuer]);
            add(hash, credential(CredentialKind::Certificate, &certificate.validity(), None));
        }
        for token in of.tokens {
            let hash = CredentialKind::Token.hash(&[&token.issuer, &token.subject]);
            add(hash, credential(CredentialKind::Token, &token.validity(), None));
        }
        for login in of.basic {
            let Some(secret) = self.password(&login.password) else { continue };
            let kind = CredentialKind::Password;
            let it = credential(kind, &login.validity(), Some(secret));
            self.found.push((kind.hash(&[&login.username]), Arc::new(it)));
        }
        for key in of.hmac {
            let Some(secret) = self.shared(&key.secret) else { continue };
            let kind = CredentialKind::SharedSecret;
            let it = credential(kind, &key.validity(), Some(secret));
            self.found.push((kind.hash(&[&key.id]), Arc::new(it)));
        }
    }

    fn password(&mut self, written: &Placed<Text>) -> Option<Secret> {
        let secret = self.resolve(written)?;
        if let Err(why) = password::check(secret.reveal()) {
            // What is wrong with a plain text was told by the model.
            if written.value.has_reference() {
                self.report
                    .error("bad_password_hash", &written.place, why)
                    .help("`yett password hash` reads a password and prints what belongs there");
            }
            return None;
        }
        let cost = password::cost(secret.reveal())?;
        if !self.costs.iter().any(|(known, _)| *known == cost) {
            self.costs.push((cost, written.place.clone()));
        }
        Some(secret)
    }

    fn shared(&mut self, written: &Placed<Text>) -> Option<Secret> {
        let secret = self.resolve(written)?;
        if secret.reveal().len() < HMAC_SECRET_BYTES_MIN {
            let message = format!("what `{}` stands for is too short for a secret", written.value);
            self.report.error("weak_secret", &written.place, message).help(format!(
                "it needs {HMAC_SECRET_BYTES_MIN} bytes or more: `openssl rand -base64 32`"
            ));
            return None;
        }
        Some(secret)
    }

    fn resolve(&mut self, written: &Placed<Text>) -> Option<Secret> {
        let secrets = SecretsAt { outside: self.inputs.outside, place: &written.place };
        let resolved = written.value.resolve(&secrets);
        resolved
            .inspect_err(|why| {
                self.report.error("missing_secret", &written.place, why.clone()).help(
                    "the gateway reads it when the config is loaded; make sure that it is there by then",
                );
            })
            .ok()
    }
}
