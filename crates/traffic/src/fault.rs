//! Failed requests. A stage returns a [`Fault`], the spine converts it once into an answer: RFC 9457
//! problem details with a request id and never a cause. One table gives status, blame and public text
//! of every code; `docs/reference/faults.md` is generated from it.

use base::caps::{COME_BACK_S_MAX, COME_BACK_S_MIN};
use base::{BoxError, random};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use std::borrow::Cow;
use std::fmt;

/// The seven stages of a request, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Normalise and refuse.
    Admit,
    /// Find the route.
    Route,
    /// Run the request phase of the chain.
    Guard,
    /// Answer from what is stored.
    Cache,
    /// Ask an upstream.
    Forward,
    /// Run the response phase of the chain.
    Reply,
    /// Write down what happened.
    Record,
}

impl Stage {
    /// All of them, in the order in which a request comes to them.
    pub const ALL: [Self; 7] = [
        Self::Admit,
        Self::Route,
        Self::Guard,
        Self::Cache,
        Self::Forward,
        Self::Reply,
        Self::Record,
    ];

    /// Its name in configs, documents and traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Route => "route",
            Self::Guard => "guard",
            Self::Cache => "cache",
            Self::Forward => "forward",
            Self::Reply => "reply",
            Self::Record => "record",
        }
    }
}

/// Who caused a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The request is at fault.
    Client,
    /// The backend is at fault.
    Upstream,
    /// The gateway or its config is at fault.
    Gateway,
}

/// What the table says of one code.
#[derive(Clone, Copy, Debug)]
pub struct FaultRow {
    /// Stable name, in logs, metrics and answers.
    pub name: &'static str,
    /// Status of the answer.
    pub status: u16,
    /// Who caused it.
    pub blame: Blame,
    /// What the client is told.
    pub title: &'static str,
    /// What it means and what to do, for operators.
    pub about: &'static str,
}

macro_rules! fault_codes {
    ($($code:ident $name:literal $status:literal $blame:ident $title:literal $about:literal;)*) => {
        /// Why a request failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FaultCode {
            $(#[doc = $about] $code,)*
        }

        /// The table of all codes, in the order of [`FaultCode`].
        pub const FAULTS: &[FaultRow] = &[
            $(FaultRow {
                name: $name,
                status: $status,
                blame: Blame::$blame,
                title: $title,
                about: $about,
            },)*
        ];

        /// All codes, in their order.
        pub const FAULT_CODES: &[FaultCode] = &[$(FaultCode::$code,)*];

        /// The names of all codes, in the order of [`FaultCode`].
        pub const FAULT_NAMES: &[&str] = &[$($name,)*];
    };
}

