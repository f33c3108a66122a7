//! Consumers and credentials of the database in the Directory of the gateway, beside those of its file: one record at a time,
//! outside revisions.

use super::DEFAULT;
use super::cold::{self, Stale};
use base::hashed::HashedMap;
use control::credential::Kind;
use control::directory::{Change, Known, KnownConsumer, KnownCredential, News};
use control::{Control, Problem};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use store::outbox::Position;
use traffic::directory::{
    Consumer, Credential, CredentialHash, CredentialKind, Directory, qualified,
};

/// What is told when a database was restored,
const RESTORED: &str = "database.restore";
/// and when secrets were encrypted with another master key.
const REWRAPPED: &str = "database.rewrap";

/// What the Directory holds, and from where.
#[derive(Debug)]
pub(crate) struct Records {
    directory: Arc<Directory>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Of the operator's file, which counts where both have the same.
    file: HashedMap<CredentialHash, Arc<Credential>>,
    kept: HashMap<Key, Record>,
}

/// A hash, and the workspace in which it means something; none is the platform's.
type Key = (Option<Arc<str>>, CredentialHash);

/// A credential of the database.
#[derive(Clone, Debug)]
struct Record {
    /// The id of its consumer.
    consumer: String,
    /// The id of its application.
    application: Option<String>,
    /// Its id; empty of what stands for the consumer itself.
    id: String,
    credential: Arc<Credential>,
}

/// What else has changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// A secret.
    pub(super) is_secret: bool,
    /// A workspace, or what is delegated to it.
    pub(super) is_workspace: bool,
    /// How secrets are encrypted.
    pub(super) is_rewrapped: bool,
}

impl Record {
    /// Whether a change may have been one of this.
    fn is_meant(&self, change: &Change) -> bool {
        self.consumer == change.consumer
            && (change.application.is_none() || self.application == change.application)
            && change.credential.as_ref().is_none_or(|id| self.id == *id)
    }
}

impl Records {
    pub(super) fn new(directory: &Arc<Directory>) -> Self {
        Self { directory: Arc::clone(directory), held: Mutex::default() }
    }

    /// Takes the credentials of the operator's file, in place of those it had before.
    pub(super) fn file(&self, all: Vec<(CredentialHash, Arc<Credential>)>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.file = all.into_iter().collect();
        self.replace(&held);
    }

    fn replace(&self, held: &Held) {
        let kept = held.kept.iter().map(|((_, hash), it)| (*hash, Arc::clone(&it.credential)));
        let file = held.file.iter().map(|(hash, it)| (*hash, Arc::clone(it)));
        self.directory.replace(kept.chain(file));
    }

    /// Takes everything that is known, in place of what was known before.
    pub(super) fn all(&self, known: Known) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.kept = records(known).into_iter().collect();
        self.replace(&held);
    }

    /// Takes what is known of what was changed.
    fn some(&self, change: &Change, known: Known) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now: HashMap<Key, Record> = records(known).into_iter().collect();
        let meant = held.kept.iter().filter(|(_, it)| it.is_meant(change));
        let before: Vec<Key> = meant.map(|(key, _)| key.clone()).collect();
        for key in before.iter().filter(|key| !now.contains_key(*key)) {
            held.kept.remove(key);
            let (workspace, hash) = key;
            // Consumers of the file are the platform's.
            match (workspace, held.file.get(hash)) {
                (Some(workspace), _) => drop(self.directory.within(workspace).remove(hash)),
                (None, Some(own)) => self.directory.put(*hash, own),
                (None, None) => drop(self.directory.remove(hash)),
            }
        }
        for (key, record) in now {
            let (workspace, hash) = &key;
            if workspace.is_some() || !held.file.contains_key(hash) {
                self.directory.put(*hash, &record.credential);
            }
            held.kept.insert(key, record);
        }
    }

    /// Brings the Directory what has changed since a position; everything if there is none yet.
    pub(super) async fn follow(
        &self,
        (control, kept): (&Control, &cold::Known),
        position: &mut Option<Position>,
    ) -> Result<Told, Problem> {
        let followed = self.try_follow((control, kept), position).await;
        if followed.is_err() {
            // What was told and not done would not be told again.
            *position = None;
        }
        followed
    }

    async fn try_follow(
        &self,
        (control, kept): (&Control, &cold::Known),
        position: &mut Option<Position>,
    ) -> Result<Told, Problem> {
        let everything = Told { is_secret: true, is_workspace: true, is_rewrapped: true };
        let anew = async || {
            let known = control.directory().await?;
            kept.stale(&[Stale::Everything]);
            self.all(known);
            Ok::<(), Problem>(())
        };
        let Some(at) = position else {
            *position = Some(control.position().await?);
            anew().await?;
            return Ok(everything);
        };
        match control.follow(at).await? {
            News::Lost => {
                anew().await?;
                Ok(everything)
            }
            // Somebody put another database in the place of the one that was followed.
            News::Some(_, others) if others.iter().any(|it| it.topic == RESTORED) => {
                anew().await?;
                Ok(everything)
            }
            News::Some(changes, others) => {
                let stale: Vec<Stale> = changes.iter().cloned().map(Stale::One).collect();
                kept.stale(&stale);
                for change in changes {
                    self.some(&change, control.directory_of(&change).await?);
                }
                let is_of = |noun| others.iter().any(|event| event.topic.starts_with(noun));
                let (is_secret, is_workspace) = (is_of("secret."), is_of("workspace."));
                let told = Told { is_secret, is_workspace, is_rewrapped: is_of(REWRAPPED) };
                if told.is_workspace {
                    // One that has another name is another one to all that it has.
                    anew().await?;
                }
                Ok(told)
            }
        }
    }
}

