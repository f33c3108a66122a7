//! Everything known of one request: filled stage by stage, read by policies, expressions and the
//! record.

use crate::body::Body;
use crate::chain::Chain;
use crate::directory::{Consumer, Credential};
use crate::fault::FaultCode;
use crate::forwarded::{Forwarded, ToldCertificate};
use crate::grpc::Rpc;
use crate::head::{RequestHead, Scheme};
use crate::id::{RequestId, Trace};
use crate::memory::Hold;
use crate::message::Interim;
use crate::mirror::Mirror;
use crate::observe::Marks;
use crate::pace::Pace;
use crate::plan::{Plan, Priority};
use crate::snapshot::Reserved;
use crate::tls::{ClientCertificate, ShownByClient};
use crate::tree::Matched;
use crate::upgrade::Upgrade;
use crate::upstream::{Pass, Timeouts, Upstream};
use base::Clock;
use base::caps::CONNECTION_AGE_MAX_S;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::any::Any;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

/// Where a request stands in a distributed trace (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

pub use crate::claims::{Claim, Claims, KeptClaims};

/// One request on its way through the gateway.
#[derive(Debug)]
pub struct Exchange {
    /// Its identifier, in logs, answers and towards the backend.
    pub id: RequestId,
    /// Where it stands in a distributed trace.
    pub trace: Trace,
    /// When its head was complete.
    pub arrived: Instant,
    /// The worker that serves it, an index into sharded state.
    pub worker: usize,
    /// The revision of the config it is served by.
    pub revision: Arc<str>,
    /// The connection it came by.
    pub connection: Arc<Connection>,
    /// Its way to the connection, if a trusted proxy told it or backends are told more than usual.
    pub forwarded: Option<Box<Forwarded>>,
    /// Its head; what policies leave of it is forwarded.
    pub request: RequestHead,
    /// Its body.
    pub body: Body,
    /// The other protocol that the client wants to go on in, if it does.
    pub upgrade: Option<Box<Upgrade>>,
    /// The way of informational answers to the client.
    pub interim: Interim,
    /// The route and what the path gave; set by `route`.
    pub matched: Option<Matched>,
    /// The policies that treat the answer where no route was found.
    pub unrouted: Option<Arc<Chain>>,
    /// Who calls; set by identity policies.
    pub consumer: Option<Arc<Consumer>>,
    /// What the caller showed; set by identity policies.
    pub credential: Option<Arc<Credential>>,
    /// By which plan they call; set by identity policies.
    pub plan: Option<Arc<Plan>>,
    /// What it showed besides, of the same consumer; set by identity policies.
    pub other_credentials: Vec<Arc<Credential>>,
    /// When what the caller showed stops being valid, which ends the exchange; set by identity policies.
    pub valid_until: Option<SystemTime>,
    /// Whether a failed attempt to prove who calls was counted of it; set by identity policies.
    pub is_failure_counted: bool,
    /// What was said of the caller by whoever vouches for it; set by identity policies.
    pub claims: Option<Arc<KeptClaims>>,
    /// Where several vouch for the caller, what each of them said; set by identity policies.
    pub claims_apart: Vec<Arc<KeptClaims>>,
    /// The SHA-256 of the bearer token that an identity policy has believed and left in place.
    pub token: Option<[u8; 32]>,
    /// Where it goes in place of the route's upstream; set by policies.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Copies to be made of it; ordered by policies.
    pub mirrors: Vec<Mirror>,
    /// Time limits that override those of the upstream; set by policies.
    pub timeouts: Timeouts,
    /// How fast its bodies may pass; set by policies.
    pub paces: Vec<Pace>,
    /// What of it is held in memory, as far as that is counted.
    pub holds: Vec<Hold>,
    /// The policies' own notes.
    pub notes: Notes,
    /// What was tried to forward it.
    pub attempts: Attempts,
    /// What will be written down of it.
    pub record: Record,
    /// Whether this is a cross-origin preflight, routed by the method it asks about.
    pub is_preflight: bool,
    /// What is known of it as a call of gRPC, if it is one.
    pub rpc: Option<Box<Rpc>>,
    /// Headers that policies of the config need for themselves.
    pub reserved: Option<Arc<Reserved>>,
}

