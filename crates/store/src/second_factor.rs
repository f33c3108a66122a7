//! Second factors: the seed of one-time passwords of a user, encrypted, and hashes of codes that work without it.

use crate::audit::Deed;
use crate::envelope::Sealed;
use crate::sql::sql;
use crate::{Error, Result, Store, Write};

/// A second factor.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SecondFactor {
    /// The id of the user.
    pub holder: String,
    /// The seed, encrypted: see [`Sealed::read`](crate::envelope::Sealed::read).
    pub totp: Vec<u8>,
    /// 1 once a password that comes of it was shown: from then on it is asked for.
    pub is_confirmed: i64,
    /// The step of time of the last password that was taken.
    pub step: i64,
    /// SHA-256 of codes that each work once, as a JSON list of hexadecimal digits.
    pub codes: String,
}

impl Write {
    /// Keeps a new seed that is not confirmed yet, in place of another such.
    ///
    /// # Errors
    /// [`Error::Taken`] when there is one that is confirmed, [`Error::Bound`] when there is no such user.
    pub async fn second_factor_begin(&mut self, holder: &str, seed: &Sealed) -> Result<()> {
        let statement = sql(
            "INSERT INTO second_factor (holder, is_confirmed, step, codes, created_ms) VALUES ($1, 0, 0, '[]', $2)
             ON CONFLICT (holder) DO UPDATE SET created_ms = $2 WHERE second_factor.is_confirmed = 0",
        );
        if self.tx.run(statement.bind(holder).bind(self.at_ms)).await? == 0 {
            return Err(Error::Taken);
        }
        let statement = sql("UPDATE yett_user SET totp = $2 WHERE id = $1");
        self.tx.run(statement.bind(holder).bind(&*seed.bytes())).await?;
        self.second_factor_note("begin", holder).await
    }

    /// Asks for it from now on; `codes` work without it.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none that is not confirmed.
    pub async fn second_factor_confirm(
        &mut self,
        holder: &str,
        step: i64,
        codes: &str,
    ) -> Result<()> {
        let statement = sql("UPDATE second_factor SET is_confirmed = 1, step = $2, codes = $3
             WHERE holder = $1 AND is_confirmed = 0");
        let statement = statement.bind(holder).bind(step).bind(codes);
        if self.tx.run(statement).await? == 0 {
            return Err(Error::Missing);
        }
        self.second_factor_note("confirm", holder).await
    }

    /// Takes a password of a step of time, if none of it or of a later one was taken before; whether that is so.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn second_factor_step(&mut self, holder: &str, step: i64) -> Result<bool> {
        let statement = sql("UPDATE second_factor SET step = $2 WHERE holder = $1 AND step < $2");
        Ok(self.tx.run(statement.bind(holder).bind(step)).await? == 1)
    }

    /// Leaves these codes of those that there were; whether there were still those.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn second_factor_codes(
        &mut self,
        holder: &str,
        were: &str,
        left: &str,
    ) -> Result<bool> {
        let statement = sql("UPDATE second_factor SET codes = $3 WHERE holder = $1 AND codes = $2");
        let is_done = self.tx.run(statement.bind(holder).bind(were).bind(left)).await? == 1;
        if is_done {
            self.second_factor_note("use_code", holder).await?;
        }
        Ok(is_done)
    }

    /// Takes it out: it is asked for no more.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none.
    pub async fn second_factor_delete(&mut self, holder: &str) -> Result<()> {
        let statement = sql("DELETE FROM second_factor WHERE holder = $1");
        if self.tx.run(statement.bind(holder)).await? == 0 {
            return Err(Error::Missing);
        }
        self.tx.run(sql("UPDATE yett_user SET totp = NULL WHERE id = $1").bind(holder)).await?;
        self.second_factor_note("delete", holder).await
    }

    async fn second_factor_note(&mut self, action: &'static str, subject: &str) -> Result<()> {
        let noun = "second_factor";
        self.note(&Deed { workspace: None, action, noun, subject, was: None, became: None }).await
    }
}

impl Store {
    /// The second factor of a user, if there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn second_factor(&self, holder: &str) -> Result<Option<SecondFactor>> {
        let statement = sql("SELECT holder, totp, is_confirmed, step, codes FROM second_factor
             JOIN yett_user ON yett_user.id = holder WHERE holder = $1 AND totp IS NOT NULL");
        Ok(self.pool.all(statement.bind(holder)).await?.pop())
    }
}
