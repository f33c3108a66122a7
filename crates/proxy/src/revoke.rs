//! Ends exchanges under way whose credential, or client certificate, is revoked or expires: an open stream must not
//! outlive the right to it.
//!
//! Whoever waits in an exchange that somebody was identified for leaves word with its worker. The worker looks several
//! times a second whether the directory has changed or somebody's time is over, and only then wakes them to look for
//! themselves. Requests that need not wait, and those of nobody, know nothing of it.

use crate::client_certificate;
use crate::gateway::Worker;
use base::Clock;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};
use traffic::directory::Credential;
use traffic::exchange::Connection;
use traffic::{Exchange, Fault, FaultCode, Stage};

/// Those of one worker who wait. Only its own tasks come here, so the lock is never waited for.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<List>);

#[derive(Default)]
struct List {
    places: Vec<Option<Waiting>>,
    free: Vec<usize>,
    /// The gateway's at the last look.
    epoch: u64,
    /// No place's time is over sooner.
    soonest: Option<SystemTime>,
}

struct Waiting {
    waker: Waker,
    until: Option<SystemTime>,
}

impl Watchers {
    /// Wakes those who have to look for themselves: all if credentials have changed, otherwise those whose time is over.
    pub(crate) fn look(&self, epoch: u64, wall: SystemTime) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = list.epoch != epoch;
        list.epoch = epoch;
        if !has_changed && list.soonest.is_none_or(|soonest| soonest > wall) {
            return;
        }
        let mut soonest: Option<SystemTime> = None;
        for waiting in list.places.iter().flatten() {
            if has_changed || waiting.until.is_some_and(|until| until <= wall) {
                waiting.waker.wake_by_ref();
            }
            if let Some(until) = waiting.until.filter(|until| *until > wall) {
                soonest = Some(soonest.map_or(until, |soonest| soonest.min(until)));
            }
        }
        list.soonest = soonest;
    }

    fn enter(&self, waiting: Waiting, place: Option<usize>) -> usize {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = waiting.until {
            list.soonest = Some(list.soonest.map_or(until, |soonest| soonest.min(until)));
        }
        let place = place.or_else(|| list.free.pop()).unwrap_or(list.places.len());
        match list.places.get_mut(place) {
            Some(taken) => *taken = Some(waiting),
            None => list.places.push(Some(waiting)),
        }
        place
    }

    fn leave(&self, place: usize) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = list.places.get_mut(place) {
            *taken = None;
            list.free.push(place);
        }
        if list.free.len() == list.places.len() {
            // A rush is over: its room is given back.
            *list = List { epoch: list.epoch, ..List::default() };
        }
    }
}

/// Keeps an eye on what was shown in an exchange to prove who calls.
pub(crate) struct Watch {
    worker: Arc<Worker>,
    credential: Option<Arc<Credential>>,
    others: Vec<Arc<Credential>>,
    /// The connection by which a client certificate was shown, and to which host.
    shown_to: Option<Box<(Arc<Connection>, Arc<str>)>>,
    until: Option<SystemTime>,
    /// [`Exchange::valid_until`], by which this is known to be about the same.
    valid_until: Option<SystemTime>,
    /// When the certificate is to be looked at anew: a list of those that are revoked ends.
    again: Option<SystemTime>,
    /// The gateway's epoch when all was last found good.
    seen: Option<u64>,
    place: Option<(usize, Waker)>,
}

impl Watch {
    /// There is nothing to watch where nobody was identified, or by nothing that can end.
    pub(crate) fn new(worker: &Arc<Worker>, exchange: &Exchange) -> Option<Self> {
        let certificate = until_certificate_ends(worker, exchange);
        let until = exchange.valid_until.into_iter().chain(certificate).min();
        let credential = exchange.credential.clone();
        let is_lasting = credential.is_none() && until.is_none();
        // Whoever is refused is told so to the end.
        if is_lasting || exchange.record.fault.is_some() {
            return None;
        }
        let shown_to = certificate.map(|_| {
            Box::new((Arc::clone(&exchange.connection), Arc::clone(&exchange.request.host)))
        });
        let others = exchange.other_credentials.clone();
        let mut watch = Self {
            worker: Arc::clone(worker),
            credential,
            others,
            shown_to,
            until,
            valid_until: exchange.valid_until,
            again: None,
            seen: None,
            place: None,
        };
        watch.again = watch.list_ends();
        Some(watch)
    }

