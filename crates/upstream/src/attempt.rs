//! One attempt to have a request answered by one target.

use crate::answer::{self, Occupied};
use crate::connect::ConnectError;
use crate::pool::Held;
use crate::reach::Reach;
use crate::target::Seat;
use crate::upload::Upload;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use tokio::time::timeout;
use traffic::body::BodyError;
use traffic::upstream::{Call, Failed, Target, Timeouts};
use traffic::{Body, BoxFuture, Fault, FaultCode, Stage};

/// A chosen target, and its place among the target's requests under way.
pub(crate) struct Attempt {
    pub(crate) reach: Arc<Reach>,
    pub(crate) seat: Seat,
}

impl Target for Attempt {
    fn send(
        self: Box<Self>,
        call: Call,
        request: traffic::Request,
    ) -> BoxFuture<'static, Result<traffic::Response, Failed>> {
        Box::pin(self.run(call, request))
    }
}

impl Attempt {
    async fn run(
        self: Box<Self>,
        call: Call,
        request: traffic::Request,
    ) -> Result<traffic::Response, Failed> {
        let mut request = to_http(request);
        let Self { reach, seat } = *self;
        reach.metrics.attempts.add(call.worker, 1);
        reach.cell.metrics.requests.add(call.worker, 1);
        let mut upload = Upload::watch(&mut request);
        match exchange(&reach, &call, request, &mut upload).await {
            Ok((held, response)) => {
                let (parts, body) = response.into_parts();
                let occupied = Occupied { reach, worker: call.worker, held, upload, seat };
                let body = answer::wrap(body, call.timeouts.idle, occupied);
                let (status, headers) = (parts.status, parts.headers.into());
                Ok(traffic::Response { status, headers, body })
            }
            Err(failed) => {
                if failed.fault.code.row().blame == traffic::Blame::Upstream {
                    reach.cell.metrics.failures.add(call.worker, 1);
                }
                if failed.unsent.is_some()
                    && let Some(upload) = upload
                {
                    upload.release();
                }
                Err(failed)
            }
        }
    }
}

/// Sends on a connection from the pool or a new one. A connection from the pool may have been closed
/// by its peer in the meantime: a request that it did not take goes out once more on a new one.
async fn exchange(
    reach: &Reach,
    call: &Call,
    mut request: Request<Body>,
    upload: &mut Option<Upload>,
) -> Result<(Held, Response<Incoming>), Failed> {
    let mut is_fresh = false;
    if !request.method().is_idempotent() {
        // What cannot be sent twice should not meet a connection that its peer has closed already: this
        // lets the runtime look at its sockets once more before one is chosen.
        tokio::task::yield_now().await;
    }
    loop {
        let held = reach.hold(call.worker, call.timeouts.connect, is_fresh).await;
        let (mut held, is_reused) = match held {
            Ok(held) => held,
            Err(error) => {
                return Err(Failed {
                    fault: not_connected(error),
                    unsent: Some(from_http(request)),
                });
            }
        };
        let written = Written::of(&request);
        if let Err(error) = reach.address(&mut request, held.speaks_http2()) {
            let fault = Fault::new(Stage::Forward, FaultCode::Internal).cause(error);
            return Err(Failed { fault, unsent: None });
        }
        let answer = head(held.send(request), upload.as_mut(), call.timeouts).await;
        match answer {
            Err(late) => {
                held.distrust();
                return Err(Failed { fault: late, unsent: None });
            }
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let fault = Fault::new(Stage::Forward, FaultCode::UpstreamInvalid)
                    .cause("the target switched protocols, which nobody asked for");
                return Err(Failed { fault, unsent: None });
            }
            Ok(Ok(response)) => return Ok((held, response)),
            Ok(Err(mut error)) => match error.take_message() {
                Some(unsent) if is_reused && !is_fresh => {
                    request = written.restore(unsent);
                    is_fresh = true;
                }
                unsent => {
                    let unsent = unsent.map(|unsent| from_http(written.restore(unsent)));
                    let fault = upload.as_ref().and_then(Upload::fault);
                    let fault = fault.unwrap_or_else(|| broken(&error));
                    return Err(Failed { fault, unsent });
                }
            },
        }
    }
}

fn to_http(request: traffic::Request) -> Request<Body> {
    let mut converted = Request::new(request.body);
    *converted.method_mut() = request.method;
    *converted.uri_mut() = Uri::from(request.target);
    *converted.headers_mut() = request.headers.into();
    converted
}

fn from_http(request: Request<Body>) -> traffic::Request {
    let (parts, body) = request.into_parts();
    let target = parts.uri.into_parts().path_and_query;
    traffic::Request {
        method: parts.method,
        target: target.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
        headers: parts.headers.into(),
        body,
    }
}

/// What addressing a request changes.
struct Written {
    uri: Uri,
    host: Option<HeaderValue>,
    connection: Option<HeaderValue>,
}

impl Written {
    fn of(request: &Request<Body>) -> Self {
        let header = |name| request.headers().get(name).cloned();
        Self { uri: request.uri().clone(), host: header(HOST), connection: header(CONNECTION) }
    }

    fn restore(&self, mut request: Request<Body>) -> Request<Body> {
        *request.uri_mut() = self.uri.clone();
        for (name, value) in [(HOST, &self.host), (CONNECTION, &self.connection)] {
            match value {
                Some(value) => drop(request.headers_mut().insert(name, value.clone())),
                None => drop(request.headers_mut().remove(name)),
            }
        }
        request
    }
}

type Sent = Result<Response<Incoming>, TrySendError<Request<Body>>>;

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

fn not_connected(error: ConnectError) -> Fault {
    let (code, why) = match error {
        ConnectError::Unresolved(why) => (FaultCode::Unresolved, why),
        ConnectError::Timeout(why) => (FaultCode::ConnectTimeout, why),
        ConnectError::Failed(why) => (FaultCode::ConnectFailed, why),
    };
    Fault::new(Stage::Forward, code).cause(why)
}

/// Tells apart who broke an exchange: the request's own body, a target that speaks wrongly, or a
/// connection that went away.
fn broken(error: &TrySendError<Request<Body>>) -> Fault {
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

/// An error and what lies behind it.
pub(crate) fn in_words(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
