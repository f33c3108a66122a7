//! What gateways know of callers and of secrets, as lines of text, for a start without the database. What is encrypted in the
//! database is encrypted here as well: without the master key nobody reads a secret of it. This is for the program
//! itself: nothing here asks for a permission, and no operation of the admin API may hand out what it gives.

use crate::directory::{Change, Known, KnownConsumer, known};
use crate::{Control, Problem, problem};
use aws_lc_rs::digest::{Context, SHA256};
use base::Secret;
use base::caps::COLD_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Read as _, Write};
use store::directory::{Holder, Record};
use store::envelope::{Keys, Sealed, of_secret};

const NOUN: &str = "directory";
/// Rows read at once.
const PAGE: i64 = 1_000;
/// Of what is written here. Another number is not read.
const VERSION: u32 = 1;

/// What was known last.
#[derive(Debug, Default)]
pub struct Cold {
    /// Consumers and credentials.
    pub known: Known,
    /// Secrets by their names, by the names of their workspaces.
    pub secrets: BTreeMap<String, BTreeMap<String, Secret>>,
    /// How many secrets do not open with the master keys that there are.
    pub locked: usize,
}

/// A line.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begin { version: u32 },
    Consumer(Caller),
    Credential(Box<Proof>),
    Secret { workspace: String, workspace_name: String, name: String, sealed: Bytes },
    End { lines: u64, sha256: String },
}

#[derive(Deserialize, Serialize)]
struct Caller {
    id: String,
    workspace: String,
    workspace_name: String,
    name: String,
    plan: Option<String>,
    body: String,
}

/// Id, name, plan and what else is known of an application.
type Program = (String, Option<String>, Option<String>, Option<String>);

#[derive(Deserialize, Serialize)]
struct Proof {
    id: String,
    workspace: String,
    consumer: String,
    application: Option<Program>,
    kind: String,
    name: String,
    hash: Bytes,
    body: String,
    password: Option<String>,
    sealed: Option<(i64, Bytes, Bytes)>,
    from_ms: Option<i64>,
    expires_ms: Option<i64>,
}

/// Bytes as text (base64).
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
struct Bytes(String);

impl Bytes {
    fn of(bytes: &[u8]) -> Self {
        Self(STANDARD.encode(bytes))
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.0).ok()
    }
}

impl From<Holder> for Caller {
    fn from(holder: Holder) -> Self {
        let Holder { id, workspace, workspace_name, name, plan, body } = holder;
        Self { id, workspace, workspace_name, name, plan, body }
    }
}

impl From<Caller> for Holder {
    fn from(caller: Caller) -> Self {
        let Caller { id, workspace, workspace_name, name, plan, body } = caller;
        Self { id, workspace, workspace_name, name, plan, body }
    }
}

impl From<Record> for Proof {
    fn from(record: Record) -> Self {
        let about = (record.application_name, record.application_plan, record.application_body);
        let (app_name, app_plan, app_body) = about;
        let sealed = match (record.master, record.wrapped, record.sealed) {
            (Some(master), Some(wrapped), Some(sealed)) => {
                Some((master, Bytes::of(&wrapped), Bytes::of(&sealed)))
            }
            _ => None,
        };
        Self {
            id: record.id,
            workspace: record.workspace,
            consumer: record.consumer,
            application: record.application.map(|id| (id, app_name, app_plan, app_body)),
            kind: record.kind,
            name: record.name,
            hash: Bytes::of(&record.hash),
            body: record.body,
            password: record.password,
            sealed,
            from_ms: record.from_ms,
            expires_ms: record.expires_ms,
        }
    }
}

impl Proof {
    fn record(self) -> Option<Record> {
        let application = self.application;
        let (application, application_name, application_plan, application_body) = application
            .map_or((None, None, None, None), |(id, name, plan, body)| {
                (Some(id), name, plan, body)
            });
        let (master, wrapped, sealed) = match self.sealed {
            Some((master, wrapped, sealed)) => {
                (Some(master), Some(wrapped.bytes()?), Some(sealed.bytes()?))
            }
            None => (None, None, None),
        };
        Some(Record {
            id: self.id,
            workspace: self.workspace,
            consumer: self.consumer,
            application,
            application_name,
            application_plan,
            application_body,
            kind: self.kind,
            name: self.name,
            hash: self.hash.bytes()?,
            body: self.body,
            password: self.password,
            master,
            wrapped,
            sealed,
            from_ms: self.from_ms,
            expires_ms: self.expires_ms,
        })
    }
}

/// Lines with their digest.
struct Lines<W> {
    to: W,
    digest: Context,
    count: u64,
    bytes: usize,
}

impl<W: Write> Lines<W> {
    fn line(&mut self, line: &Line) -> Result<(), Problem> {
        let failed = |why: String| problem::of(NOUN)(store::Error::Unavailable(why));
        let text = serde_json::to_string(line).map_err(|why| failed(why.to_string()))? + "\n";
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > COLD_BYTES_MAX {
            return Err(failed(format!("there is more than {COLD_BYTES_MAX} bytes of it")));
        }
        self.digest.update(text.as_bytes());
        self.count += 1;
        self.to.write_all(text.as_bytes()).map_err(|why| failed(why.to_string()))
    }
}