    /// Has it watch what was shown in an exchange so far.
    pub(crate) fn follow(watch: &mut Option<Self>, worker: &Arc<Worker>, exchange: &Exchange) {
        let is_same = match watch {
            Some(watch) => {
                let credentials = (&watch.credential, &exchange.credential);
                let is_same = match credentials {
                    (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                    (one, other) => one.is_none() && other.is_none(),
                };
                is_same
                    && watch.others.len() == exchange.other_credentials.len()
                    && watch.valid_until == exchange.valid_until
            }
            None => {
                exchange.credential.is_none()
                    && exchange.valid_until.is_none()
                    && exchange.client_certificate().is_none()
            }
        };
        if !is_same {
            *watch = Self::new(worker, exchange);
        }
    }

    /// Whether something of it is good no more.
    pub(crate) fn is_over(&mut self) -> bool {
        let gateway = &self.worker.gateway;
        let wall = gateway.clock.wall();
        if self.until.is_some_and(|until| until <= wall) {
            return true;
        }
        let epoch = gateway.epoch();
        let is_again = self.again.is_some_and(|again| again <= wall);
        if self.seen == Some(epoch) && !is_again {
            return false;
        }
        self.seen = Some(epoch);
        let mut until = self.until;
        for credential in self.credential.iter().chain(&self.others) {
            let Some(now) = gateway.directory.standing(credential, wall) else { return true };
            until = until.into_iter().chain(now.until).min();
        }
        if !self.is_certificate_good() {
            return true;
        }
        let again = self.list_ends();
        if (until, again) != (self.until, self.again) {
            (self.until, self.again) = (until, again);
            self.move_end();
        }
        false
    }

    /// When the next list ends of those that say which client certificates are revoked. Such lists are good by the
    /// system's clock.
    fn list_ends(&self) -> Option<SystemTime> {
        let (connection, host) = self.shown_to.as_deref()?;
        let snapshot = self.worker.gateway.snapshot.load();
        let tls = snapshot.listener(&connection.listener)?.tls.as_deref()?;
        let now = Clock::System.wall();
        let now_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let end_s = tls.demands(host).filter_map(|auth| auth.list_ends_s(now_s)).min()?;
        let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end_s))?;
        self.worker.gateway.clock.wall().checked_add(end.duration_since(now).unwrap_or_default())
    }

    /// When this is to be asked again.
    fn next(&self) -> Option<SystemTime> {
        self.until.into_iter().chain(self.again).min()
    }

    /// Whether the client certificate is enough for what is demanded of clients now.
    fn is_certificate_good(&self) -> bool {
        let Some((connection, host)) = self.shown_to.as_deref() else { return true };
        let snapshot = self.worker.gateway.snapshot.load();
        let listener = snapshot.listener(&connection.listener);
        let tls = listener.and_then(|listener| listener.tls.as_deref());
        let shown = connection.tls.as_ref().and_then(|tls| tls.client.as_deref());
        client_certificate::is_enough(tls, host, shown)
    }

    /// Its time is over sooner than was said when it began to wait.
    fn move_end(&self) {
        if let Some((place, waker)) = &self.place {
            let waiting = Waiting { waker: waker.clone(), until: self.next() };
            self.worker.watchers.enter(waiting, Some(*place));
        }
    }

    /// The task is going to wait, and wants to be woken when it has to ask [`Watch::is_over`].
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        let place = match &self.place {
            Some((_, waker)) if waker.will_wake(cx.waker()) => return,
            Some((place, _)) => Some(*place),
            None => None,
        };
        let waiting = Waiting { waker: cx.waker().clone(), until: self.next() };
        let place = self.worker.watchers.enter(waiting, place);
        self.place = Some((place, cx.waker().clone()));
    }
}

