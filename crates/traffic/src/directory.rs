//! Who calls, found by what they show: hash of a credential → consumer. The directory is not part of
//! a snapshot: one record changes at a time, and look-ups never wait.

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
use base::Secret;
use base::hashed::HashedMap;
use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// What cannot stand in a header as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The identified client of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Its unique name. That of a consumer which the directory does not know has a slash in it, which no name
    /// of a known one has.
    pub name: Arc<str>,
    /// The groups it belongs to.
    pub groups: Box<[Arc<str>]>,
    /// The roles it has; a name that the config does not know grants nothing.
    pub roles: Box<[Arc<str>]>,
    /// The plan by which it uses APIs, unless the application that it shows has another one.
    pub plan: Option<Arc<str>>,
    /// Whether the directory knows it. Others are as somebody who is trusted says, such as an issuer of tokens.
    pub is_known: bool,
    /// The workspace that it belongs to, whose name then stands before its own, with a dot between; none if it is the
    /// platform's.
    pub workspace: Option<Arc<str>>,
}

/// A name as it is unique in a gateway: what belongs to a workspace has that before it.
#[must_use]
pub fn qualified(workspace: Option<&str>, name: &str) -> String {
    workspace.map_or_else(|| name.to_owned(), |workspace| format!("{workspace}.{name}"))
}

impl Consumer {
    /// Its name in its workspace: by it the policies of the workspace know it, and its backends.
    #[must_use]
    pub fn own_name(&self) -> &str {
        let of_workspace = self.workspace.as_deref().and_then(|workspace| {
            self.name.strip_prefix(workspace).and_then(|rest| rest.strip_prefix('.'))
        });
        of_workspace.unwrap_or(&self.name)
    }

    /// Its name as backends are told. What cannot stand in a header is percent-encoded (RFC 3986, 2.1), as is `%`: a name
    /// is never left out, and never reads like another.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let text: Cow<'_, str> = utf8_percent_encode(self.own_name(), ENCODED).into();
        // Nothing else is left in it.
        HeaderValue::try_from(text.as_ref()).unwrap_or_else(|_| HeaderValue::from_static("%"))
    }
}

/// How a credential proves who shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// Whoever has the key is it: the hash is of the key.
    ApiKey,
    /// A user name, with the hash of a password beside it.
    Password,
    /// An identifier, with a secret beside it by which messages are signed.
    SharedSecret,
    /// A certificate, or a name in one; who shows it was verified before.
    Certificate,
    /// Issuer and subject of a token, which was verified before.
    Token,
    /// The name of a consumer, which somebody who is trusted said.
    Name,
}

impl CredentialKind {
    /// Its name, in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Password => "password",
            Self::SharedSecret => "shared_secret",
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Name => "name",
        }
    }

    /// The hash by which a directory knows an identifier of several parts. An API key is hashed as it is:
    /// see the crate `policy`.
    #[must_use]
    pub fn hash(self, parts: &[&str]) -> CredentialHash {
        let mut context = Context::new(&SHA256);
        context.update(self.name().as_bytes());
        for part in parts {
            // Lengths keep two lists of parts from being one text.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut hash = CredentialHash::default();
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}

/// Something by which a consumer proves who it is. Where it must be kept, the secret of it is never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// How it proves that.
    pub kind: CredentialKind,
    /// What people call it, for logs.
    pub name: Option<Arc<str>>,
    /// Whom it identifies.
    pub consumer: Arc<Consumer>,
    /// The application of the consumer that it belongs to.
    pub application: Option<Arc<str>>,
    /// The only roles that the application makes use of, if not all of its consumer's.
    pub roles: Option<Box<[Arc<str>]>>,
    /// The plan of that application, if it is another than its consumer's.
    pub plan: Option<Arc<str>>,
    /// The hash of a password (a PHC string), or the secret by which messages are signed.
    pub secret: Option<Secret>,
    /// Under which hash the directory has it; the directory sets it.
    pub hash: CredentialHash,
    /// When it begins to be valid; from ever if there is no time.
    pub from: Option<SystemTime>,
    /// When it stops being valid; never if there is no time.
    pub until: Option<SystemTime>,
}

