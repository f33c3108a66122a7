//! What gateways know of consumers and their credentials. This is for the program itself, which follows all workspaces:
//! nothing here asks for a permission, and no operation of the admin API may hand out what it gives.

use crate::credential::Kind;
use crate::{Control, Problem, application, consumer, problem};
use base::Secret;
pub use store::directory::Change;
use store::directory::{Holder, Record, TOPIC};
use store::envelope::{Sealed, of_credential};
use store::outbox::{Event, Followed, Position};

const NOUN: &str = "directory";

/// Rows read at once.
const PAGE: i64 = 1_000;

/// A consumer as gateways know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownConsumer {
    /// Its id.
    pub id: String,
    /// The id of its workspace.
    pub workspace: String,
    /// What that workspace is called.
    pub workspace_name: String,
    /// What it is called there.
    pub name: String,
    /// The plan by which it uses APIs.
    pub plan: Option<String>,
    /// Groups it belongs to.
    pub groups: Vec<String>,
    /// Roles it has.
    pub roles: Vec<String>,
}

/// An application as gateways know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownApplication {
    /// Its id.
    pub id: String,
    /// What its consumer calls it.
    pub name: String,
    /// The plan by which it uses APIs, if it is another than its consumer's.
    pub plan: Option<String>,
    /// The only roles that it makes use of, if not all of its consumer's.
    pub roles: Option<Vec<String>>,
}

/// A credential as gateways know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCredential {
    /// Its id.
    pub id: String,
    /// The id of its consumer.
    pub consumer: String,
    /// The application that it belongs to.
    pub application: Option<KnownApplication>,
    /// How it proves who shows it.
    pub kind: Kind,
    /// What people call it.
    pub name: String,
    /// By what it is found within its workspace: of a key its SHA-256, of others that of what they are known by. It is
    /// the hash by which the Directory of a gateway has a credential of this kind.
    pub hash: [u8; 32],
    /// The hash of a password, or the secret by which messages are signed.
    pub secret: Option<Secret>,
    /// When it begins to be valid. Milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// When it stops being valid. Milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

/// What is known of something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Consumers that are not suspended.
    pub consumers: Vec<KnownConsumer>,
    /// Credentials that have not ended, of those and of applications that are not suspended either.
    pub credentials: Vec<KnownCredential>,
    /// What cannot be known, with the reason: a secret that does not open. Nobody gets in by it.
    pub unreadable: Vec<(String, Problem)>,
}

/// What happened since a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// This: changes of the directory, and all other events.
    Some(Vec<Change>, Vec<Event>),
    /// So much that everything has to be read anew.
    Lost,
}

impl From<Holder> for KnownConsumer {
    fn from(kept: Holder) -> Self {
        let Holder { id, workspace, workspace_name, name, plan, body } = kept;
        // It was JSON when it was kept.
        let consumer::Body { groups, roles } = serde_json::from_str(&body).unwrap_or_default();
        Self { id, workspace, workspace_name, name, plan, groups, roles }
    }
}

impl Control {
    /// From where to follow: take this first, then read everything, then follow.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn position(&self) -> Result<Position, Problem> {
        self.store.outbox_position().await.map_err(problem::of(NOUN))
    }

    /// What happened since a position, each at least once.
    ///
    /// # Errors
    /// When the database cannot be read; the position is as before then.
    pub async fn follow(&self, position: &mut Position) -> Result<News, Problem> {
        let limit = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let followed = self.store.outbox_follow(position, limit).await;
        let Followed::Events(events) = followed.map_err(problem::of(NOUN))? else {
            return Ok(News::Lost);
        };
        let (changes, others): (Vec<Event>, Vec<Event>) =
            events.into_iter().partition(|event| event.topic == TOPIC);
        let mut changes: Vec<Change> =
            changes.iter().filter_map(|event| Change::parse(&event.body)).collect();
        changes.dedup();
        Ok(News::Some(changes, others))
    }

    /// Changes whenever this process has written something: time to follow, without waiting.
    #[must_use]
    pub fn kept(&self) -> tokio::sync::watch::Receiver<u64> {
        self.store.kept()
    }

    /// Everything that is known.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn directory(&self) -> Result<Known, Problem> {
        let mut known = Known::default();
        let mut after = String::new();
        loop {
            let page = self.store.directory_consumers(&after, PAGE).await;
            let page = page.map_err(problem::of(NOUN))?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            known.consumers.extend(page.into_iter().map(KnownConsumer::from));
        }
        after.clear();
        loop {
            let page = self.store.directory_credentials(&after, PAGE).await;
            let page = page.map_err(problem::of(NOUN))?;
            let Some(last) = page.last() else { return Ok(known) };
            after.clone_from(&last.id);
            self.learn(page, &mut known);
        }
    }

    /// What is known of what was changed. What was known of it before and is not here is gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn directory_of(&self, change: &Change) -> Result<Known, Problem> {
        let mut known = Known::default();
        let consumer = self.store.directory_consumer(change).await.map_err(problem::of(NOUN))?;
        known.consumers.extend(consumer.map(KnownConsumer::from));
        let mut after = String::new();
        loop {
            let page = self.store.directory_of(change, &after, PAGE).await;
            let page = page.map_err(problem::of(NOUN))?;
            let Some(last) = page.last() else { return Ok(known) };
            after.clone_from(&last.id);
            self.learn(page, &mut known);
        }
    }

    fn learn(&self, records: Vec<Record>, known: &mut Known) {
        for record in records {
            let id = record.id.clone();
            match self::known(record, |of, sealed| self.open(of, sealed)) {
                Ok(credential) => known.credentials.push(credential),
                Err(problem) => known.unreadable.push((id, problem)),
            }
        }
    }
}

/// A credential, with what opens its secret if it has one.
pub(crate) fn known(
    record: Record,
    open: impl FnOnce(&str, &Sealed) -> Result<Secret, Problem>,
) -> Result<KnownCredential, Problem> {
    let corrupt = |what: &str| problem::of(NOUN)(store::Error::Corrupt(what.to_owned()));
    let kind = Kind::parse(&record.kind).ok_or_else(|| corrupt("a kind of credential"))?;
    let hash = record.hash.try_into().map_err(|_| corrupt("a hash of a credential"))?;
    let application = match (record.application, record.application_name) {
        (Some(id), Some(name)) => {
            let body = record.application_body.unwrap_or_default();
            let application::Body { roles } = serde_json::from_str(&body).unwrap_or_default();
            Some(KnownApplication { id, name, plan: record.application_plan, roles })
        }
        _ => None,
    };
    let secret = match (record.password, record.master, record.wrapped, record.sealed) {
        (Some(password), ..) => Some(Secret::new(password)),
        (None, Some(master), Some(wrapped), Some(sealed)) => {
            let sealed = Sealed { master, wrapped, sealed };
            let of = of_credential(&record.workspace, &record.id);
            Some(open(&of, &sealed)?)
        }
        _ => None,
    };
    let (id, consumer, name) = (record.id, record.consumer, record.name);
    let (from_ms, expires_ms) = (record.from_ms, record.expires_ms);
    Ok(KnownCredential { id, consumer, application, kind, name, hash, secret, from_ms, expires_ms })
}