/// When the certificate ends that the client showed. Certificates are valid by the system's clock.
fn until_certificate_ends(worker: &Worker, exchange: &Exchange) -> Option<SystemTime> {
    let until = exchange.client_certificate()?.until?;
    let left = until.duration_since(Clock::System.wall()).unwrap_or_default();
    worker.gateway.clock.wall().checked_add(left)
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((place, _)) = self.place.take() {
            self.worker.watchers.leave(place);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({:?})", self.until)
    }
}

/// Why an exchange was ended, in the log.
pub(crate) const CAUSE: &str = "the credential was revoked or has expired";

/// The fault of an exchange that is ended before its answer began.
pub(crate) fn fault(at: Stage) -> Fault {
    Fault::new(at, FaultCode::CredentialsRevoked).cause(CAUSE)
}

/// Waits for as long as what was shown is good.
pub(crate) async fn watched<T>(
    watch: &mut Option<Watch>,
    at: Stage,
    waiting: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut waiting = pin!(waiting);
    let mut has_waited = false;
    poll_fn(|cx| {
        // Whatever has ended the wait, it ended in vain.
        if has_waited && watch.as_mut().is_some_and(Watch::is_over) {
            return Poll::Ready(Err(fault(at)));
        }
        if let Poll::Ready(ended) = waiting.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        has_waited = true;
        if let Some(watch) = watch {
            watch.wait(cx);
            if watch.is_over() {
                return Poll::Ready(Err(fault(at)));
            }
        }
        Poll::Pending
    })
    .await
}

/// A WebSocket's frame that ends it since a policy forbids more (RFC 6455, 5.5.1 and 7.4.1: 1008).
pub(crate) const CLOSE_FRAME: &[u8] = &[0x88, 2, 0x03, 0xF0];

/// Follows the frames that a target sends through a WebSocket (RFC 6455, 5.2), to know where another may stand.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; 10],
    head_bytes: usize,
    left: u64,
}

impl Frames {
    /// Bytes pass.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            if let Some(byte) = self.head.get_mut(self.head_bytes) {
                *byte = *first;
            }
            self.head_bytes += 1;
            bytes = rest;
            if let Some(length) = self.length() {
                self.left = length;
                self.head_bytes = 0;
            }
        }
    }

    /// The length of what follows a head, once the head is there. Nothing a server sends is masked, but if it
    /// were, four bytes more would follow.
    fn length(&self) -> Option<u64> {
        let [_, second, a, b, c, d, e, f, g, h] = self.head;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let length = match (second & 0x7F, self.head_bytes) {
            (126, 4) => u64::from(u16::from_be_bytes([a, b])),
            (127, 10) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            (126 | 127, _) => return None,
            (length, 2) => u64::from(length),
            _ => return None,
        };
        Some(length.saturating_add(mask))
    }

    /// Whether another frame may stand here.
    pub(crate) const fn is_between(&self) -> bool {
        self.left == 0 && self.head_bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    /// After which bytes a frame may stand, the bytes coming one by one and all at once.
    fn check(bytes: &[u8], expected: &[usize]) {
        let mut frames = Frames::default();
        let mut between = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            frames.pass(&[*byte]);
            if frames.is_between() {
                between.push(at + 1);
            }
        }
        assert_eq!(between, expected);
        let mut frames = Frames::default();
        frames.pass(bytes);
        assert_eq!(frames.is_between(), between.last() == Some(&bytes.len()));
    }

    #[test]
    fn frames_are_followed_whatever_their_length() {
        assert!(Frames::default().is_between());
        check(&[0x81, 2, b'h', b'i', 0x89, 0, 0x81, 1, b'x'], &[4, 6, 9]);
        check(&[0x81, 0x82, 1, 2, 3, 4, b'h', b'i', 0x81], &[8]);
        let mut medium = vec![0x82, 126, 1, 0];
        medium.extend([7; 256]);
        check(&medium, &[260]);
        let mut long = vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        long.extend([7; 65_536]);
        check(&long, &[65_546]);
    }
}