/// Consumers and credentials as the Directory has them.
fn records(known: Known) -> Vec<(Key, Record)> {
    for (id, problem) in &known.unreadable {
        let cause = problem.cause.as_deref().unwrap_or_default();
        tracing::error!(credential = %id, %problem, cause, "a credential cannot be used");
    }
    let mut records = Vec::new();
    let mut consumers: HashMap<String, Arc<Consumer>> = HashMap::new();
    for it in known.consumers {
        let KnownConsumer { id, workspace_name, name, plan, groups, roles, .. } = it;
        let workspace = Some(workspace_name).filter(|name| name != DEFAULT).map(Arc::from);
        let texts = |all: Vec<String>| all.into_iter().map(Arc::from).collect();
        let consumer = Arc::new(Consumer {
            name: qualified(workspace.as_deref(), &name).into(),
            groups: texts(groups),
            roles: texts(roles),
            plan: plan.map(Arc::from),
            workspace,
            is_known: true,
        });
        let credential = Arc::new(Credential::new(CredentialKind::Name, Arc::clone(&consumer)));
        let hash = CredentialKind::Name.hash(&[consumer.own_name()]);
        let key = (consumer.workspace.clone(), hash);
        let (consumer_id, application, no_id) = (id.clone(), None, String::new());
        records.push((key, Record { consumer: consumer_id, application, id: no_id, credential }));
        consumers.insert(id, consumer);
    }
    for it in known.credentials {
        let Some(consumer) = consumers.get(&it.consumer) else { continue };
        records.push(record(it, consumer));
    }
    records
}

fn record(it: KnownCredential, consumer: &Arc<Consumer>) -> (Key, Record) {
    let kind = match it.kind {
        Kind::ApiKey => CredentialKind::ApiKey,
        Kind::Password => CredentialKind::Password,
        Kind::SharedSecret => CredentialKind::SharedSecret,
        Kind::Certificate => CredentialKind::Certificate,
        Kind::Token => CredentialKind::Token,
    };
    let application = it.application;
    let roles = application.as_ref().and_then(|it| it.roles.clone());
    let credential = Arc::new(Credential {
        name: Some(it.name).filter(|name| !name.is_empty()).map(Arc::from),
        application: application.as_ref().map(|it| Arc::from(it.name.as_str())),
        roles: roles.map(|all| all.into_iter().map(Arc::from).collect()),
        plan: application.as_ref().and_then(|it| it.plan.as_deref()).map(Arc::from),
        secret: it.secret,
        from: it.from_ms.and_then(time),
        // A time that cannot be is over.
        until: it.expires_ms.map(|ms| time(ms).unwrap_or(SystemTime::UNIX_EPOCH)),
        ..Credential::new(kind, Arc::clone(consumer))
    });
    let application = application.map(|it| it.id);
    let record = Record { consumer: it.consumer, application, id: it.id, credential };
    ((consumer.workspace.clone(), it.hash), record)
}

fn time(ms: i64) -> Option<SystemTime> {
    let since = Duration::from_millis(u64::try_from(ms).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}
