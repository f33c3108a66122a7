use crate::audit::Actor;
use crate::sql::{Pool, Tx};
use crate::{Error, Result, migrate};
use base::Clock;
use base::clock::unix_ms;
use base::secret::Secret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

/// How many may read at once. There is one who writes to SQLite.
const READERS: u32 = 4;
/// Connections to PostgreSQL.
const CONNECTIONS: u32 = 16;
/// How long to wait for a connection, or for a lock of SQLite.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file, made when it is missing.
    Sqlite(PathBuf),
    /// A URL: `postgres://user:password@host/name`.
    Postgres(Secret),
}

/// A database of this program's schema.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
}

/// One transaction: all that is written through it, with what the audit trail and the outbox say of it, or nothing.
///
/// Nothing is kept unless [`commit`](Self::commit) succeeds.
#[derive(Debug)]
pub struct Write {
    pub(crate) tx: Tx,
    pub(crate) actor: Actor,
    pub(crate) at_ms: i64,
    pub(crate) clock: Clock,
}

impl Store {
    /// Opens a database and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached or made, or belongs to a newer program.
    pub async fn open(location: &Location, clock: &Clock) -> Result<Self> {
        let pool = match location {
            Location::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    // What was acknowledged outlives a loss of power.
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .busy_timeout(PATIENCE);
                let pool = |count| {
                    SqlitePoolOptions::new().max_connections(count).acquire_timeout(PATIENCE)
                };
                let writer = pool(1).connect_with(options.clone()).await?;
                let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "on"));
                Pool::Sqlite { writer, readers }
            }
            Location::Postgres(url) => {
                let options = PgConnectOptions::from_str(url.reveal())
                    .map_err(|_| Error::Unavailable("it is no URL of PostgreSQL".to_owned()))?;
                let pool = PgPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(PATIENCE)
                    .connect_with(options)
                    .await?;
                Pool::Postgres(pool)
            }
        };
        let store = Self { pool, clock: clock.clone() };
        migrate::run(&store).await?;
        Ok(store)
    }

    /// Begins a transaction on behalf of somebody.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn write(&self, actor: Actor) -> Result<Write> {
        let tx = self.begin().await?;
        let at_ms = self.now_ms();
        Ok(Write { tx, actor, at_ms, clock: self.clock.clone() })
    }

    pub(crate) async fn begin(&self) -> Result<Tx> {
        Ok(match &self.pool {
            // Taken at once: a transaction that begins by reading could not write later if somebody else has.
            Pool::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Pool::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(unix_ms(self.clock.wall())).unwrap_or(i64::MAX)
    }

    /// Waits until all connections are closed.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

impl Write {
    /// When it began, in milliseconds since 1970.
    #[must_use]
    pub const fn at_ms(&self) -> i64 {
        self.at_ms
    }

    /// Keeps what was written. From then on it is not lost.
    ///
    /// # Errors
    /// When nothing of it could be kept.
    pub async fn commit(self) -> Result<()> {
        self.tx.commit().await
    }
}
