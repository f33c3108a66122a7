//! One kind of treatment: the hooks by which a policy takes part in a request.

use crate::directory::CredentialKind;
use crate::exchange::{Exchange, Slot};
use crate::fault::Fault;
use crate::head::RequestHead;
use crate::upstream::Destination;
use crate::{BoxFuture, Response};
use http::HeaderName;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What a policy decides about a request.
#[derive(Debug)]
pub enum Flow {
    /// It goes on.
    Continue,
    /// It ends here, with this answer.
    Answer(Box<Response>),
}

/// A result at once, or later. Most policies finish at once and allocate nothing.
pub enum Outcome<'a, T> {
    /// Here it is.
    Now(Result<T, Fault>),
    /// It must be waited for.
    Later(BoxFuture<'a, Result<T, Fault>>),
}

impl<'a, T> Outcome<'a, T> {
    /// What there is now, or else what must be waited for. Whoever asks waits by itself, which costs a policy that
    /// has finished nothing.
    ///
    /// # Errors
    /// The policy's fault.
    pub fn now(self) -> Result<Result<T, BoxFuture<'a, Result<T, Fault>>>, Fault> {
        match self {
            Self::Now(result) => result.map(Ok),
            Self::Later(future) => Ok(Err(future)),
        }
    }
}

impl<T> From<Result<T, Fault>> for Outcome<'_, T> {
    fn from(result: Result<T, Fault>) -> Self {
        Self::Now(result)
    }
}

impl<T: fmt::Debug> fmt::Debug for Outcome<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(result) => result.fmt(f),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// The phases in which a kind of policy has a hook; chains are sliced by them when compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Before the request is forwarded.
    pub request: bool,
    /// Before each attempt to forward.
    pub forward: bool,
    /// Before the answer goes to the client.
    pub reply: bool,
    /// After the answer's last byte.
    pub record: bool,
}

/// What a policy would decide about a request of which little is known, for those who read a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// It lets it pass, and why.
    Passes(String),
    /// It refuses it, and why.
    Refuses(String),
    /// That depends on what is not known, which is told.
    Depends(String),
}

/// A request of which little is known but its route.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The request; of its head and its connection only what `knows` says holds.
    pub exchange: &'a Exchange,
    /// By what the caller could prove who it is; nothing if that does not matter.
    pub shows: Option<&'a [CredentialKind]>,
    /// What else of it holds.
    pub knows: Knows,
}

/// What is known of a request in advance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knows {
    /// Who calls.
    pub caller: bool,
    /// That nobody says more of the caller when the request comes than the exchange does.
    pub claims: bool,
    /// The method.
    pub method: bool,
    /// The host and the path.
    pub path: bool,
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.exchange.request.method, self.exchange.request.path())
    }
}

/// Where a policy stands in the chain of a route.
#[derive(Clone, Copy)]
pub struct Placement<'a> {
    /// The API of the route.
    pub api: &'a str,
    /// The route's name within it.
    pub route: &'a str,
    /// All policies of the same kind in the chain as they were built, those of the outermost owner first.
    pub same: &'a [Arc<dyn Policy>],
    /// Which of them it is.
    pub position: usize,
}

impl Placement<'_> {
    /// Whether it is the innermost of its kind.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.position + 1 >= self.same.len()
    }
}

/// What becomes of a policy on a route where the innermost of its kind speaks for all: nothing is left to do.
#[derive(Clone, Copy, Debug)]
pub struct Joined;

impl Policy for Joined {}

impl fmt::Debug for Placement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} on {}/{}", self.position, self.same.len(), self.api, self.route)
    }
}

/// What a policy says of itself to whoever reads a config as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whose word it takes for who calls.
    pub vouchers: Vec<Voucher>,
    /// Whether it compares what is asked for with the hosts of the route, and has nothing else to compare with.
    pub needs_host: bool,
    /// Whether it forwards nothing without a bearer token of the caller that another policy has believed and kept.
    pub needs_token: bool,
    /// Whether it is such a policy.
    pub keeps_token: bool,
    /// Whether it lets in those only who may do something of their own (scopes).
    pub asks_scopes: bool,
    /// The headers by which clients show it who they are, besides `authorization` and `cookie`.
    pub credentials: Vec<HeaderName>,
    /// The headers that it alone writes for the backend.
    pub writes: Vec<HeaderName>,
    /// The groups by which it judges.
    pub groups: Vec<String>,
}

