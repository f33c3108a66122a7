//! Slows down whoever guesses credentials: each address and each account may be refused so often per minute.
//!
//! What can be guessed at all, such as a password, is not even looked at beyond that. What cannot, such as a
//! key of 256 random bits or a signature, is: others behind the same address are not locked out with it.
//!
//! Where looking takes long, guesses that come all at once must not all be looked at before the first has failed, nor
//! may one client take the processors of all. So only a few of one address, and of one account, are looked at at the
//! same time ([`Guesses::attempt`]); the others wait in line.

use crate::kind::BuildCtx;
use crate::limit::{Gcra, Rule, Table};
use base::Clock;
use base::caps::{
    FAILURES_PER_ACCOUNT, FAILURES_PER_ADDRESS, FAMILIAR_ADDRESS_S, FAMILIAR_ADDRESSES,
    LOGINS_PER_ACCOUNT, LOGINS_PER_ADDRESS, LOGINS_WAITING_PER_ACCOUNT, LOGINS_WAITING_PER_ADDRESS,
};
use base::network::owner;
use base::units::Rate;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::{Duration, Instant};
use traffic::{Exchange, Fault, FaultCode, Stage, State};

/// Those who wait for their turn.
mod lines;

use lines::{Lines, Seat};

/// The failed attempts of a gateway, shared by all its identity policies.
pub(crate) struct Guesses {
    table: Arc<Table>,
    address: [Rule; 1],
    account: [Rule; 1],
    lines: Arc<Lines<Whose>>,
    /// From which addresses accounts were used with success, and until when that counts.
    familiar: Arc<Cache<(Box<str>, u64), Instant>>,
}

/// Whose attempts are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// The owner of an address.
    Address(u64),
    /// An account as seen by strangers, or from one address from which it was used with success: strangers lock out
    /// strangers only.
    Account(Box<str>, Option<u64>),
}

const MINUTE: Duration = Duration::from_secs(60);

impl Guesses {
    /// Those of the gateway that a policy is built for.
    pub(crate) fn of(ctx: &BuildCtx<'_>) -> Arc<Self> {
        Arc::new(Self::new(ctx.state, ctx.clock))
    }

    /// Those that a state remembers.
    pub(crate) fn new(state: &State, clock: &Clock) -> Self {
        let limit = |count: u32| {
            let rate = Rate { count, period: MINUTE };
            [Rule::of(rate.into(), Gcra::new(rate, count).unwrap_or(Gcra::NEVER))]
        };
        let (address, account) = (limit(FAILURES_PER_ADDRESS), limit(FAILURES_PER_ACCOUNT));
        // The words of both limits are alike.
        let table = state.portable("identity/failures", || Table::new(clock, address.into()));
        let lines = state.cell("identity/lines", Lines::default);
        let familiar = state.cell("identity/familiar", || Cache::new(FAMILIAR_ADDRESSES));
        Self { table, address, account, lines, familiar }
    }

