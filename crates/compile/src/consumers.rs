//! Who calls: consumers become records of the Directory, which lives outside snapshots.

use model::Config;
use std::sync::Arc;
use traffic::directory::{Consumer, Credential, CredentialHash, CredentialKind};

/// The credentials of all consumers.
pub(crate) fn compile(config: &Config) -> Vec<(CredentialHash, Arc<Credential>)> {
    let mut credentials = Vec::new();
    for (name, written) in config.consumers.iter() {
        let consumer = Arc::new(Consumer {
            name: Arc::from(name.value.as_str()),
            groups: written.groups.iter().map(|group| Arc::from(group.as_str())).collect(),
            is_known: true,
        });
        let named = Credential::new(CredentialKind::Name, Arc::clone(&consumer));
        credentials.push((CredentialKind::Name.hash(&[&consumer.name]), Arc::new(named)));
        for key in &written.keys {
            let mut credential = Credential::new(CredentialKind::ApiKey, Arc::clone(&consumer));
            credential.name = key.name.as_deref().map(Arc::from);
            credentials.push((key.hash, Arc::new(credential)));
        }
    }
    credentials
}