impl Credential {
    /// One without a name, an application, a secret or an end.
    #[must_use]
    pub const fn new(kind: CredentialKind, consumer: Arc<Consumer>) -> Self {
        Self {
            hash: [0; 32],
            kind,
            name: None,
            consumer,
            application: None,
            roles: None,
            plan: None,
            secret: None,
            from: None,
            until: None,
        }
    }

    /// Whether it is valid at a time.
    #[must_use]
    pub fn is_valid_at(&self, wall: SystemTime) -> bool {
        self.from.is_none_or(|from| from <= wall) && self.until.is_none_or(|until| wall < until)
    }
}

/// A consumer, and one of its applications, or none: its own credentials.
pub type ApplicationName = (Arc<str>, Option<Arc<str>>);

/// SHA-256 of a credential.
pub type CredentialHash = [u8; 32];

type Shard = ArcSwap<HashedMap<CredentialHash, Arc<Credential>>>;

/// All credentials of a gateway, as one workspace or the platform sees them: those of others are unknown there.
pub struct Directory {
    shards: Arc<[Shard]>,
    /// How often credentials were changed or taken away.
    epoch: Arc<AtomicU64>,
    /// Whose credentials are found here; those of the platform if there is none.
    workspace: Option<Arc<str>>,
}

/// Under which hash all credentials of a gateway together know one: two workspaces may have the same.
fn among_all(workspace: Option<&str>, hash: &CredentialHash) -> CredentialHash {
    let Some(workspace) = workspace else { return *hash };
    let mut context = Context::new(&SHA256);
    context.update(b"workspace");
    context.update(&(workspace.len() as u64).to_be_bytes());
    context.update(workspace.as_bytes());
    context.update(hash);
    let mut apart = CredentialHash::default();
    apart.copy_from_slice(context.finish().as_ref());
    apart
}

/// Enough that changing one of a million credentials copies a few hundred entries.
const SHARDS: usize = 1_024;

impl Default for Directory {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Self { shards, epoch: Arc::default(), workspace: None }
    }
}

impl Directory {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same credentials, of which only those of a workspace are found.
    #[must_use]
    pub fn within(&self, workspace: &str) -> Self {
        let (shards, epoch) = (Arc::clone(&self.shards), Arc::clone(&self.epoch));
        Self { shards, epoch, workspace: Some(workspace.into()) }
    }

    /// Whose credentials are found here; the platform's if there is none.
    #[must_use]
    pub const fn workspace(&self) -> Option<&Arc<str>> {
        self.workspace.as_ref()
    }

    fn shard(&self, hash: &CredentialHash) -> &Shard {
        &self.shards[usize::from(u16::from_le_bytes([hash[0], hash[1]])) % SHARDS]
    }

    /// The credential of a kind that has this hash, whether it is valid now or not. The hash being one of
    /// SHA-256, comparing it byte by byte tells an attacker nothing about a key.
    #[must_use]
    pub fn find(&self, kind: CredentialKind, hash: &CredentialHash) -> Option<Arc<Credential>> {
        self.look(kind, &among_all(self.workspace.as_deref(), hash))
    }

    fn look(&self, kind: CredentialKind, hash: &CredentialHash) -> Option<Arc<Credential>> {
        // A key could be chosen so that its hash is that of another kind of credential.
        self.shard(hash).load().get(hash).filter(|credential| credential.kind == kind).cloned()
    }

    /// Looks at all credentials of a kind that are found here, which takes as long as there are many in the gateway.
    pub fn each(&self, kind: CredentialKind, mut look: impl FnMut(&Credential)) {
        for shard in &*self.shards {
            let shard = shard.load();
            let here =
                |it: &&Arc<Credential>| it.kind == kind && it.consumer.workspace == self.workspace;
            shard.values().filter(here).for_each(|it| look(it));
        }
    }

    /// Adds or changes one credential, which becomes one of its consumer's workspace.
    pub fn put(&self, hash: CredentialHash, credential: &Arc<Credential>) {
        let hash = among_all(credential.consumer.workspace.as_deref(), &hash);
        let credential = Arc::new(Credential { hash, ..Credential::clone(credential) });
        self.shard(&hash).rcu(|shard| {
            let mut shard = HashedMap::clone(shard);
            shard.insert(hash, Arc::clone(&credential));
            shard
        });
        self.changed();
    }