    /// Forgets all attempts.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        self.table.reset_all();
    }

    /// Asks whether a credential that could be guessed may be looked at: the client's address has not failed too
    /// often.
    pub(crate) fn check(&self, exchange: &Exchange) -> Result<(), Fault> {
        address_of(exchange).map_or(Ok(()), |address| self.ask(&address, &self.address))
    }

    /// The same for an account, which is the identifier beside the secret, known or not.
    pub(crate) fn check_account(&self, exchange: &Exchange, account: &str) -> Result<(), Fault> {
        self.ask(&self.account_of(exchange, account), &self.account)
    }

    fn ask(&self, whose: &Whose, limit: &[Rule]) -> Result<(), Fault> {
        let now_ns = self.table.nanoseconds(self.table.now());
        let wait = self.table.peek(self.table.key(whose), limit, 1, now_ns).retry_after;
        wait.map_or(Ok(()), |wait| Err(too_many(wait)))
    }

    fn account_of(&self, exchange: &Exchange, account: &str) -> Whose {
        let owner = owner(exchange.client());
        let account = (Box::from(account), owner);
        let until = self.familiar.get(&account);
        let is_familiar = until.is_some_and(|until| exchange.arrived < until);
        Whose::Account(account.0, is_familiar.then_some(owner))
    }

    /// Waits until it is the turn of an attempt that takes long to judge, by address and account, and asks once more
    /// whether it may be looked at: those before it may have failed.
    ///
    /// # Errors
    /// `too_many_failures`, or `compute_busy` where too many wait.
    pub(crate) async fn attempt(
        &self,
        exchange: &mut Exchange,
        account: &str,
    ) -> Result<Attempt, Fault> {
        let address = address_of(exchange);
        let line = address.clone().unwrap_or(Whose::Address(0));
        let account = self.account_of(exchange, account);
        // In this order, one address has but a few places in the line of an account.
        let limits = (LOGINS_PER_ADDRESS, LOGINS_WAITING_PER_ADDRESS);
        let of_address = self.lines.wait(&line, limits).await.ok_or_else(busy)?;
        let limits = (LOGINS_PER_ACCOUNT, LOGINS_WAITING_PER_ACCOUNT);
        let of_account = self.lines.wait(&account, limits).await.ok_or_else(busy)?;
        self.check(exchange)?;
        self.ask(&account, &self.account)?;
        Ok(Attempt {
            counted: address
                .map(|address| (address, self.address))
                .into_iter()
                .chain([(account, self.account)])
                .collect(),
            table: Arc::clone(&self.table),
            now_ns: self.table.nanoseconds(self.table.now()),
            _seats: [of_address, of_account],
        })
    }

    /// An account was used with success: from now on those who guess elsewhere do not lock it out here.
    pub(crate) fn succeeded(&self, exchange: &Exchange, account: &str) {
        let life = Duration::from_secs(FAMILIAR_ADDRESS_S);
        if let Some(until) = exchange.arrived.checked_add(life) {
            self.familiar.insert((account.into(), owner(exchange.client())), until);
        }
    }

    /// Counts what is a failed attempt, once per request; beyond the limit the client is told to wait.
    pub(crate) fn noted(&self, exchange: &mut Exchange, fault: Fault) -> Fault {
        if fault.code != FaultCode::CredentialsInvalid {
            return fault;
        }
        match self.count(exchange) {
            None => fault,
            Some(wait) => {
                let cause = fault.cause.unwrap_or_else(|| "invalid credentials".into());
                too_many(wait).cause(cause)
            }
        }
    }

    /// Counts a failed attempt of the client's address, unless one of this request was; tells how long to wait if
    /// there were too many.
    pub(crate) fn count(&self, exchange: &mut Exchange) -> Option<Duration> {
        if std::mem::replace(&mut exchange.is_failure_counted, true) {
            return None;
        }
        let now_ns = self.table.nanoseconds(self.table.now());
        let key = self.table.key(&address_of(exchange)?);
        self.table.take(key, &self.address, 1, now_ns).retry_after
    }
}

/// An attempt whose turn it is. The others wait for it to be dropped.
pub(crate) struct Attempt {
    table: Arc<Table>,
    counted: Vec<(Whose, [Rule; 1])>,
    now_ns: u64,
    _seats: [Seat<Whose>; 2],
}

impl Attempt {
    /// Counts it as failed, by address and account, whether or not the client is still there to be told.
    pub(crate) fn failed(&self) {
        for (whose, limit) in &self.counted {
            self.table.take(self.table.key(whose), limit, 1, self.now_ns);
        }
    }
}

/// None over a Unix socket whose peer tells of no client: all who come by it would be counted together, and one of them
/// could lock out the others. Nor do the rights of the peer's process tell them apart, which is a proxy most often.
/// Accounts are counted there all the same.
fn address_of(exchange: &Exchange) -> Option<Whose> {
    exchange.client_ip().map(|address| Whose::Address(owner(address)))
}

fn busy() -> Fault {
    Fault::new(Stage::Guard, FaultCode::ComputeBusy)
        .header(RETRY_AFTER, HeaderValue::from_static("1"))
        .cause("too many passwords of this address or account wait to be checked")
}

fn too_many(wait: Duration) -> Fault {
    let wait_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Fault::new(Stage::Guard, FaultCode::TooManyFailures)
        .header(RETRY_AFTER, HeaderValue::from(wait_s.max(1)))
}
