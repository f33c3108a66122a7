//! What gateways know of consumers and credentials: those that are not suspended and have not ended.
//!
//! Whoever follows reads everything once, then what [`Change`]s of the outbox speak of. A change does not say what became of
//! a record: what is there when it is read is what counts, so that changes may be told twice and in any order.

use crate::credential::Credential;
use crate::sql::sql;
use crate::{Result, Store, Write};

/// The topic of changes in the outbox.
pub const TOPIC: &str = "directory";

/// What was changed. Of everything that it names, read again what there is; what is not there any more is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The id of the consumer.
    pub consumer: String,
    /// The id of the application, if only one was changed.
    pub application: Option<String>,
    /// The id of the credential, if only one was changed.
    pub credential: Option<String>,
}

impl Change {
    pub(crate) fn of_consumer(consumer: &str) -> Self {
        Self { consumer: consumer.to_owned(), application: None, credential: None }
    }

    pub(crate) fn of_application(consumer: &str, application: &str) -> Self {
        Self { application: Some(application.to_owned()), ..Self::of_consumer(consumer) }
    }

    pub(crate) fn of_credential(of: &Credential) -> Self {
        let application = of.application.clone();
        Self { credential: Some(of.id.clone()), application, ..Self::of_consumer(&of.consumer) }
    }

    /// Whether it may be one of a consumer itself.
    #[must_use]
    pub fn is_of_consumer(&self, id: &str) -> bool {
        self.consumer == id && self.application.is_none() && self.credential.is_none()
    }

    /// Whether it may be one of a credential.
    #[must_use]
    pub fn is_of(&self, record: &Record) -> bool {
        self.consumer == record.consumer
            && (self.application.is_none() || self.application == record.application)
            && self.credential.as_ref().is_none_or(|id| record.id == *id)
    }

    /// Reads the body of an event.
    #[must_use]
    pub fn parse(body: &str) -> Option<Self> {
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        let text = |name: &str| body.get(name)?.as_str().map(str::to_owned);
        let (application, credential) = (text("application"), text("credential"));
        Some(Self { consumer: text("consumer")?, application, credential })
    }

    /// As the body of an event.
    #[must_use]
    pub fn body(&self) -> String {
        let Self { consumer, application, credential } = self;
        serde_json::json!({
            "consumer": consumer, "application": application, "credential": credential,
        })
        .to_string()
    }
}

/// A consumer as gateways know it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Holder {
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
    /// Its groups, roles and the like, as JSON.
    pub body: String,
}

/// A credential as gateways know it.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// The id of its workspace.
    pub workspace: String,
    /// The id of its consumer.
    pub consumer: String,
    /// The id of its application; none of what is the consumer's own.
    pub application: Option<String>,
    /// What that application is called.
    pub application_name: Option<String>,
    /// The plan of that application.
    pub application_plan: Option<String>,
    /// What is known of that application, as JSON.
    pub application_body: Option<String>,
    /// How it proves who shows it.
    pub kind: String,
    /// What people call it.
    pub name: String,
    /// By what it is found.
    pub hash: Vec<u8>,
    /// What is known of it, as JSON.
    pub body: String,
    /// The hash of a password in the PHC format.
    pub password: Option<String>,
    /// The number of the master key with which `wrapped` is encrypted.
    pub master: Option<i64>,
    /// The key of `sealed`, encrypted.
    pub wrapped: Option<Vec<u8>>,
    /// A secret that is needed to verify what is shown, encrypted.
    pub sealed: Option<Vec<u8>>,
    /// When it begins to be valid. Milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// When it stops being valid. Milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

impl Write {
    /// Tells gateways of a change.
    pub(crate) async fn tell_directory(&mut self, change: &Change) -> Result<()> {
        self.tell(TOPIC, &change.body()).await
    }
}

/// A statement that reads records of which something is so.
macro_rules! records {
    ($where:literal) => {
        sql(concat!(
            "SELECT credential.id, credential.workspace, credential.consumer, credential.application,
                 application.name AS application_name, application.plan AS application_plan,
                 application.body AS application_body, kind, credential.name, hash, credential.body, password, master, wrapped,
                 sealed, from_ms, expires_ms
             FROM credential JOIN consumer ON consumer.id = credential.consumer
                 LEFT JOIN application ON application.id = credential.application
             WHERE ",
            $where,
            " AND credential.id > $2 AND consumer.is_suspended = 0 AND COALESCE(application.is_suspended, 0) = 0
                 AND (expires_ms IS NULL OR expires_ms > $3)
             ORDER BY credential.id LIMIT $4"
        ))
    };
}

impl Store {
    /// Consumers of all workspaces by id, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn directory_consumers(&self, after: &str, limit: i64) -> Result<Vec<Holder>> {
        let statement = sql(
            "SELECT consumer.id, workspace, workspace.name AS workspace_name, consumer.name, plan, body
             FROM consumer JOIN workspace ON workspace.id = consumer.workspace
             WHERE consumer.id > $1 AND is_suspended = 0 ORDER BY consumer.id LIMIT $2",
        );
        self.pool.all(statement.bind(after).bind(limit)).await
    }

    /// Credentials of all workspaces by id, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn directory_credentials(&self, after: &str, limit: i64) -> Result<Vec<Record>> {
        let statement = records!("$1 = ''").bind("").bind(after);
        self.pool.all(statement.bind(self.now_ms()).bind(limit)).await
    }

    /// The consumer that a change speaks of; none if it is suspended or gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn directory_consumer(&self, change: &Change) -> Result<Option<Holder>> {
        let statement = sql(
            "SELECT consumer.id, workspace, workspace.name AS workspace_name, consumer.name, plan, body
             FROM consumer JOIN workspace ON workspace.id = consumer.workspace
             WHERE consumer.id = $1 AND is_suspended = 0",
        );
        Ok(self.pool.all(statement.bind(&*change.consumer)).await?.pop())
    }

    /// The credentials that a change speaks of, by id, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn directory_of(
        &self,
        change: &Change,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Record>> {
        let statement = match (&change.credential, &change.application) {
            (Some(credential), _) => records!("credential.id = $1").bind(&**credential),
            (None, Some(application)) => {
                records!("credential.application = $1").bind(&**application)
            }
            (None, None) => records!("credential.consumer = $1").bind(&*change.consumer),
        };
        let statement = statement.bind(after).bind(self.now_ms()).bind(limit);
        self.pool.all(statement).await
    }
}
