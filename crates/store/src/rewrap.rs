//! Another master key: the keys of all that is encrypted are encrypted anew, a few at a time. What they encrypt stays as it
//! is, so that it takes as long for large secrets as for small ones, and may be interrupted.

use crate::envelope::{Keys, Sealed, of_credential, of_secret, of_totp};
use crate::sql::sql;
use crate::{Error, Result, Store, Write};
use std::collections::BTreeSet;
use std::path::Path;

/// Where something encrypted is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Secret,
    Credential,
    Totp,
}

/// Something that is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    place: Where,
    id: String,
    /// What it belongs to, for [`Keys`].
    pub of: String,
    /// What is kept.
    pub sealed: Sealed,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    workspace: String,
    name: String,
    master: i64,
    wrapped: Vec<u8>,
    sealed: Vec<u8>,
}

impl Row {
    fn closed(self, place: Where) -> Closed {
        let Self { id, workspace, name, master, wrapped, sealed } = self;
        let of = match place {
            Where::Secret => of_secret(&workspace, &name),
            _ => of_credential(&workspace, &id),
        };
        Closed { place, id, of, sealed: Sealed { master, wrapped, sealed } }
    }
}

const SECRETS: &str = "SELECT id, workspace, name, master, wrapped, sealed FROM secret
    WHERE master < $1 ORDER BY id LIMIT $2";
const CREDENTIALS: &str = "SELECT id, workspace, name, master, wrapped, sealed FROM credential
    WHERE master IS NOT NULL AND master < $1 ORDER BY id LIMIT $2";

impl Store {
    /// What is encrypted with a master key of a lower number, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn closed_before(&self, master: i64, limit: i64) -> Result<Vec<Closed>> {
        let mut closed = Vec::new();
        for (text, place) in [(SECRETS, Where::Secret), (CREDENTIALS, Where::Credential)] {
            let rows: Vec<Row> = self.pool.all(sql(text).bind(master).bind(limit)).await?;
            closed.extend(rows.into_iter().map(|row| row.closed(place)));
        }
        let statement = sql("SELECT id, totp FROM yett_user WHERE totp IS NOT NULL ORDER BY id");
        let users: Vec<(String, Vec<u8>)> = self.pool.all(statement).await?;
        closed.extend(users.into_iter().filter_map(|(id, totp)| {
            let sealed = Sealed::read(&totp).filter(|sealed| sealed.master < master)?;
            Some(Closed { place: Where::Totp, of: of_totp(&id), id, sealed })
        }));
        closed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(closed)
    }

    /// Whether these master keys open what is encrypted: one of each number that is used is tried.
    ///
    /// # Errors
    /// [`Error::Locked`] with the number of a key that is missing,
    /// [`Error::Corrupt`] when a key is another one than that of its number.
    pub async fn keys_check(&self, keys: &Keys) -> Result<()> {
        let statement = "SELECT id, workspace, name, master, wrapped, sealed FROM secret
             WHERE id IN (SELECT MIN(id) FROM secret GROUP BY master)";
        let mut rows: Vec<Closed> = Vec::new();
        for row in self.pool.all::<Row>(sql(statement)).await? {
            rows.push(row.closed(Where::Secret));
        }
        let statement = "SELECT id, workspace, name, master, wrapped, sealed FROM credential
             WHERE id IN (SELECT MIN(id) FROM credential WHERE master IS NOT NULL GROUP BY master)";
        for row in self.pool.all::<Row>(sql(statement)).await? {
            rows.push(row.closed(Where::Credential));
        }
        for closed in rows {
            keys.open(&closed.of, &closed.sealed)?;
        }
        Ok(())
    }

    /// Reads the master keys of a file and looks whether they open what is encrypted. Where nothing is encrypted yet and
    /// there is no such file, it is made.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what helps. The file is never made while something is encrypted.
    pub async fn keys_open(&self, path: &Path) -> std::result::Result<Keys, String> {
        let told = |why: Error| format!("{}: {why}", path.display());
        let Some(keys) = Keys::load(path)? else {
            if self.has_closed().await.map_err(told)? {
                return Err(format!(
                    "{}: the master key is gone, and secrets in the database are encrypted with it; put it back from where it is backed up",
                    path.display()
                ));
            }
            return Keys::make(path);
        };
        self.keys_check(&keys).await.map_err(|why| match why {
            Error::Corrupt(_) => format!(
                "{}: this is not the master key with which secrets in the database are encrypted",
                path.display()
            ),
            why => told(why),
        })?;
        Ok(keys)
    }

    /// The numbers of the master keys with which something is encrypted, from the lowest.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn masters(&self) -> Result<Vec<i64>> {
        let text = "SELECT master FROM secret UNION SELECT master FROM credential WHERE master IS NOT NULL";
        let found: Vec<(i64,)> = self.pool.all(sql(text)).await?;
        let mut all: BTreeSet<i64> = found.into_iter().map(|(master,)| master).collect();
        let statement = sql("SELECT totp FROM yett_user WHERE totp IS NOT NULL");
        let users: Vec<(Vec<u8>,)> = self.pool.all(statement).await?;
        all.extend(users.iter().filter_map(|(totp,)| Some(Sealed::read(totp)?.master)));
        Ok(all.into_iter().collect())
    }

    /// Whether anything is encrypted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_closed(&self) -> Result<bool> {
        Ok(!self.closed_before(i64::MAX, 1).await?.is_empty())
    }
}

impl Write {
    /// Keeps what is encrypted with another master key, unless it was changed meanwhile; whether it was kept.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn rewrap(&mut self, closed: &Closed, sealed: &Sealed) -> Result<bool> {
        let statement = match closed.place {
            Where::Secret => sql(
                "UPDATE secret SET master = $2, wrapped = $3 WHERE id = $1 AND wrapped = $4 AND sealed = $5",
            ),
            Where::Credential => sql(
                "UPDATE credential SET master = $2, wrapped = $3 WHERE id = $1 AND wrapped = $4 AND sealed = $5",
            ),
            Where::Totp => {
                let statement = sql("UPDATE yett_user SET totp = $2 WHERE id = $1 AND totp = $3");
                let statement = statement.bind(&*closed.id).bind(&*sealed.bytes());
                return Ok(self.tx.run(statement.bind(&*closed.sealed.bytes())).await? == 1);
            }
        };
        let statement = statement.bind(&*closed.id).bind(sealed.master).bind(&*sealed.wrapped);
        let statement = statement.bind(&*closed.sealed.wrapped).bind(&*closed.sealed.sealed);
        Ok(self.tx.run(statement).await? == 1)
    }
}
