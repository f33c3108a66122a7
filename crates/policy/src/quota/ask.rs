//! Who asks for how much of a quota, and what came of it.

use super::shard::{TOLD, TOLD_80, TOLD_100};

/// Of a shared quota gateways have shares of what is left as soon as that is this part of it.
const NEAR_PART: u64 = 10;
/// A gateway uses no more than this part of its share at a time. What it knows of others may be a round old when it hears of
/// it: were it less than a fourth, what all have used would run past the end before they knew.
const UNHEARD_PARTS: u64 = 4;
/// Who uses quotas, hashed with a secret: outsiders cannot find two that meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder(pub(crate) [u64; 2]);
/// A holder and a calendar.
pub(super) type Key = [u64; 2];
/// What the keys of holders begin with whom outsiders choose; of others one in 65,536 does.
pub(super) const OUTSIDE: u64 = 0xa5c3;
/// Bits of a key behind that.
pub(super) const OUTSIDE_BITS: u32 = 48;

pub(super) const fn is_outside(key: Key) -> bool {
    key[0] >> OUTSIDE_BITS == OUTSIDE
}

impl Holder {
    /// The same, as one whom outsiders choose.
    pub(crate) const fn outside(self) -> Self {
        let rest = self.0[0] & (u64::MAX >> (u64::BITS - OUTSIDE_BITS));
        Self([OUTSIDE << OUTSIDE_BITS | rest, self.0[1]])
    }

    pub(super) const fn key(self, calendar: u64) -> Key {
        [self.0[0], self.0[1] ^ calendar]
    }
}

/// What a request asks of one quota, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(super) calendar: u64,
    /// When the window has ended, in seconds since 1970.
    pub(crate) ends_s: u64,
    /// How much the quota allows.
    pub(crate) amount: u64,
    pub(super) cost: u64,
    /// How much of it is told to other gateways; nothing where none share it.
    pub(super) own: u64,
    /// How much is used, with what was asked if it was counted.
    pub(crate) used: u64,
    /// What is to be told for the first time.
    pub(super) tells: u64,
    pub(super) is_too_much: bool,
}

impl Ask {
    pub(crate) const fn new(calendar: u64, ends_s: u64, amount: u64, cost: u64) -> Self {
        Self { calendar, ends_s, amount, cost, own: 0, used: 0, tells: 0, is_too_much: false }
    }

    /// The same, of a count that others share. While they cannot be heard, each counts for so many: it costs as many times
    /// as much, but not so much that nothing would pass any more.
    pub(crate) fn shared(mut self, gateways: u64) -> Self {
        self.own = self.cost;
        if self.cost <= self.amount {
            self.cost = self.cost.saturating_mul(gateways).min(self.amount);
        }
        self
    }

    /// How much more would pass now.
    pub(crate) const fn remaining(&self) -> u64 {
        self.amount.saturating_sub(self.used)
    }

    /// The count of a holder.
    pub(super) const fn key(&self, holder: Holder) -> Key {
        holder.key(self.calendar)
    }

    /// Whether so little is left that what passes elsewhere meanwhile matters.
    pub(crate) const fn is_near(&self) -> bool {
        self.remaining() <= self.amount / NEAR_PART
    }

    /// Whether this gateway, with this request, has used more than its share of what was left when it heard of the others:
    /// `since` is what it has used after that. The first request always may, so that all is used in the end.
    pub(crate) fn outruns(&self, since: u64, gateways: u64) -> bool {
        let left = self.remaining().saturating_add(since);
        let parts = gateways.saturating_mul(UNHEARD_PARTS);
        self.cost > 0 && since > self.own && since.saturating_mul(parts) > left
    }

    /// The same once it was given back.
    pub(crate) const fn refused(mut self, is_too_much: bool) -> Self {
        self.used = self.used.saturating_sub(self.cost);
        (self.is_too_much, self.tells) = (is_too_much, 0);
        self
    }

    /// What the request costs.
    pub(crate) const fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether this quota had no room for it.
    pub(crate) const fn is_too_much(&self) -> bool {
        self.is_too_much
    }

    /// How many percent it has reached for the first time in this window.
    pub(crate) const fn crossed(&self) -> Option<u8> {
        match self.tells {
            0 => None,
            tells if tells & TOLD_100 != 0 => Some(100),
            _ => Some(80),
        }
    }

    /// What should have been told by now.
    pub(super) fn due(&self) -> u64 {
        let (used, amount) = (u128::from(self.used) * 100, u128::from(self.amount));
        let all = if used >= amount * 100 || self.is_too_much { TOLD } else { 0 };
        let most = if used >= amount * 80 { TOLD_80 } else { 0 };
        all | most
    }
}
