//! Stands in for a credential that is not there, so that somebody nobody knows takes the same way, and as long, as somebody
//! whose secret is wrong.

use base::Secret;
use std::sync::Arc;
use std::time::SystemTime;
use traffic::directory::{Consumer, Credential, CredentialKind};

/// A credential of nobody.
pub(crate) struct Nobody(Arc<Credential>);

impl Nobody {
    /// One whose secret is this, which opens nothing.
    pub(crate) fn new(kind: CredentialKind, secret: &str) -> Self {
        let consumer = Consumer::default();
        let secret = Some(Secret::new(secret.to_owned()));
        Self(Arc::new(Credential { secret, ..Credential::new(kind, Arc::new(consumer)) }))
    }

    /// What was found and whether it is good, or that of nobody, which never is.
    pub(crate) fn unless(
        &self,
        found: Option<Arc<Credential>>,
        wall: SystemTime,
    ) -> (Arc<Credential>, bool) {
        let is_there = found.is_some();
        let credential = found.unwrap_or_else(|| Arc::clone(&self.0));
        let is_good = credential.is_valid_at(wall) & credential.secret.is_some() & is_there;
        (credential, is_good)
    }
}