/// Somebody whose word is taken for who calls, also where the directory does not know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// What stands before the slash in the names of those whom the directory does not know.
    pub prefix: String,
    /// Who it is, whole.
    pub name: String,
    /// Whether the config says that prefix.
    pub is_told: bool,
    /// Which groups of the config it may put people into; none if it says no groups at all.
    pub groups: Option<Gives>,
}

/// Groups of the config that somebody else may put people into. All others stand behind the prefix of whoever says them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gives {
    /// All of them.
    All,
    /// These.
    These(Vec<Arc<str>>),
}

impl Facts {
    /// What several say together.
    pub fn add(&mut self, other: Self) {
        self.vouchers.extend(other.vouchers);
        self.needs_host |= other.needs_host;
        self.needs_token |= other.needs_token;
        self.keeps_token |= other.keeps_token;
        self.asks_scopes |= other.asks_scopes;
        self.credentials.extend(other.credentials);
        self.writes.extend(other.writes);
        self.groups.extend(other.groups);
    }
}

/// The runtime of one configured policy. It is shared by all requests and workers, so it holds no
/// state of a request (see [`crate::exchange::Notes`]) and keeps live state in [`crate::State`].
pub trait Policy: Any + Send + Sync {
    /// Runs in `guard`, in chain order, until one answers or fails.
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        // A hook that is not overridden does nothing with its arguments.
        let _ = (exchange, slot);
        Outcome::Now(Ok(Flow::Continue))
    }

    /// Runs in `forward`, before each attempt.
    fn on_forward<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, ()> {
        let _ = (exchange, slot);
        Outcome::Now(Ok(()))
    }

    /// Runs in `reply`, in reverse chain order, for every answer: also for faults and for answers that
    /// came before this policy's turn.
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        let _ = (exchange, reply, slot);
        Outcome::Now(Ok(()))
    }

    /// What it allows, a line each, for those who read a config.
    fn about(&self) -> Vec<String> {
        Vec::new()
    }

    /// The upstreams to which it may send requests besides the route's own, for those who read a config.
    fn destinations(&self) -> Vec<Destination> {
        Vec::new()
    }

    /// Whether it says who calls, for kinds of which some policies do and some do not.
    fn identifies(&self) -> bool {
        true
    }

    /// The headers by which it tells backends who calls. Whatever clients send under these names is taken out of
    /// all requests to the gateway, and out of trailers.
    fn speaks_for(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// What it says of itself to whoever reads a config as a whole.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// Whether it chooses an upstream for every request that passes it, so that its route needs none.
    fn steers(&self) -> bool {
        false
    }

    /// What it becomes in the chain of one route, where that depends on the route or on others of its kind.
    fn at_route(&self, at: &Placement<'_>) -> Option<Arc<dyn Policy>> {
        let _ = at;
        None
    }

    /// What it would decide about a request, if it decides who may call.
    fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        let _ = asked;
        None
    }

    /// Whether it takes what showed it who calls out of the request.
    fn hides(&self) -> bool {
        false
    }

    /// Does that, where it did not do so by itself: of several such policies none does before all have seen the request
    /// as it came (see [`crate::chain::Chain::hides_late`]), so that they may look at the same place.
    fn hide(&self, exchange: &mut Exchange, slot: Slot) {
        let _ = (exchange, slot);
    }

    /// Takes every credential that it looks for out of a copy of the request, wherever it may be, believed or not.
    fn strip(&self, head: &mut RequestHead) {
        let _ = head;
    }

    /// Runs in `record`, after the last byte.
    fn on_record(&self, exchange: &mut Exchange, slot: Slot) {
        let _ = (exchange, slot);
    }
}
