//! What one process does for all that use a database: sealing the audit trail, and taking out what has expired.

use crate::{Caller, Control, Problem, problem};
use std::time::Duration;
use store::Write;
use store::lease::Lease;

const NOUN: &str = "upkeep";
const DAY_MS: i64 = 86_400_000;
/// How long a process has the work if it does not ask again.
const LENGTH: Duration = Duration::from_secs(60);
/// How often it should ask.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(10);

impl Control {
    /// Does what one process does for all, if this is the one: seals the audit trail, and takes out what has expired. `holder` is
    /// the name of this process, which no other has. Call it every [`UPKEEP_EVERY`]; whether this process did the work.
    ///
    /// # Errors
    /// When the database cannot be used. What was done stays done.
    pub async fn upkeep(&self, holder: &str) -> Result<bool, Problem> {
        let of = problem::of;
        loop {
            // Asking again extends it.
            let lease = self.store.lease_take(NOUN, holder, LENGTH).await.map_err(of(NOUN))?;
            let Some(lease) = lease else { return Ok(false) };
            let Some(mut write) = self.hold(&lease).await? else { return Ok(false) };
            let sealed = write.audit_seal().await.map_err(of(NOUN))?;
            write.commit().await.map_err(of(NOUN))?;
            if sealed > 0 {
                continue;
            }
            if self.purge(&lease).await? > 0 {
                continue;
            }
            let Some(mut write) = self.hold(&lease).await? else { return Ok(false) };
            write.login_sweep().await.map_err(of(NOUN))?;
            write.idempotency_purge().await.map_err(of(NOUN))?;
            write.outbox_purge().await.map_err(of(NOUN))?;
            write.commit().await.map_err(of(NOUN))?;
            return Ok(true);
        }
    }

    /// Takes out the beginning of the audit trail where it is not kept for ever; how many rows. Only whole days go, so that
    /// what is noted of it once a day does not fill the trail.
    async fn purge(&self, lease: &Lease) -> Result<u64, Problem> {
        let days = self.setting_number("audit_days").await?;
        if days == 0 {
            return Ok(0);
        }
        let (_, now_ms) = self.now();
        let before_ms = (now_ms / DAY_MS).saturating_sub(days).saturating_mul(DAY_MS);
        let Some(mut write) = self.hold(lease).await? else { return Ok(0) };
        let count = write.audit_purge(before_ms).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(count)
    }

    /// A transaction of the work, if nobody has taken it over.
    async fn hold(&self, lease: &Lease) -> Result<Option<Write>, Problem> {
        let mut write = self.write(&Caller::system(NOUN)).await?;
        match write.lease_hold(lease).await {
            Ok(()) => Ok(Some(write)),
            Err(store::Error::Changed(_)) => Ok(None),
            Err(error) => Err(problem::of(NOUN)(error)),
        }
    }
}
