//! One request and its answer over a connection of HTTP/2 (RFC 9113) that it shares with others.

use crate::answer::{self, Occupied};
use crate::attempt::in_words;
use crate::pool::Stream;
use crate::reach::Reach;
use crate::target::Seat;
use crate::upload::Upload;
use base::BoxError;
use http::header::{EXPECT, HOST, HeaderMap};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use tokio::time::timeout;
use traffic::body::BodyError;
use traffic::upstream::{Call, Failed, Timeouts};
use traffic::{Body, Fault, FaultCode, Headers, Informational, Request, Response, Stage};

/// Sends a request and waits for the head of its answer; the body of the answer holds the stream and the
/// seat until it ends.
pub(crate) async fn send(
    mut stream: Stream,
    reach: &Arc<Reach>,
    seat: &mut Option<Seat>,
    call: &Call,
    mut request: Request,
) -> Result<Response, Failed> {
    if request.protocol.is_some() {
        let fault = Fault::new(Stage::Forward, FaultCode::SwitchRefused)
            .cause("tunnels to targets that speak HTTP/2 are not supported; set `protocol: http1`");
        return Err(Failed { fault, unsent: None });
    }
    let host = request.headers.get(HOST).cloned();
    if request.headers.remove(EXPECT).is_some() {
        // Whoever waits for it gets it from us: what this side's library reads of informational
        // answers it keeps for itself.
        let headers = Headers::new();
        call.interim.send(Informational { status: StatusCode::CONTINUE, headers });
    }
    let mut request = match address(request, reach.scheme()) {
        Ok(request) => request,
        Err(error) => {
            let fault = Fault::new(Stage::Forward, FaultCode::Internal).cause(error);
            return Err(Failed { fault, unsent: None });
        }
    };
    let mut upload = Upload::watch(&mut request);
    match head(stream.send(request), upload.as_mut(), call.timeouts).await {
        Err(late) => {
            stream.distrust();
            Err(Failed { fault: late, unsent: None })
        }
        Ok(Ok(response)) => {
            let (parts, body) = response.into_parts();
            let occupied = Occupied {
                reach: Arc::clone(reach),
                worker: call.worker,
                stream,
                _upload: upload,
                seat: seat.take(),
            };
            let body = answer::wrap(body, call.timeouts.idle, occupied);
            Ok(Response { status: parts.status, headers: parts.headers.into(), body })
        }
        Ok(Err(mut error)) => {
            let unsent = error.take_message().map(|unsent| plain(unsent, host));
            let fault = upload.as_ref().and_then(Upload::fault).unwrap_or_else(|| broken(&error));
            if unsent.is_some()
                && let Some(upload) = upload
            {
                upload.release();
            }
            Err(Failed { fault, unsent })
        }
    }
}

/// A request with its target in pseudo-headers (RFC 9113, 8.3.1).
///
/// # Errors
/// When `Host` is no authority.
pub(crate) fn address(
    request: Request,
    scheme: http::uri::Scheme,
) -> Result<http::Request<Body>, BoxError> {
    let mut headers = HeaderMap::from(request.headers);
    let host = headers.remove(HOST).ok_or("the request has no `Host`")?;
    let mut parts = Uri::from(request.target).into_parts();
    parts.scheme = Some(scheme);
    parts.authority = Some(Authority::try_from(host.as_bytes())?);
    let mut addressed = http::Request::new(request.body);
    *addressed.method_mut() = request.method;
    *addressed.uri_mut() = Uri::from_parts(parts)?;
    *addressed.version_mut() = Version::HTTP_2;
    *addressed.headers_mut() = headers;
    Ok(addressed)
}

/// A request as it was before it was addressed.
fn plain(request: http::Request<Body>, host: Option<HeaderValue>) -> Request {
    let (parts, body) = request.into_parts();
    let mut headers = Headers::with_capacity(parts.headers.len() + 1);
    if let Some(host) = host {
        headers.append(HOST, host);
    }
    for (name, value) in Headers::from(parts.headers) {
        headers.append(name, value);
    }
    let target = parts.uri.into_parts().path_and_query;
    let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
    Request { method: parts.method, target, headers, body, protocol: None }
}

type Sent = Result<http::Response<Incoming>, TrySendError<http::Request<Body>>>;

/// Waits for the head of an answer. The time limit for it begins when the request was sent; until
/// then the target must go on taking the request.
///
/// # Errors
/// When the target is too slow.
async fn head(
    response: impl Future<Output = Sent>,
    upload: Option<&mut Upload>,
    limits: Timeouts,
) -> Result<Sent, Fault> {
    let mut response = pin!(response);
    let late = |why: String| Fault::new(Stage::Forward, FaultCode::FirstByteTimeout).cause(why);
    if let Some(upload) = upload {
        match first(response.as_mut(), Box::pin(upload.wait(limits.idle)).as_mut()).await {
            Ok(sent) => return Ok(sent),
            Err(true) => {}
            Err(false) => return Err(late("the target stopped taking the request".to_owned())),
        }
    }
    match limits.first_byte {
        None => Ok(response.await),
        Some(limit) => timeout(limit, response)
            .await
            .map_err(|_| late(format!("no response head within {limit:?}"))),
    }
}

/// Whichever ends first, the left one if both do.
async fn first<A: Future, B: Future>(
    mut left: Pin<&mut A>,
    mut right: Pin<&mut B>,
) -> Result<A::Output, B::Output> {
    std::future::poll_fn(|cx| match left.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => right.as_mut().poll(cx).map(Err),
    })
    .await
}

/// Tells apart who broke an exchange: the request's own body, a target that speaks wrongly, or a
/// connection that went away.
fn broken(error: &TrySendError<http::Request<Body>>) -> Fault {
    let error = error.error();
    if let Some(fault) = BodyError::fault_behind(error) {
        return fault;
    }
    let speaks_wrongly = error.is_parse()
        || source_of::<h2::Error>(error).is_some_and(|error| error.is_library() && !error.is_io());
    let code = match (speaks_wrongly, error.is_user()) {
        (true, _) => FaultCode::UpstreamInvalid,
        (false, true) => FaultCode::Internal,
        (false, false) => FaultCode::UpstreamReset,
    };
    Fault::new(Stage::Forward, code).cause(in_words(error))
}

fn source_of<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| (*error).source())
        .find_map(|error| error.downcast_ref())
}
