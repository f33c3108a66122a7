//! Slows down whoever guesses credentials: each address and each account may be refused so often per minute.
//!
//! What can be guessed at all, such as a password, is not even looked at beyond that. What cannot, such as a
//! key of 256 random bits or a signature, is: others behind the same address are not locked out with it.

use crate::kind::BuildCtx;
use crate::kinds::rate_limit::cell::{Cell, Gcra};
use base::Clock;
use base::caps::{FAILURES_PER_ACCOUNT, FAILURES_PER_ADDRESS};
use base::network::owner;
use base::units::Rate;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use std::sync::Arc;
use std::time::Duration;
use traffic::{Exchange, Fault, FaultCode, Stage, State};

/// The failed attempts of a gateway, shared by all its identity policies.
pub(crate) struct Guesses {
    cell: Arc<Cell>,
    address: Gcra,
    account: Gcra,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Guesses {
    /// Those of the gateway that a policy is built for.
    pub(crate) fn of(ctx: &BuildCtx<'_>) -> Arc<Self> {
        Arc::new(Self::new(ctx.state, ctx.clock))
    }

    /// Those that a state remembers.
    pub(crate) fn new(state: &State, clock: &Clock) -> Self {
        let cell = state.portable("identity/failures", || Cell::new(clock));
        let limit = |count: u32| {
            let rate = Rate { count, period: MINUTE };
            Gcra::new(rate, count).unwrap_or(Gcra::NEVER)
        };
        let (address, account) = (limit(FAILURES_PER_ADDRESS), limit(FAILURES_PER_ACCOUNT));
        Self { cell, address, account }
    }

    /// Asks whether a credential that could be guessed may be looked at: neither the client's address nor the
    /// account (the identifier beside the secret, known or not) has failed too often.
    pub(crate) fn check(&self, exchange: &Exchange, account: Option<&str>) -> Result<(), Fault> {
        let now_ns = self.cell.nanoseconds(exchange.arrived);
        let address = ("address", owner(exchange.client()));
        let mut wait = self.cell.peek(&address, self.address, now_ns).retry_after;
        if let Some(account) = account {
            let account = self.cell.peek(&("account", account), self.account, now_ns);
            wait = wait.max(account.retry_after);
        }
        wait.map_or(Ok(()), |wait| Err(too_many(wait)))
    }

    /// Counts a failed attempt on an account. The address is counted by [`Guesses::noted`].
    pub(crate) fn failed_on(&self, exchange: &Exchange, account: &str) {
        let now_ns = self.cell.nanoseconds(exchange.arrived);
        self.cell.take(&("account", account), self.account, now_ns);
    }

    /// Counts what is a failed attempt; beyond the limit the client is told to wait.
    pub(crate) fn noted(&self, exchange: &Exchange, fault: Fault) -> Fault {
        if fault.code != FaultCode::CredentialsInvalid {
            return fault;
        }
        let now_ns = self.cell.nanoseconds(exchange.arrived);
        let address = ("address", owner(exchange.client()));
        match self.cell.take(&address, self.address, now_ns).retry_after {
            None => fault,
            Some(wait) => {
                let cause = fault.cause.unwrap_or_else(|| "invalid credentials".into());
                too_many(wait).cause(cause)
            }
        }
    }
}

fn too_many(wait: Duration) -> Fault {
    let wait_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Fault::new(Stage::Guard, FaultCode::TooManyFailures)
        .header(RETRY_AFTER, HeaderValue::from(wait_s.max(1)))
}