fault_codes! {
    BadRequest "bad_request" 400 Client "The request is malformed" "The request breaks HTTP's rules (RFC 9110, 9112): bad target, header or encoding.";
    BadHost "bad_host" 400 Client "The request names no valid host" "`Host` is missing, repeated, malformed or differs from the request target's authority (RFC 9112, 3.2).";
    BadPath "bad_path" 400 Client "The path is not acceptable" "The path holds a broken percent-encoding, a control character, a backslash, a climb above the root, or a form that the listener's `paths` rules refuse.";
    BadFraming "bad_framing" 400 Client "The length of the request is ambiguous" "Content-Length beside Transfer-Encoding, or several lengths (RFC 9112, 6.3): a smuggling attempt or a broken client. The connection is closed.";
    HeadTooLarge "head_too_large" 431 Client "The request's headers are too large" "More headers or header bytes than the gateway accepts.";
    TargetTooLong "target_too_long" 414 Client "The request target is too long" "Path and query exceed the cap.";
    MethodUnsupported "method_unsupported" 501 Gateway "The method is not supported" "CONNECT and TRACE are not proxied.";
    CodingUnsupported "coding_unsupported" 501 Gateway "The transfer coding is not supported" "The request's body has a transfer coding besides `chunked` (RFC 9112, 6.1).";
    VersionUnsupported "version_unsupported" 505 Client "The version of HTTP is not supported" "The request's version is neither HTTP/1.0, HTTP/1.1 nor a proper HTTP/2 connection (RFC 9110, 15.6.6).";
    ExpectationFailed "expectation_failed" 417 Client "The expectation cannot be met" "`Expect` asks for something other than `100-continue` (RFC 9110, 10.1.1).";
    HttpsRequired "https_required" 308 Client "Use HTTPS" "The listener redirects to HTTPS.";
    ListenerGone "listener_gone" 503 Gateway "The service is restarting" "The connection belongs to a listener that the current config no longer has.";
    NoRoute "no_route" 404 Client "Nothing is here" "No route matches host and path.";
    MethodNotAllowed "method_not_allowed" 405 Client "The method is not allowed here" "Routes match host and path, but none this method; `Allow` lists those that do.";
    ApiRetired "api_retired" 410 Client "This API has ended" "The API is `retired` in the config; `Link` names its successor, if there is one.";
    RouteBroken "route_broken" 503 Gateway "The service is not available" "The route's config has a problem; the gateway's log and `yett check` name it.";
    Maintenance "maintenance" 503 Gateway "The service is being worked on" "A `maintenance` policy is in force; `Retry-After` says when to come back.";
    CredentialsMissing "credentials_missing" 401 Client "Credentials are required" "The request carries no credentials that the route's identity policy knows.";
    CredentialsInvalid "credentials_invalid" 401 Client "The credentials are not valid" "The credentials are unknown, malformed, expired or revoked.";
    CredentialsConflict "credentials_conflict" 401 Client "The credentials are not valid" "The request carries valid credentials of different consumers, where several must be shown.";
    CredentialsRevoked "credentials_revoked" 401 Client "The credentials are not valid" "The credential was revoked while the request was under way, so that its streams were ended.";
    TooManyFailures "too_many_failures" 429 Client "Too many failed attempts" "Credentials were refused too often for this address or this account; `Retry-After` says when to try again.";
    IdentityUnavailable "identity_unavailable" 503 Upstream "Credentials cannot be checked now" "The identity provider, its keys or its introspection endpoint could not be asked, and nothing in the cache decides.";
    InsufficientScope "insufficient_scope" 403 Client "The token does not allow this" "The token is valid, but lacks a scope that the route demands (RFC 6750, 3.1).";
    AuthoriserRefused "authoriser_refused" 403 Client "Access is denied" "An external authoriser refused the request.";
    AuthoriserUnavailable "authoriser_unavailable" 503 Upstream "Access cannot be decided now" "An external authoriser did not answer in time, or gave an answer that means nothing.";
    BackendCredentialsUnavailable "backend_credentials_unavailable" 503 Upstream "The service is not available" "The token that the backend asks of the gateway could not be obtained.";
    CredentialsNotExchanged "credentials_not_exchanged" 401 Client "The credentials are not valid" "The issuer does not accept the caller's token in exchange for the one that the backend asks for (RFC 8693, 2.2.2).";
    ExchangeDenied "exchange_denied" 403 Client "Access is denied" "The issuer gives no token for this backend in exchange for the caller's: its target or scope is not allowed (RFC 8693, 2.2.2).";
    ComputeBusy "compute_busy" 503 Gateway "The gateway is busy" "Costly work, such as the check of a password, waits for the machine's processors already; `Retry-After` says when to come back.";
    AccessDenied "access_denied" 403 Client "Access is denied" "An `allow`, `deny`, `acl` or `cedar` policy refused the request.";
    AccessUndecided "access_undecided" 403 Gateway "Access is denied" "An expression of an `allow` or `deny` policy, or a policy in Cedar, could not be evaluated, which counts as a refusal.";
    AddressRefused "address_refused" 403 Client "Access is denied" "An `ip` policy does not let the client's address pass; the log tells which address, and by which list.";
    CountryRefused "country_refused" 403 Client "Access is denied" "A `geo` policy does not let clients pass from where the client's address is; the log tells which country and network.";
    AgentRefused "agent_refused" 403 Client "Access is denied" "An `agents` policy does not let clients pass that say they are this, or that say they are a bot and are not; the log tells which.";
    AgentUnproven "agent_unproven" 503 Gateway "Access cannot be decided now" "A client says that it is a bot of an `agents` policy, and the name of its address is still being asked for; `Retry-After` says when to come back.";
    ClosedNow "closed_now" 503 Gateway "The service is closed" "An `hours` policy is not open now; `Retry-After` says when it opens.";
    ClosedHours "closed_hours" 403 Client "The service is closed" "An `hours` policy with `status: 403` is not open now.";
    PermissionMissing "permission_missing" 403 Client "Access is denied" "No role of the caller permits the request; the log tells what it needs and which roles the caller has.";
    CorsRefused "cors_refused" 403 Client "The origin is not allowed" "A cross-origin preflight came from an origin, or for a method or header, that the `cors` policy does not list.";
    OriginRefused "origin_refused" 403 Client "The origin is not allowed" "A page of an origin that the `websocket` policy does not list asked for a WebSocket.";
    WebsocketVersion "websocket_version" 426 Client "The version of WebSocket is not supported" "`Sec-WebSocket-Version` is not 13, the only version there is (RFC 6455, 4.4).";
    RateLimited "rate_limited" 429 Client "Too many requests" "A `rate_limit` is used up; `Retry-After` says when to come back.";
    QuotaExceeded "quota_exceeded" 429 Client "The quota is used up" "A quota of the consumer's plan, or a `quota` policy, is used up until its window ends; `Retry-After` says when that is.";
    TooManyAtOnce "too_many_at_once" 429 Client "Too many requests at a time" "The caller has as many requests under way as a `concurrency` policy allows; `Retry-After` says when to come back.";
    RouteBusy "route_busy" 503 Gateway "The service is busy" "As many requests are under way together as a `concurrency` policy allows; `Retry-After` says when to come back.";
    Overloaded "overloaded" 503 Gateway "The service is busy" "The node has more to do than it can: its workers come later to their requests than `overload.queue_delay` allows, so that those of low priority are refused first; `Retry-After` says when to come back.";
    MemoryShort "memory_short" 503 Gateway "The service is busy" "The process takes nearly as much memory as `overload.memory` allows, so that requests which must be held in memory are refused first, then those of low priority; `Retry-After` says when to come back.";
    PlanUnknown "plan_unknown" 503 Gateway "The service is not available" "The consumer's plan is none of this gateway's config; name it under `plans`, or give the consumer another one.";
    LimitStoreDown "limit_store_down" 503 Gateway "The service is not available" "The store in which gateways share the counts of a limit could not be asked, and the limit says `on_store_failure: refuse`; `Retry-After` says when to come back.";
    BodyTooLarge "body_too_large" 413 Client "The body is too large" "The request body exceeds the route's `body_limit`.";
    BodyTimeout "body_timeout" 408 Client "The body came too slowly" "The client sent no piece of its body within the idle time-out.";
    BodyCut "body_cut" 400 Client "The body is incomplete" "The client ended the connection or broke the framing in the middle of its body.";
    EncodingUnsupported "encoding_unsupported" 415 Client "The coding of the body is not supported" "The body has a `Content-Encoding` that the route's `decompress` policy does not accept; `Accept-Encoding` lists those it does (RFC 7694).";
    EncodingInvalid "encoding_invalid" 400 Client "The body cannot be decompressed" "The body is not what its `Content-Encoding` says, or ends in the middle.";
    DecoderBusy "decoder_busy" 503 Gateway "Too many compressed bodies at a time" "The decoders of `decompress` policies hold as much memory as they may; `Retry-After` says when to come back.";
    NoTarget "no_target" 503 Upstream "The service is not available" "Every target of the upstream is unhealthy or was tried already.";
    Unresolved "unresolved" 503 Upstream "The service is not available" "The upstream's name has no address, now or ever so far.";
    ConnectFailed "connect_failed" 502 Upstream "The service could not be reached" "No connection to a target could be opened (refused, unreachable, TLS failure).";
    ConnectTimeout "connect_timeout" 504 Upstream "The service did not answer in time" "Opening a connection to a target took longer than `timeouts.connect`.";
    NoResources "no_resources" 503 Gateway "The service is busy" "The gateway could not open a connection to a target for want of file descriptors, local ports or memory. The target is not blamed. Raise the limit of open files (`LimitNOFILE`), or let fewer clients in (`connections_max`).";
    FirstByteTimeout "first_byte_timeout" 504 Upstream "The service did not answer in time" "The target sent no response head within `timeouts.first_byte`.";
    TotalTimeout "total_timeout" 504 Gateway "The request took too long" "The exchange took longer than `timeouts.total`.";
    UpstreamReset "upstream_reset" 502 Upstream "The service broke off" "The target closed or reset the connection before it had answered.";
    SwitchRefused "switch_refused" 502 Upstream "The service does not speak the protocol" "A client asked for a WebSocket over HTTP/2, and the answer was a success that does not switch to it; or no connection to the target can carry a tunnel.";
    UpstreamInvalid "upstream_invalid" 502 Upstream "The service gave an invalid answer" "The target's answer breaks HTTP's rules.";
    BreakerOpen "breaker_open" 503 Upstream "The service is not available" "The upstream's `breaker` is open: too many requests failed or were slow, so that it is left alone for a while; `Retry-After` says how long.";
    UpstreamBusy "upstream_busy" 503 Upstream "The service is busy" "The upstream has as many requests under way as its `concurrency` allows, and the queue is full or took too long, or all HTTP/2 connections to its targets are full; `Retry-After` says when to come back.";
    UpstreamOverloaded "upstream_overloaded" 503 Upstream "The service is busy" "The upstream has as many requests under way as it can work on, and the request was not among those that waited with the best right: somebody of a higher priority or a consumer with fewer requests had it, or it had waited for too long. `Retry-After` says when to come back. It was not sent, and counts for no limit.";
    Draining "draining" 503 Gateway "The service is restarting" "The gateway is shutting down and takes no new requests on this connection.";
    TlsExpected "tls_expected" 400 Client "This port speaks HTTPS" "The client spoke plain HTTP on a listener with `tls`.";
    Misdirected "misdirected" 421 Client "Use another connection for this host" "The connection was made without the client certificate that this host asks for, or with one that is not valid here or no longer (RFC 9110, 15.5.20).";
    ConnectionIdle "connection_idle" 408 Client "The connection was silent for too long" "Nobody said anything on a connection that is passed on as bytes for as long as its `idle` says.";
    Internal "internal" 500 Gateway "Something went wrong" "A defect of the gateway; please report it with the request id.";
}

