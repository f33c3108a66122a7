//! Frames as bytes, written by hand so that nothing is put right on the way, and read back into text.

use crate::it::http2::hpack::{Decoder, field};
use crate::it::kit::{hear_bytes, tell_bytes};
use testkit::TestGateway;
use tokio::io::DuplexStream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Kinds of frames (RFC 9113, 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

// Flags.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;
/// A request without a body.
pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;

/// The names of error codes (RFC 9113, 7).
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length.get(1..).unwrap().to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block, each field a literal that is not indexed, from lines of `name: value`. A name may begin
/// with a colon.
pub(crate) fn block(lines: &str) -> Vec<u8> {
    let fields = lines.lines().map(|line| {
        let at = line.get(1..).unwrap().find(": ").unwrap() + 1;
        let (name, value) = line.split_at(at);
        field(name.as_bytes(), value.get(2..).unwrap().as_bytes())
    });
    fields.flatten().collect()
}

/// What every request begins with, and further lines.
pub(crate) fn head(lines: &str) -> Vec<u8> {
    block(&format!(":method: GET\n:scheme: http\n:path: /\n:authority: a.test\n{lines}"))
}

/// A whole `GET` on this stream.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &head(""))
}

/// The head of a `POST` whose body is to come.
pub(crate) fn post(stream: u32, lines: &str) -> Vec<u8> {
    let start = ":method: POST\n:scheme: http\n:path: /\n:authority: a.test\n";
    frame(HEADERS, END_HEADERS, stream, &block(&format!("{start}{lines}")))
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

pub(crate) fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub(crate) fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"are you?")
}

/// SETTINGS of one parameter.
pub(crate) fn setting(parameter: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&parameter.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// A frame as it was heard.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
    /// Of HEADERS.
    pub(crate) fields: Vec<(String, String)>,
}

impl Heard {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    fn code(&self, at: usize) -> &'static str {
        let code = self.payload.get(at..at + 4).unwrap();
        CODES[usize::try_from(u32::from_be_bytes(code.try_into().unwrap())).unwrap()]
    }
}

/// A client that writes frames by hand.
pub(crate) struct Client {
    pub(crate) io: DuplexStream,
    rest: Vec<u8>,
    decoder: Decoder,
    pub(crate) is_closed: bool,
}

impl Client {
    /// A client that has said nothing.
    pub(crate) fn new(gateway: &TestGateway) -> Self {
        let (rest, decoder) = (Vec::new(), Decoder::default());
        Self { io: gateway.connect(), rest, decoder, is_closed: false }
    }

    /// A client that has begun as it should.
    pub(crate) async fn ready(gateway: &TestGateway) -> Self {
        let mut client = Self::new(gateway);
        client.tell(PREFACE).await;
        client.tell(&frame(SETTINGS, 0, 0, b"")).await;
        client.hear().await;
        client.tell(&frame(SETTINGS, ACK, 0, b"")).await;
        client
    }

    pub(crate) async fn tell(&mut self, bytes: &[u8]) {
        tell_bytes(&mut self.io, bytes).await;
    }

    /// The frames that come until all is quiet.
    pub(crate) async fn hear(&mut self) -> Vec<Heard> {
        let (bytes, is_closed) = hear_bytes(&mut self.io).await;
        self.is_closed |= is_closed;
        self.rest.extend(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = self.next() {
            frames.push(frame);
        }
        frames
    }

    fn next(&mut self) -> Option<Heard> {
        let [high, middle, low, kind, flags, stream @ ..] = *self.rest.first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if self.rest.len() < 9 + length {
            return None;
        }
        let payload: Vec<u8> = self.rest.drain(..9 + length).skip(9).collect();
        let fields = if kind == HEADERS { self.decoder.decode(&payload) } else { Vec::new() };
        assert!(kind != CONTINUATION && (kind != HEADERS || flags & END_HEADERS != 0));
        Some(Heard { kind, flags, stream: u32::from_be_bytes(stream), payload, fields })
    }

    /// Says something and tells what comes of it, in short.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> String {
        self.tell(bytes).await;
        self.story().await
    }

    /// What comes, in short.
    pub(crate) async fn story(&mut self) -> String {
        let frames = self.hear().await;
        let mut story = tell_story(&frames);
        if self.is_closed {
            story.push("closed".to_owned());
        }
        story.join(", ")
    }
}

/// What frames mean: `1:200` is a whole answer, `1:200..` one that is not at its end, `1:..` more of it,
/// `1:end` its end; faults are told by their code, windows, settings and pings are left out.
pub(crate) fn tell_story(frames: &[Heard]) -> Vec<String> {
    let mut story: Vec<String> = Vec::new();
    for frame in frames {
        let id = frame.stream;
        let end = if frame.ends() { "" } else { ".." };
        match frame.kind {
            HEADERS if frame.field(":status").is_some() => {
                story.push(format!("{id}:{}{end}", frame.field(":status").unwrap()));
            }
            HEADERS => {
                let trailers = frame.fields.iter().map(|(name, value)| format!("{name}={value}"));
                story.push(format!("{id}:{}", trailers.collect::<Vec<_>>().join(";")));
            }
            DATA => {
                let text = String::from_utf8_lossy(&frame.payload);
                let code =
                    text.split_once("\"code\":\"").and_then(|(_, code)| code.split_once('"'));
                let code = code.map(|(code, _)| format!(" {code}")).unwrap_or_default();
                match story.iter_mut().rev().find(|told| told.starts_with(&format!("{id}:"))) {
                    Some(told) if told.ends_with("..") => {
                        *told = format!("{}{code}{end}", told.trim_end_matches(".."));
                    }
                    _ => story.push(format!("{id}:{}", if frame.ends() { "end" } else { ".." })),
                }
            }
            RST_STREAM => story.push(format!("{id}:{}", frame.code(0))),
            GOAWAY => story.push(format!("goaway {}", frame.code(4))),
            _ => {}
        }
    }
    story
}