    /// Revokes one credential of those that are found here; false if there was none.
    pub fn remove(&self, hash: &CredentialHash) -> bool {
        let hash = among_all(self.workspace.as_deref(), hash);
        let before = self.shard(&hash).rcu(|shard| {
            let mut shard = HashedMap::clone(shard);
            shard.remove(&hash);
            shard
        });
        self.changed();
        before.contains_key(&hash)
    }

    /// Makes `records` the whole content, of all workspaces, shard by shard.
    pub fn replace(&self, records: impl IntoIterator<Item = (CredentialHash, Arc<Credential>)>) {
        let mut shards: Vec<HashedMap<CredentialHash, Arc<Credential>>> =
            (0..SHARDS).map(|_| HashedMap::default()).collect();
        for (hash, credential) in records {
            let hash = among_all(credential.consumer.workspace.as_deref(), &hash);
            let credential = Arc::new(Credential { hash, ..Arc::unwrap_or_clone(credential) });
            shards[usize::from(u16::from_le_bytes([hash[0], hash[1]])) % SHARDS]
                .insert(hash, credential);
        }
        let mut has_changed = false;
        for (shard, new) in self.shards.iter().zip(shards) {
            if **shard.load() != new {
                shard.store(Arc::new(new));
                has_changed = true;
            }
        }
        if has_changed {
            self.changed();
        }
    }

