//! How long the audit trail is kept. What goes is its beginning: what is left is verified from the seal of the last row that
//! went, and that it went is in the trail itself.

use crate::audit::Deed;
use crate::backup::hexadecimal;
use crate::sql::{Sql, sql};
use crate::{Result, Store, Write};
use serde_json::{Value, json};

/// Where it is kept up to where rows are gone: beside settings, and none of them.
const NAME: &str = "audit base";
/// Rows taken out in one transaction.
const PURGED_MAX: i64 = 10_000;
/// What is noted of it in the trail.
const ACTION: &str = "purge";

/// The last row that is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    /// Its place in the chain; 0 where none is gone.
    pub(crate) sequence: i64,
    /// Its seal.
    pub(crate) seal: Vec<u8>,
}

impl Base {
    fn body(&self) -> String {
        json!({ "sequence": self.sequence, "seal": hexadecimal(&self.seal) }).to_string()
    }

    fn read(body: &str) -> Option<Self> {
        let body: Value = serde_json::from_str(body).ok()?;
        let seal = crate::restore::bytes_of(body.get("seal")?.as_str()?)?;
        Some(Self { sequence: body.get("sequence")?.as_i64()?, seal })
    }
}

fn kept() -> Sql {
    sql("SELECT body FROM setting WHERE name = $1").bind(NAME)
}

const OLDEST: &str = "SELECT sequence, at_ms, seal FROM audit
    WHERE sequence > $1 AND sequence < (SELECT MAX(sequence) FROM audit) ORDER BY sequence LIMIT $2";

/// Place, time and seal of a row.
type Sealed = (i64, i64, Vec<u8>);

impl Write {
    /// Takes out the beginning of the trail, as far as it is sealed and older than this, but never its last row; how many rows.
    /// Only who holds the lease for sealing may do so.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn audit_purge(&mut self, before_ms: i64) -> Result<u64> {
        let bodies: Vec<(String,)> = self.tx.all(kept()).await?;
        let base = bodies.first().and_then(|(body,)| Base::read(body)).unwrap_or_default();
        let oldest = |limit: i64| sql(OLDEST).bind(base.sequence).bind(limit);
        let is_old = |(_, at_ms, _): &Sealed| *at_ms < before_ms;
        // Most often there is nothing to be done.
        if !self.tx.all::<Sealed>(oldest(1)).await?.iter().any(is_old) {
            return Ok(0);
        }
        let rows: Vec<Sealed> = self.tx.all(oldest(PURGED_MAX)).await?;
        let Some((sequence, _, seal)) = rows.into_iter().take_while(is_old).last() else {
            return Ok(0);
        };
        let became = Base { sequence, seal }.body();
        let statement = sql("DELETE FROM audit WHERE sequence <= $1").bind(sequence);
        let count = self.tx.run(statement).await?;
        let statement = sql("INSERT INTO setting (name, body, revision, updated_ms) VALUES ($1, $2, 1, $3)
             ON CONFLICT (name) DO UPDATE SET body = $2, revision = setting.revision + 1, updated_ms = $3");
        let statement = statement.bind(NAME).bind(&*became).bind(self.at_ms);
        self.tx.run(statement).await?;
        let was = bodies.first().map(|(body,)| &**body);
        let became = Some(&*became);
        let deed =
            Deed { workspace: None, action: ACTION, noun: "audit", subject: "", was, became };
        self.note(&deed).await?;
        Ok(count)
    }
}

impl Store {
    /// The last row that is gone, if the trail says that it went; else it is as if none were.
    pub(crate) async fn audit_base(&self) -> Result<Base> {
        let bodies: Vec<(String,)> = self.pool.all(kept()).await?;
        let Some((body,)) = bodies.first() else { return Ok(Base::default()) };
        let noted =
            sql("SELECT COUNT(*) FROM audit WHERE noun = 'audit' AND action = $1 AND became = $2");
        let (count,): (i64,) = self.pool.one(noted.bind(ACTION).bind(&**body)).await?;
        Ok(Base::read(body).filter(|_| count > 0).unwrap_or_default())
    }
}
