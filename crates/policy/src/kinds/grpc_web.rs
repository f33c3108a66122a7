//! Lets browsers call gRPC backends: gRPC-Web on the client's side, over HTTP/1.1 or HTTP/2, is gRPC over
//! HTTP/2 on the backend's ("gRPC Web", PROTOCOL-WEB of the gRPC project). Messages pass as they are, in
//! base64 if the client wants it; trailers, which pages cannot read, are the last part of the body.

use crate::kind::{BuildCtx, Group, Kind};
use base::caps::BODY_READ_BYTES_MAX;
use base::{Node, Report, decode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::body::BodyFilter;
use traffic::exchange::Slot;
use traffic::grpc::{Dialect, GRPC_MESSAGE, GRPC_STATUS, Status};
use traffic::headers::may_trail;
use traffic::policy::Phases;
use traffic::{Body, Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "grpc_web",
    group: Group::Edge,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Lets browsers call gRPC backends: gRPC-Web, in binary or base64, becomes gRPC, and back. Other \
            requests pass as they are. Pages of other origins also need `cors`.",
    example: "grpc_web: {}",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `grpc_web`. There is nothing to set.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("properties" = {}))]
pub struct Settings {}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Settings {} = decode::<Settings>(node, ctx.path, report)?;
    Some(Arc::new(GrpcWeb))
}

struct GrpcWeb;

/// Says that a call was translated, and in which form its answer goes back.
#[derive(Clone, Copy, Debug)]
struct Translated {
    is_text: bool,
}

/// What a status may come with, where there are only headers.
const STATUS_HEADERS: [HeaderName; 3] =
    [GRPC_STATUS, GRPC_MESSAGE, HeaderName::from_static("grpc-status-details-bin")];

impl Policy for GrpcWeb {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let Some(rpc) = &exchange.rpc else { return Outcome::Now(Ok(Flow::Continue)) };
        // One of several policies of this kind translates; for the others it is gRPC already.
        let headers = &mut exchange.request.headers;
        let spoken = headers.get(CONTENT_TYPE).and_then(Dialect::of);
        let is_text = match spoken {
            Some(Dialect::Web) => false,
            Some(Dialect::WebText) => true,
            _ => return Outcome::Now(Ok(Flow::Continue)),
        };
        headers.insert(CONTENT_TYPE, native(&rpc.content_type));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.remove(ACCEPT);
        if is_text {
            headers.remove(CONTENT_LENGTH);
            exchange.body.filter(Box::new(FromText::default()));
        }
        exchange.notes.put(slot, Translated { is_text });
        Outcome::Now(Ok(Flow::Continue))
    }

    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        let note = exchange.notes.peek::<Translated>(slot).copied();
        let (Some(Translated { is_text }), Some(rpc)) = (note, &exchange.rpc) else {
            return Outcome::Now(Ok(()));
        };
        let is_call = reply.headers.get(CONTENT_TYPE).and_then(Dialect::of).is_some();
        if reply.status != StatusCode::OK || !is_call {
            return Outcome::Now(Ok(()));
        }
        reply.headers.insert(CONTENT_TYPE, rpc.content_type.clone());
        reply.headers.remove(CONTENT_LENGTH);
        let to_web = ToWeb { is_text };
        if reply.headers.contains(GRPC_STATUS) {
            // Pages of other origins can read the body without being let at the headers.
            let mut trailers = HeaderMap::with_capacity(STATUS_HEADERS.len());
            for name in STATUS_HEADERS {
                if let Some(value) = reply.headers.remove(&name) {
                    trailers.insert(name, value);
                }
            }
            reply.body = Body::full(to_web.part(trailer_part(&trailers)));
        } else {
            reply.body.filter(Box::new(to_web));
        }
        Outcome::Now(Ok(()))
    }
}

/// `application/grpc-web-text+proto` is `application/grpc+proto` for a backend.
fn native(content_type: &HeaderValue) -> HeaderValue {
    let suffix = content_type.to_str().ok().and_then(|text| text.split_once('+'));
    let native = suffix.map(|(_, suffix)| format!("application/grpc+{suffix}"));
    native
        .and_then(|native| HeaderValue::try_from(native).ok())
        .unwrap_or_else(|| HeaderValue::from_static("application/grpc"))
}

/// Trailers as part of a body: a flag, a length, and a line for each.
fn trailer_part(trailers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers.iter().filter(|(name, _)| may_trail(name.as_str())) {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            lines.extend_from_slice(piece);
        }
    }
    let mut part = BytesMut::with_capacity(lines.len() + 5);
    part.put_u8(TRAILERS);
    // Trailers are far shorter: messages of HTTP are bounded.
    part.put_u32(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    part.extend_from_slice(&lines);
    part.freeze()
}

/// The flag of a part that holds trailers.
const TRAILERS: u8 = 0x80;

/// An answer of gRPC as one of gRPC-Web.
struct ToWeb {
    is_text: bool,
}

impl ToWeb {
    /// What is ready goes out at once: parts in base64 are padded each, which clients must take.
    fn part(&self, data: Bytes) -> Bytes {
        if self.is_text { STANDARD.encode(&data).into() } else { data }
    }
}

impl BodyFilter for ToWeb {
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        Ok(self.part(data))
    }

    fn on_close(
        &mut self,
        trailers: Option<HeaderMap>,
    ) -> Result<(Bytes, Option<HeaderMap>), Fault> {
        let trailers = trailers.unwrap_or_else(|| {
            let status = HeaderValue::from(u16::from(Status::Internal.number()));
            [(GRPC_STATUS, status)].into_iter().collect()
        });
        Ok((self.part(trailer_part(&trailers)), None))
    }

    fn piece_max(&self) -> usize {
        if self.is_text { BODY_READ_BYTES_MAX } else { usize::MAX }
    }
}

/// A request's body out of base64, of which any part may be padded.
#[derive(Default)]
struct FromText {
    /// The beginning of four characters that belong together.
    begun: Vec<u8>,
}

impl BodyFilter for FromText {
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(&data);
        self.begun = text.split_off(text.len() - text.len() % 4);
        let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
        // Padding ends a part; another may follow.
        let is_padded = |group: &[u8]| group.last() == Some(&b'=');
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let groups = rest.chunks(4).position(is_padded).map_or(rest.len() / 4, |at| at + 1);
            let (part, next) = rest.split_at(groups * 4);
            STANDARD.decode_vec(part, &mut decoded).map_err(|_| not_base64())?;
            rest = next;
        }
        Ok(decoded.into())
    }

    fn on_end(&mut self) -> Result<Bytes, Fault> {
        if self.begun.is_empty() { Ok(Bytes::new()) } else { Err(not_base64()) }
    }

    fn piece_max(&self) -> usize {
        BODY_READ_BYTES_MAX
    }
}

fn not_base64() -> Fault {
    Fault::new(Stage::Guard, FaultCode::BadRequest)
        .detail("the body is not base64, as `application/grpc-web-text` announces")
        .closing()
}

#[cfg(test)]
mod tests;
