//! Who a token is about, by its claims and the directory.

use super::claims::{Why, listed};
use crate::groups::Groups;
use crate::identity::Identity;
use crate::sender::Binding;
use crate::verified::Weighed;
use base::caps::CONSUMER_NAME_BYTES_MAX;
use serde_json::Value;
use std::sync::Arc;
use std::time::SystemTime;
use traffic::directory::{Consumer, CredentialHash, CredentialKind, Directory, qualified};
use traffic::exchange::{Claims, KeptClaims};
use traffic::policy::Voucher;

/// How tokens become consumers.
#[derive(Debug)]
pub(in crate::kinds) struct Subjects {
    pub(in crate::kinds) issuer: String,
    /// The claim that says who it is.
    pub(in crate::kinds) claim: String,
    /// What stands before the slash in the names of those whom the directory does not know.
    pub(in crate::kinds) prefix: String,
    /// The workspace to which callers belong, if it is one's.
    pub(in crate::kinds) workspace: Option<Arc<str>>,
    /// Whether the config says that.
    pub(in crate::kinds) is_told: bool,
    /// Whether the claim is the name of a consumer of the directory.
    pub(in crate::kinds) is_name: bool,
    pub(in crate::kinds) accepts_unknown: bool,
    /// The claim that holds the groups of those whom the directory does not know.
    pub(in crate::kinds) groups: Option<Groups>,
}

/// Somebody whom a verified token is about.
#[derive(Debug)]
pub(in crate::kinds) struct Subject {
    claims: Arc<KeptClaims>,
    token: CredentialHash,
    name: Option<CredentialHash>,
    stranger: Option<Arc<Consumer>>,
    pub(in crate::kinds) lacks_scope: bool,
    /// What the token is bound to, if it is.
    pub(in crate::kinds) binding: Option<Box<Binding>>,
    /// When the token ends, if that is known.
    until: Option<SystemTime>,
    /// Until when that is remembered.
    kept_until: SystemTime,
    generation: u64,
    bytes: u64,
}

impl Weighed for Subject {
    fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Subject {
    /// Whether what was found still holds.
    pub(in crate::kinds) fn is_valid(&self, generation: u64, now: SystemTime) -> bool {
        self.generation == generation && now < self.kept_until
    }
}

impl Subjects {
    /// Whose word is taken for who calls.
    pub(in crate::kinds) fn vouchers(&self) -> Vec<Voucher> {
        let voucher = Voucher {
            prefix: qualified(self.workspace.as_deref(), &self.prefix),
            name: self.issuer.clone(),
            is_told: self.is_told,
            groups: self.groups.as_ref().map(Groups::gives),
        };
        if self.accepts_unknown { vec![voucher] } else { Vec::new() }
    }

    /// Who a verified token is about.
    pub(in crate::kinds) fn of(
        &self,
        claims: &Claims,
        lacks_scope: impl Fn(&Claims) -> bool,
        (until, kept_until): (Option<SystemTime>, SystemTime),
        generation: u64,
    ) -> Result<Subject, Why> {
        let id = match find(claims, &self.claim) {
            Some(Value::String(text)) => text.clone(),
            // A subject is a text (RFC 7519, 4.1.2); other claims may number people.
            Some(Value::Number(number)) if self.claim != "sub" && !number.is_f64() => {
                number.to_string()
            }
            _ => return Err("the token does not say who it is about"),
        };
        let is_name = !id.is_empty()
            && id.len() <= CONSUMER_NAME_BYTES_MAX
            // White space at the ends is lost on the way to the backend, which would take one for another.
            && id.trim() == id
            && !id.chars().any(char::is_control);
        if !is_name {
            return Err("what the token says of whom it is about is empty, too long or no name");
        }
        let stranger = self.accepts_unknown.then(|| {
            let groups = self.groups.as_ref().map(|groups| {
                let said = listed(find(claims, &groups.from));
                groups.said(&self.prefix, said.into_iter())
            });
            Arc::new(Consumer {
                name: qualified(self.workspace.as_deref(), &format!("{}/{id}", self.prefix)).into(),
                workspace: self.workspace.clone(),
                groups: groups.unwrap_or_default(),
                is_known: false,
                ..Consumer::default()
            })
        });
        let lacks_scope = lacks_scope(claims);
        let binding = Binding::read(claims)?;
        let bound = binding.as_ref().map_or(0, |binding| binding.bytes());
        let kept = KeptClaims::from(claims);
        let named = stranger.as_ref().map_or(0, |stranger| weight_of(stranger));
        let bytes = (size_of::<Subject>() + kept.bytes()) as u64 + named + bound + ENTRY_BYTES;
        Ok(Subject {
            token: CredentialKind::Token.hash(&[&self.issuer, &id]),
            name: self.is_name.then(|| CredentialKind::Name.hash(&[&id])),
            claims: Arc::new(kept),
            stranger,
            lacks_scope,
            binding,
            until,
            kept_until,
            generation,
            bytes,
        })
    }

    /// By what the directory may know whom a token is about.
    pub(in crate::kinds) const fn kinds(&self) -> &'static [CredentialKind] {
        if self.is_name {
            &[CredentialKind::Token, CredentialKind::Name]
        } else {
            &[CredentialKind::Token]
        }
    }

    /// The identity of somebody, by the directory as it is now.
    pub(in crate::kinds) fn identify(
        &self,
        subject: &Subject,
        directory: &Directory,
        now: SystemTime,
    ) -> Result<Identity, Why> {
        let by_name = || directory.find(CredentialKind::Name, subject.name.as_ref()?);
        let known = directory.find(CredentialKind::Token, &subject.token).or_else(by_name);
        let claims = Some(Arc::clone(&subject.claims));
        if let Some(credential) = known {
            if !credential.is_valid_at(now) {
                return Err("the consumer's tokens have expired, or are not valid yet");
            }
            let until = credential.until.into_iter().chain(subject.until).min();
            return Ok(Identity { claims, until, ..Identity::of(credential) });
        }
        let stranger = subject.stranger.as_ref().map(Arc::clone);
        let stranger = stranger.ok_or("the directory does not know whom the token is about")?;
        let until = subject.until;
        Ok(Identity { consumer: Some(stranger), claims, until, ..Identity::default() })
    }
}

/// A claim by its name, or within others by names with dots between.
fn find<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
}

/// What a token takes beside what it says: its hash, its place in the table, and what allocators add.
const ENTRY_BYTES: u64 = 256;

/// About how many bytes somebody whom the directory does not know takes.
fn weight_of(stranger: &Consumer) -> u64 {
    let groups: usize =
        stranger.groups.iter().map(|group| size_of_val(group) + group.len() + 8).sum();
    (size_of::<Consumer>() + stranger.name.len() + groups) as u64
}