    fn changed(&self) {
        // Whoever sees the new number sees the records that were changed before it.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// A number that is another one after every change.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What has become of a credential that was found here earlier, if it is still good at a time: it is there, it
    /// proves itself by the same secret and means the same consumer and application. Its end may be another.
    #[must_use]
    pub fn standing(&self, earlier: &Credential, wall: SystemTime) -> Option<Arc<Credential>> {
        self.look(earlier.kind, &earlier.hash).filter(|now| {
            now.is_valid_at(wall)
                && now.consumer.name == earlier.consumer.name
                && now.application == earlier.application
                && now.secret == earlier.secret
        })
    }

    /// Whether a credential that was found here earlier is still good at a time.
    #[must_use]
    pub fn stands(&self, earlier: &Credential, wall: SystemTime) -> bool {
        self.standing(earlier, wall).is_some()
    }

    /// All credentials of a consumer. It looks at every credential: this is for people who ask, not for requests.
    #[must_use]
    pub fn of_consumer(&self, name: &str) -> Vec<Arc<Credential>> {
        let mut found = Vec::new();
        for shard in &*self.shards {
            let shard = shard.load();
            found.extend(shard.values().filter(|it| *it.consumer.name == *name).cloned());
        }
        found
    }

    /// The consumers that have credentials, with their applications, in order: at most so many of those that come after
    /// one. It looks at every credential, like [`Directory::of_consumer`].
    #[must_use]
    pub fn holders(&self, after: Option<&ApplicationName>, most: usize) -> Vec<ApplicationName> {
        let mut first: BTreeSet<ApplicationName> = BTreeSet::new();
        for shard in &*self.shards {
            for credential in shard.load().values() {
                let name = (Arc::clone(&credential.consumer.name), credential.application.clone());
                if after.is_some_and(|after| name <= *after) {
                    continue;
                }
                first.insert(name);
                if first.len() > most {
                    first.pop_last();
                }
            }
        }
        first.into_iter().collect()
    }

    /// How many credentials there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({} credentials)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Consumer, Credential, CredentialKind, Directory};
    use base::Clock;
    use std::sync::Arc;
    use std::time::Duration;

    const API_KEY: CredentialKind = CredentialKind::ApiKey;

    fn credential(name: &str) -> Arc<Credential> {
        let name = name.into();
        let consumer = Arc::new(Consumer { name, is_known: true, ..Consumer::default() });
        Arc::new(Credential::new(API_KEY, consumer))
    }

    #[test]
    fn one_record_changes_at_a_time() {
        let directory = Directory::new();
        directory.put([1; 32], &credential("alice"));
        directory.put([2; 32], &credential("bob"));
        assert_eq!(&*directory.find(API_KEY, &[1; 32]).unwrap().consumer.name, "alice");
        let of =
            |name| directory.of_consumer(name).iter().map(|it| it.hash[0]).collect::<Vec<u8>>();
        assert_eq!((of("bob"), of("carol")), (vec![2], vec![]));
        assert!(directory.remove(&[1; 32]));
        assert!(!directory.remove(&[1; 32]));
        assert!(directory.find(API_KEY, &[1; 32]).is_none());
        assert_eq!(directory.len(), 1);
        let mut names = Vec::new();
        directory.each(API_KEY, |it| names.push(it.consumer.name.to_string()));
        directory.each(CredentialKind::Password, |_| names.push("no password".to_owned()));
        assert_eq!(names, ["bob"]);
    }

    #[test]
    fn replacing_forgets_what_is_not_named() {
        let directory = Directory::new();
        directory.put([1; 32], &credential("alice"));
        directory.replace([([2; 32], credential("bob"))]);
        assert!(directory.find(API_KEY, &[1; 32]).is_none());
        assert!(directory.find(API_KEY, &[2; 32]).is_some());
    }

    #[test]
    fn a_credential_stands_until_it_is_taken_away_or_means_something_else() {
        let directory = Directory::new();
        let wall = Clock::manual().wall();
        directory.put([1; 32], &credential("alice"));
        let alice = directory.find(API_KEY, &[1; 32]).unwrap();
        let before = directory.epoch();
        directory.replace([([1; 32], credential("alice")), ([2; 32], credential("bob"))]);
        assert_ne!(directory.epoch(), before);
        assert!(directory.stands(&alice, wall), "others changed");
        let before = directory.epoch();
        directory.replace([([1; 32], credential("alice")), ([2; 32], credential("bob"))]);
        assert_eq!(directory.epoch(), before, "nothing changed");
        let ended = Credential { until: Some(wall), ..(*alice).clone() };
        directory.put([1; 32], &Arc::new(ended));
        assert!(!directory.stands(&alice, wall), "it has expired");
        directory.put([1; 32], &credential("bob"));
        assert!(!directory.stands(&alice, wall), "it is another's");
        directory.put([1; 32], &credential("alice"));
        assert!(directory.stands(&alice, wall));
        directory.remove(&[1; 32]);
        assert!(!directory.stands(&alice, wall), "it is gone");
    }

    #[test]
    fn those_who_have_credentials_are_told_in_order_and_in_pieces() {
        let directory = Directory::new();
        for (at, name) in ["dave", "alice", "carol", "bob", "alice"].iter().enumerate() {
            directory.put([u8::try_from(at).unwrap(); 32], &credential(name));
        }
        let names = |after: Option<&str>, most| {
            let after = after.map(|name| (name.into(), None));
            let holders = directory.holders(after.as_ref(), most);
            holders.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(None, 9), "alice bob carol dave");
        assert_eq!(names(None, 2), "alice bob");
        assert_eq!(names(Some("bob"), 2), "carol dave");
        assert_eq!(names(Some("dave"), 2), "");
    }

    #[test]
    fn a_credential_of_another_kind_is_not_found() {
        let directory = Directory::new();
        directory.put([1; 32], &credential("alice"));
        assert!(directory.find(CredentialKind::Password, &[1; 32]).is_none());
    }

    #[test]
    fn a_name_is_told_to_backends_whatever_is_in_it() {
        for (name, expected) in [
            ("alice", "alice"),
            ("idp.test/Zo\u{eb}", "idp.test/Zo%C3%AB"),
            ("evil\nx: 1\0", "evil%0Ax: 1%00"),
            ("100%", "100%25"),
        ] {
            let consumer = Consumer { name: name.into(), ..Consumer::default() };
            assert_eq!(consumer.header(), expected, "{name}");
        }
    }

    #[test]
    fn identifiers_of_different_kinds_and_parts_never_meet() {
        let token = |parts| CredentialKind::Token.hash(parts);
        assert_ne!(token(&["ab", "c"]), token(&["a", "bc"]));
        assert_ne!(token(&["a"]), CredentialKind::Name.hash(&["a"]));
        assert_eq!(token(&["a", "b"]), token(&["a", "b"]));
    }

    #[test]
    fn a_credential_is_valid_between_its_times() {
        let now = Clock::manual().wall();
        let second = Duration::from_secs(1);
        let with = |from, until| Credential { from, until, ..(*credential("alice")).clone() };
        assert!(with(None, None).is_valid_at(now));
        assert!(with(Some(now), Some(now + second)).is_valid_at(now));
        assert!(!with(Some(now + second), None).is_valid_at(now));
        assert!(!with(None, Some(now)).is_valid_at(now));
    }
}