impl Control {
    /// Writes what gateways know of callers and of secrets.
    ///
    /// # Errors
    /// When the database cannot be read, `to` not be written to, or there is too much of it.
    pub async fn cold_write(&self, to: impl Write + Send) -> Result<(), Problem> {
        let mut lines = Lines { to, digest: Context::new(&SHA256), count: 0, bytes: 0 };
        lines.line(&Line::Begin { version: VERSION })?;
        let mut after = String::new();
        loop {
            let page = self.store.directory_consumers(&after, PAGE).await;
            let page = page.map_err(problem::of(NOUN))?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            for holder in page {
                lines.line(&Line::Consumer(holder.into()))?;
            }
        }
        after.clear();
        loop {
            let page = self.store.directory_credentials(&after, PAGE).await;
            let page = page.map_err(problem::of(NOUN))?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            for record in page {
                lines.line(&Line::Credential(Box::new(record.into())))?;
            }
        }
        for (id, workspace_name, _) in
            self.store.revision_newest().await.map_err(problem::of(NOUN))?
        {
            let values = self.store.secret_values(&id).await.map_err(problem::of(NOUN))?;
            for (name, sealed) in values {
                let (workspace, workspace_name) = (id.clone(), workspace_name.clone());
                let sealed = Bytes::of(&sealed.bytes());
                lines.line(&Line::Secret { workspace, workspace_name, name, sealed })?;
            }
        }
        let (count, sha256) = (lines.count, hexadecimal(&lines.digest));
        let end = Line::End { lines: count, sha256 };
        lines.line(&end)?;
        let failed = |why: std::io::Error| store::Error::Unavailable(why.to_string());
        lines.to.flush().map_err(failed).map_err(problem::of(NOUN))
    }
}

fn hexadecimal(digest: &Context) -> String {
    digest.clone().finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what was written, as a whole or not at all, without what `stale` speaks of: who knows that something has changed since,
/// and not to what, believes nobody by it.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn cold_read(
    mut from: impl BufRead,
    keys: Option<&Keys>,
    stale: &[Change],
) -> Result<Cold, String> {
    let wrong = || "it is not what was written".to_owned();
    let mut digest = Context::new(&SHA256);
    let (mut count, mut text) = (0, String::new());
    let mut cold = Cold::default();
    let mut is_begun = false;
    let mut changes: HashMap<&str, Vec<&Change>> = HashMap::new();
    for change in stale {
        changes.entry(&change.consumer).or_default().push(change);
    }
    let of = |id: &str| changes.get(id).map(Vec::as_slice).unwrap_or_default();
    loop {
        text.clear();
        let mut bounded = from.by_ref().take(COLD_BYTES_MAX as u64);
        if bounded.read_line(&mut text).map_err(|why| why.to_string())? == 0 {
            return Err(wrong());
        }
        let line: Line = serde_json::from_str(&text).map_err(|_| wrong())?;
        match line {
            Line::Begin { version } if version == VERSION && !is_begun => is_begun = true,
            _ if !is_begun => return Err(wrong()),
            Line::Begin { .. } => return Err(wrong()),
            Line::End { lines, sha256 } => {
                let is_whole = lines == count && sha256 == hexadecimal(&digest);
                return if is_whole { Ok(cold) } else { Err(wrong()) };
            }
            Line::Consumer(caller) => {
                if !of(&caller.id).iter().any(|it| it.is_of_consumer(&caller.id)) {
                    cold.known.consumers.push(KnownConsumer::from(Holder::from(caller)));
                }
            }
            Line::Credential(proof) => {
                let record = proof.record().ok_or_else(wrong)?;
                if !of(&record.consumer).iter().any(|it| it.is_of(&record)) {
                    cold.believe(record, keys);
                }
            }
            Line::Secret { workspace, workspace_name, name, sealed } => {
                let sealed = sealed.bytes().and_then(|bytes| Sealed::read(&bytes));
                let belongs = of_secret(&workspace, &name);
                match opened(keys, &belongs, &sealed.ok_or_else(wrong)?) {
                    Ok(value) => {
                        cold.secrets.entry(workspace_name).or_default().insert(name, value);
                    }
                    Err(_) => cold.locked += 1,
                }
            }
        }
        digest.update(text.as_bytes());
        count += 1;
    }
}

impl Cold {
    fn believe(&mut self, record: Record, keys: Option<&Keys>) {
        let id = record.id.clone();
        match known(record, |of, sealed| opened(keys, of, sealed)) {
            Ok(credential) => self.known.credentials.push(credential),
            Err(problem) => self.known.unreadable.push((id, problem)),
        }
    }
}

/// Decrypts a secret.
fn opened(keys: Option<&Keys>, of: &str, sealed: &Sealed) -> Result<Secret, Problem> {
    let locked = store::Error::Locked(sealed.master);
    let keys = keys.ok_or(locked).map_err(problem::of("secret"))?;
    let bytes = keys.open(of, sealed).map_err(problem::of("secret"))?;
    let corrupt = |_| store::Error::Corrupt("a secret is no text".to_owned());
    String::from_utf8(bytes).map(Secret::new).map_err(corrupt).map_err(problem::of("secret"))
}