impl FaultCode {
    /// What the table says of this code.
    #[must_use]
    pub fn row(self) -> &'static FaultRow {
        &FAULTS[self.index()]
    }

    /// The position in the table.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether it refuses what is too much, so that the request counts for nothing.
    #[must_use]
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::QuotaExceeded
                | Self::UpstreamOverloaded
                | Self::TooManyAtOnce
                | Self::RouteBusy
                | Self::Overloaded
                | Self::MemoryShort
                | Self::LimitStoreDown
        )
    }

    /// Status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A failed request. The cause goes to the log, never to the client.
#[derive(Debug)]
pub struct Fault {
    /// The stage in which it failed.
    pub at: Stage,
    /// Why.
    pub code: FaultCode,
    /// What the client is told besides the title.
    pub detail: Option<Cow<'static, str>>,
    /// Headers of the answer, such as `Allow` or `Retry-After`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What lies behind it, for the log only.
    pub cause: Option<BoxError>,
    /// Whether the client's connection must be closed after the answer.
    pub closes: bool,
}

impl Fault {
    /// A fault without further words.
    #[must_use]
    pub const fn new(at: Stage, code: FaultCode) -> Self {
        Self { at, code, detail: None, headers: Vec::new(), cause: None, closes: false }
    }

    /// Adds what the client is told besides the title. Never a cause, never a secret.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what lies behind the fault, for the log.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds a header of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Asks the client to come back soon, and not all clients at the same time.
    #[must_use]
    pub fn come_back(self) -> Self {
        let spread_s = COME_BACK_S_MAX - COME_BACK_S_MIN + 1;
        let wait_s = COME_BACK_S_MIN + random::fast_below(spread_s);
        self.header(RETRY_AFTER, HeaderValue::from(wait_s))
    }

    /// Has the client's connection closed after the answer.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.closes = true;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?}", self.code.name(), self.at)
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::{FAULT_NAMES, FAULTS, FaultCode};
    use std::collections::HashSet;

    #[test]
    fn the_table_is_in_the_order_of_the_codes_and_names_are_unique() {
        assert_eq!(FaultCode::BadRequest.name(), "bad_request");
        assert_eq!(FaultCode::Internal.name(), "internal");
        assert_eq!(FaultCode::Internal.index(), FAULTS.len() - 1);
        assert_eq!(FAULT_NAMES.iter().collect::<HashSet<_>>().len(), FAULTS.len());
    }

    #[test]
    fn a_lost_dependency_is_never_a_401() {
        for row in FAULTS {
            let is_refusal = row.status == 401;
            assert!(!is_refusal || row.name.starts_with("credentials_"), "{}", row.name);
        }
    }
}