impl Exchange {
    /// One that has just arrived: nothing is known of it but how it came and what its head says.
    #[must_use]
    pub fn new(
        clock: &Clock,
        worker: usize,
        connection: Arc<Connection>,
        head: RequestHead,
    ) -> Self {
        Self {
            id: RequestId::new(clock),
            trace: Trace::follow(head.headers.get(TRACEPARENT)),
            arrived: clock.now(),
            worker,
            revision: Arc::from(""),
            connection,
            forwarded: None,
            request: head,
            body: Body::empty(),
            upgrade: None,
            interim: Interim::default(),
            matched: None,
            unrouted: None,
            consumer: None,
            credential: None,
            other_credentials: Vec::new(),
            claims: None,
            claims_apart: Vec::new(),
            plan: None,
            token: None,
            valid_until: None,
            is_failure_counted: false,
            upstream: None,
            mirrors: Vec::new(),
            timeouts: Timeouts::default(),
            paces: Vec::new(),
            holds: Vec::new(),
            notes: Notes::default(),
            attempts: Attempts::default(),
            record: Record::default(),
            is_preflight: false,
            rpc: None,
            reserved: None,
        }
    }

    /// Who goes first when there is not enough for all.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.plan.as_ref().map_or(Priority::Normal, |plan| plan.priority)
    }

    /// Whether credentials are taken out of it only after all policies of its route that look at them.
    #[must_use]
    pub fn hides_late(&self) -> bool {
        self.matched.as_ref().is_some_and(|matched| matched.route.chain.hides_late())
    }

    /// The client's address: what the connection's peer says, if it is trusted, and the peer's own otherwise.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        let told = self.forwarded.as_ref().map(|forwarded| forwarded.client);
        told.unwrap_or_else(|| self.connection.peer.ip()).to_canonical()
    }

    /// What was said of the caller, by each who vouches for it apart.
    pub fn said(&self) -> impl Iterator<Item = &KeptClaims> + Clone {
        let one = self.claims.iter().filter(|_| self.claims_apart.is_empty());
        one.chain(&self.claims_apart).map(|claims| &**claims)
    }

    /// The same; none for a client over a Unix socket.
    #[must_use]
    pub fn client_ip(&self) -> Option<IpAddr> {
        Some(self.client()).filter(|address| !address.is_unspecified())
    }

    /// What the client showed of itself by TLS: to the gateway, or to a trusted proxy if those are asked.
    #[must_use]
    pub fn shown_by_client(&self) -> Option<&ShownByClient> {
        match self.forwarded.as_ref().map(|forwarded| &forwarded.certificate) {
            None | Some(ToldCertificate::NotAsked) => {
                self.connection.tls.as_ref()?.client.as_deref()
            }
            Some(ToldCertificate::Nothing) => None,
            Some(ToldCertificate::Shown(shown)) => Some(shown),
        }
    }

    /// The certificate among that, if there is one.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.shown_by_client()?.certificate.as_ref()
    }

    /// The client's address as backends are told.
    #[must_use]
    pub fn client_text(&self) -> &HeaderValue {
        match &self.forwarded {
            Some(forwarded) => &forwarded.client_text,
            None => &self.connection.peer_header,
        }
    }
}

/// A client's connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address of whoever connected, or of whom a proxy announced; unspecified (RFC 4291, 2.5.2) over a Unix
    /// socket.
    pub peer: SocketAddr,
    /// The same without port, as backends are told.
    pub peer_header: HeaderValue,
    /// The address the client connected to; unspecified over a Unix socket.
    pub local: SocketAddr,
    /// Whether it is protected by TLS.
    pub scheme: Scheme,
    /// TLS facts, if it is.
    pub tls: Option<TlsFacts>,
    /// Seconds after which it is asked to end, give or take a tenth.
    pub age_max_s: u64,
    /// The listener speaks TLS and the client does not: it is told so, and gets nothing else.
    pub lacks_tls: bool,
}

