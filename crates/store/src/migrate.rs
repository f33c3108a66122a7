use crate::sql::{Pool, Tx, sql};
use crate::{Error, Result, Store};

/// Changes of the schema in the order of their numbers, which begin at 1. What is here is never changed again.
const STEPS: &[&str] = &[
    include_str!("../migrations/0001_begin.sql"),
    include_str!("../migrations/0002_records.sql"),
    include_str!("../migrations/0003_search.sql"),
    include_str!("../migrations/0004_second_factor.sql"),
    include_str!("../migrations/0005_lists.sql"),
];

/// The number of the newest schema.
pub const NEWEST: i64 = STEPS.len() as i64;

/// Keeps two processes from changing the schema of one PostgreSQL at once: any number that nobody else locks.
const LOCK: i64 = 0x7965_7474;

/// What a database calls the things between `@`.
fn worded(step: &str, is_postgres: bool) -> String {
    let words = if is_postgres {
        ["BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "(pg_current_xact_id()::text::bigint)"]
    } else {
        ["INTEGER PRIMARY KEY AUTOINCREMENT", "0"]
    };
    let [identity, transaction] = words;
    step.replace("@identity@", identity).replace("@transaction@", transaction)
}

/// Brings the schema up to a number, in one transaction.
pub(crate) async fn up_to(store: &Store, newest: i64) -> Result<()> {
    let mut tx = store.begin().await?;
    alone(&mut tx).await?;
    let present = present(&mut tx).await?;
    if present > NEWEST {
        return Err(Error::Newer(present));
    }
    steps(&mut tx, store, (present, newest)).await?;
    tx.commit().await
}

/// Keeps other processes from changing the schema until the end of a transaction. SQLite has one writer.
pub(crate) async fn alone(tx: &mut Tx) -> Result<()> {
    if matches!(tx, Tx::Postgres(_)) {
        let text = "SELECT 1::BIGINT FROM (SELECT pg_advisory_xact_lock($1)) AS locked";
        tx.one::<(i64,)>(sql(text).bind(LOCK)).await?;
    }
    Ok(())
}

/// Brings the schema from one number to another.
pub(crate) async fn steps(tx: &mut Tx, store: &Store, (present, newest): (i64, i64)) -> Result<()> {
    let is_postgres = matches!(store.pool, Pool::Postgres(_));
    for (number, step) in (1..).zip(STEPS).skip(usize::try_from(present).unwrap_or(0)) {
        if number > newest {
            break;
        }
        tx.script(worded(step, is_postgres)).await?;
        let note = sql("INSERT INTO migration (number, at_ms) VALUES ($1, $2)");
        tx.run(note.bind(number).bind(store.now_ms())).await?;
    }
    Ok(())
}

/// The number of the schema that is there; 0 of an empty database.
pub(crate) async fn present(tx: &mut Tx) -> Result<i64> {
    let made = "CREATE TABLE IF NOT EXISTS migration (number BIGINT NOT NULL PRIMARY KEY, at_ms BIGINT NOT NULL)";
    tx.run(sql(made)).await?;
    let (number,): (i64,) = tx.one(sql("SELECT COALESCE(MAX(number), 0) FROM migration")).await?;
    Ok(number)
}
