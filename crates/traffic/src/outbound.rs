//! The one way out for everybody who is not a client's request: policies that ask a key server or an
//! authoriser, exporters of telemetry. Crate `upstream` implements it with the pools, TLS, time-outs and
//! egress settings of any upstream; nobody opens connections of their own.

use crate::BoxFuture;
use crate::body::Body;
use crate::fault::{Fault, FaultCode, Stage};
use crate::message::{Request, Response};
use crate::upstream::Timeouts;
use bytes::{Bytes, BytesMut};
use http::Uri;
use http::uri::PathAndQuery;
use http_body::Body as _;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Longest time for a connection, unless said otherwise.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time until an answer begins, unless said otherwise.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// Longest silence within a body, unless said otherwise.
const IDLE: Duration = Duration::from_secs(10);
/// Longest time for the head of an answer with all repetitions, unless said otherwise.
const TOTAL: Duration = Duration::from_secs(20);

/// Whom to ask, and how patiently.
#[derive(Clone, Debug)]
pub struct Destination {
    /// An absolute URL, `http` or `https`. Its path and query are those of [`Remote::target`].
    pub url: Uri,
    /// Time limits. `total` covers repetitions, up to the head of the answer.
    pub timeouts: Timeouts,
    /// How many times a request that is safe to repeat is tried again.
    pub retries_max: u32,
    /// Certificates, as PEM, that are trusted in place of those of the egress settings or the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether HTTP/2 is spoken whatever TLS negotiates, and without TLS by prior knowledge: what gRPC needs.
    pub is_http2: bool,
}

impl Destination {
    /// A URL with time limits of a few seconds and one repetition.
    ///
    /// # Errors
    /// In words, when the text is not an absolute URL of `http` or `https`.
    pub fn parse(url: &str) -> Result<Self, String> {
        // What stands before an `@` or after a `?` may be a secret.
        let shown = url.split(['?', '#']).next().unwrap_or_default();
        let wrong = || match shown.contains('@') {
            true => "a URL with a user name or a password in it cannot be used here".to_owned(),
            false => format!("`{shown}` is not a URL such as `https://idp.example.com/keys`"),
        };
        let parsed: Uri = url.parse().map_err(|_| wrong())?;
        let is_known = matches!(parsed.scheme_str(), Some("http" | "https"));
        // It would be shown in logs and metrics.
        let has_user = parsed.authority().is_none_or(|host| host.as_str().contains('@'));
        if !is_known || has_user {
            return Err(wrong());
        }
        Ok(Self {
            url: parsed,
            timeouts: Timeouts {
                connect: Some(CONNECT),
                first_byte: Some(FIRST_BYTE),
                idle: Some(IDLE),
                total: Some(TOTAL),
            },
            retries_max: 1,
            ca_pem: None,
            is_http2: false,
        })
    }
}

/// Opens ways to destinations. Policies get it when they are built.
pub trait Outbound: Send + Sync + fmt::Debug {
    /// A way to a destination, which lives as long as somebody holds it. Those to the same host share
    /// their connections. Resolving the name begins at once; nothing else is sent yet.
    ///
    /// # Errors
    /// In words, what makes it impossible: no host in the URL, no certificate to trust.
    fn open(&self, destination: Destination) -> Result<Arc<dyn Remote>, String>;
}

/// A way to a destination.
pub trait Remote: Send + Sync + fmt::Debug {
    /// Path and query of the destination's URL, for [`Request::target`].
    fn target(&self) -> &PathAndQuery;

    /// Tells apart ways to one destination: another proxy or other authorities make another one. Whoever
    /// keeps a way across configs must change to the new one when this differs.
    fn manner(&self) -> &str;

    /// Sends a request and waits for the head of its answer, whatever its status; the body streams on,
    /// see [`read`]. `Host` is added if the request has none. `worker` is the worker on whose thread this
    /// runs ([`crate::Exchange::worker`]), so that its own connections are used; none anywhere else: then the
    /// work is done by the background runtime.
    ///
    /// # Errors
    /// The fault of the last attempt. Its code is one of those of upstreams; give your own to the client
    /// where that says more.
    fn call(
        &self,
        worker: Option<usize>,
        request: Request,
    ) -> BoxFuture<'static, Result<Response, Fault>>;
}

/// Reads a body to its end, if it is not larger than `bytes_max`.
///
/// # Errors
/// `upstream_invalid` when it is larger, `upstream_reset` when it breaks off.
pub async fn read(mut body: Body, bytes_max: usize) -> Result<Bytes, Fault> {
    let too_large = || {
        let fault = Fault::new(Stage::Forward, FaultCode::UpstreamInvalid);
        fault.cause(format!("the answer has more than {bytes_max} bytes"))
    };
    let announced = body.size_hint().lower();
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| {
            Fault::new(Stage::Forward, FaultCode::UpstreamReset).cause(Box::new(error))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        // Most answers are one piece, which needs no copy.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use super::{Destination, read};
    use crate::Body;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn only_absolute_urls_of_http_without_secrets_are_destinations() {
        for url in ["http://a", "https://a.test:8443/keys?x=1", "http://[::1]:80/"] {
            assert!(Destination::parse(url).is_ok(), "{url}");
        }
        for url in ["", "/keys", "a.test", "ftp://a/", "https://u:p@a/", "https:///x"] {
            assert!(Destination::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_may_be_a_secret_in_a_wrong_url_is_not_told() {
        for url in ["https://u:hush@a/", "//u:hush@a", "/keys?code=hush", "x#hush"] {
            let why = Destination::parse(url).unwrap_err();
            assert!(!why.contains("hush"), "{why}");
        }
    }

    #[test]
    fn a_body_is_read_up_to_its_bound() {
        let read = |bytes_max| {
            let mut reading = pin!(read(Body::full("hello"), bytes_max));
            match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(read) => read,
                Poll::Pending => panic!("all of it is there"),
            }
        };
        assert_eq!(read(5).unwrap(), "hello");
        assert_eq!(read(4).unwrap_err().code.name(), "upstream_invalid");
    }
}