impl Connection {
    /// A connection without TLS.
    #[must_use]
    pub fn plain(listener: Arc<str>, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            listener,
            peer,
            peer_header: address_text(peer.ip()),
            local,
            scheme: Scheme::Http,
            tls: None,
            age_max_s: CONNECTION_AGE_MAX_S,
            lacks_tls: false,
        }
    }

    /// A connection over a Unix socket: neither side has an address.
    #[must_use]
    pub fn over_unix(listener: Arc<str>) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self::plain(listener, nowhere, nowhere)
    }

    /// The address of whoever connected, if it has one.
    #[must_use]
    pub fn peer_ip(&self) -> Option<IpAddr> {
        Some(self.peer.ip()).filter(|address| !address.is_unspecified())
    }

    /// A proxy announced who connected to it, and to which address.
    pub fn announced(&mut self, peer: SocketAddr, local: SocketAddr) {
        self.peer = peer;
        self.peer_header = address_text(peer.ip());
        self.local = local;
    }
}

/// An address as backends are told; `unknown` (RFC 7239, 6.2) where there is none.
#[must_use]
pub fn address_text(address: IpAddr) -> HeaderValue {
    let unknown = HeaderValue::from_static("unknown");
    if address.is_unspecified() {
        return unknown;
    }
    HeaderValue::try_from(address.to_canonical().to_string()).unwrap_or(unknown)
}

/// What is known of a TLS connection.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// Protocol version, such as `TLSv1.3`.
    pub version: &'static str,
    /// The name the client asked for (SNI).
    pub server_name: Option<Arc<str>>,
    /// What the client showed of itself, if it was asked to.
    pub client: Option<Arc<ShownByClient>>,
}

/// The position of a policy in its chain: the key of its notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub usize);

/// What policies remember between their hooks within one request, each in the slot of its own.
#[derive(Debug, Default)]
pub struct Notes(SmallVec<[Option<Box<dyn Any + Send>>; 4]>);

impl Notes {
    /// Leaves a note, in place of an earlier one.
    pub fn put<T: Any + Send>(&mut self, slot: Slot, note: T) {
        if self.0.len() <= slot.0 {
            self.0.resize_with(slot.0 + 1, || None);
        }
        self.0[slot.0] = Some(Box::new(note));
    }

    /// The note of a slot, if one of this type is there.
    #[must_use]
    pub fn peek<T: Any + Send>(&self, slot: Slot) -> Option<&T> {
        self.0.get(slot.0)?.as_ref()?.downcast_ref()
    }

    /// Takes the note of a slot away.
    pub fn take<T: Any + Send>(&mut self, slot: Slot) -> Option<T> {
        let note = self.0.get_mut(slot.0)?.take()?;
        note.downcast().ok().map(|note| *note)
    }
}

/// What was tried to forward a request.
#[derive(Debug, Default)]
pub struct Attempts {
    /// The targets tried, in order, by their position in the upstream.
    pub tried: SmallVec<[usize; 4]>,
    /// How many attempts were made.
    pub count: u32,
    /// Its leave to use the upstream, while it is being forwarded.
    pub pass: Option<Arc<dyn Pass>>,
}

/// What will be written down of a request.
#[derive(Debug, Default)]
pub struct Record {
    /// Status of the answer.
    pub status: u16,
    /// The fault, if it failed.
    pub fault: Option<FaultCode>,
    /// What the client is told of the fault besides its title.
    pub detail: Option<Cow<'static, str>>,
    /// Whether the answer's body is a page that a policy has put in its place.
    pub has_page: bool,
    /// What lay behind the fault.
    pub cause: Option<String>,
    /// The upstream it went to.
    pub upstream: Option<Arc<str>>,
    /// The target that answered, or was tried last.
    pub target: Option<Arc<str>>,
    /// What that target was called in place of the client's `Host`, if the upstream replaces it.
    pub target_host: Option<HeaderValue>,
    /// Time until the upstream's response head.
    pub upstream_duration: Duration,
    /// Bytes of the request body read so far, if it has one; shared with the body that counts them.
    pub bytes_in: Option<Arc<AtomicU64>>,
    /// Bytes of the response body handed to the client so far.
    pub bytes_out: u64,
    /// Whether the last byte was handed over.
    pub complete: bool,
    /// What is measured and kept of it besides, if anybody wants to know.
    pub marks: Option<Box<Marks>>,
}
