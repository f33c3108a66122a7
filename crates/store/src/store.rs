use crate::audit::Actor;
use crate::sql::{Pool, Tx, sql};
use crate::{Error, Id, Result, migrate};
use base::Clock;
use base::clock::unix_ms;
use base::secret::Secret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;
use tokio::sync::watch;

/// How many may read at once. There is one who writes to SQLite.
const READERS: u32 = 4;
/// Connections to PostgreSQL.
const CONNECTIONS: u32 = 16;
/// How long to wait for a connection, or for a lock of SQLite.
const PATIENCE: Duration = Duration::from_secs(5);

/// Begins to write to SQLite at once: a transaction that begins by reading could not write later if somebody else has.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// What PostgreSQL ends by itself: waiting for a lock, a statement that takes too long, and the transaction of a process that
/// was paused, so that nobody waits for it.
const LIMITS: [(&str, &str); 3] = [
    ("lock_timeout", "5s"),
    ("statement_timeout", "60s"),
    ("idle_in_transaction_session_timeout", "30s"),
];

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
    /// How many transactions were kept through this store and its clones.
    kept: watch::Sender<u64>,
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
    kept: watch::Sender<u64>,
}

impl Store {
    /// Opens a database and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached or made, or belongs to a newer program.
    pub async fn open(location: &Location, clock: &Clock) -> Result<Self> {
        Self::open_as(location, clock, migrate::NEWEST).await
    }

    /// Opens a database as a program did whose newest schema had this number: for tests of what comes after.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub async fn open_as(location: &Location, clock: &Clock, newest: i64) -> Result<Self> {
        let store = Self::connect(location, clock, true).await?;
        migrate::up_to(&store, newest).await?;
        Ok(store)
    }

    /// Opens a database that is there and of this program's schema, and changes nothing of that: for what looks at it beside
    /// the process that serves by it.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none, [`Error::Older`] or [`Error::Newer`] when it is of another program's schema;
    /// when it cannot be reached.
    pub async fn open_there(location: &Location, clock: &Clock) -> Result<Self> {
        if let Location::Sqlite(path) = location
            && !std::fs::metadata(path).is_ok_and(|about| about.len() > 0)
        {
            return Err(Error::Missing);
        }
        let store = Self::connect(location, clock, false).await?;
        match store.schema().await {
            Ok(migrate::NEWEST) => Ok(store),
            found => {
                store.close().await;
                Err(match found {
                    Ok(0) => Error::Missing,
                    Ok(older) if older < migrate::NEWEST => Error::Older(older),
                    Ok(newer) => Error::Newer(newer),
                    Err(error) => error,
                })
            }
        }
    }

    /// The number of the schema that is there; 0 of an empty database.
    async fn schema(&self) -> Result<i64> {
        let text = match &self.pool {
            Pool::Sqlite { .. } => "SELECT COUNT(*) FROM sqlite_master WHERE name = 'migration'",
            Pool::Postgres(_) => "SELECT COUNT(to_regclass('migration'))",
        };
        let (is_there,): (i64,) = self.pool.one(sql(text)).await?;
        if is_there == 0 {
            return Ok(0);
        }
        let text = "SELECT COALESCE(MAX(number), 0) FROM migration";
        let (number,): (i64,) = self.pool.one(sql(text)).await?;
        Ok(number)
    }

    /// Whether the file of an SQLite database is as SQLite writes it.
    pub(crate) async fn look(&self) -> Result<()> {
        if matches!(self.pool, Pool::Postgres(_)) {
            return Ok(());
        }
        let (said,): (String,) = self.pool.one(sql("PRAGMA integrity_check")).await?;
        if said == "ok" { Ok(()) } else { Err(Error::Corrupt(said)) }
    }

    /// Opens a database as it is; one that is missing is made if it may be.
    pub(crate) async fn connect(location: &Location, clock: &Clock, is_made: bool) -> Result<Self> {
        let pool = match location {
            Location::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(is_made)
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
                    .map_err(|_| Error::Unavailable("it is no URL of PostgreSQL".to_owned()))?
                    .options(LIMITS);
                let pool = PgPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(PATIENCE)
                    .connect_with(options)
                    .await?;
                Pool::Postgres(pool)
            }
        };
        Ok(Self { pool, clock: clock.clone(), kept: watch::Sender::new(0) })
    }

    /// Begins a transaction on behalf of somebody.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn write(&self, actor: Actor) -> Result<Write> {
        let tx = self.begin().await?;
        let at_ms = self.now_ms();
        Ok(Write { tx, actor, at_ms, clock: self.clock.clone(), kept: self.kept.clone() })
    }

    /// Changes whenever something was kept through this store or a clone of it, for who follows the outbox without
    /// waiting. What other processes write does not show here.
    #[must_use]
    pub fn kept(&self) -> watch::Receiver<u64> {
        self.kept.subscribe()
    }

    pub(crate) async fn begin(&self) -> Result<Tx> {
        Ok(match &self.pool {
            Pool::Sqlite { writer, .. } => Tx::Sqlite(match writer.begin_with(BEGIN).await {
                // SQLite ends transactions by itself where the disk fails, and the connection does not notice.
                Err(sqlx::Error::InvalidSavePointStatement) => {
                    writer.acquire().await?.close().await?;
                    writer.begin_with(BEGIN).await?
                }
                begun => begun?,
            }),
            Pool::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Begins to read what is there at one moment, however long that takes.
    pub(crate) async fn begin_snapshot(&self) -> Result<Tx> {
        Ok(match &self.pool {
            Pool::Sqlite { readers, .. } => Tx::Sqlite(readers.begin().await?),
            Pool::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                let mut tx = Tx::Postgres(pool.begin_with(begin).await?);
                // Who writes a dump somewhere may be slow.
                tx.run(sql("SET LOCAL idle_in_transaction_session_timeout = 0")).await?;
                tx
            }
        })
    }

    /// The time of now, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        i64::try_from(unix_ms(self.clock.wall())).unwrap_or(i64::MAX)
    }

    /// An id that nothing has.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new_id(&self) -> Result<String> {
        Ok(Id::new(self.clock.wall())?.to_string())
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
        self.tx.commit().await?;
        self.kept.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }
}
