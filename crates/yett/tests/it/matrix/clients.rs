//! The clients: columns of the table.

use super::super::yett::Yett;
use super::asking::{Answer, Ask};
use super::curl::{Curl, PRIOR_KNOWLEDGE};
use super::program::{Scripted, script};
use super::wrk::Wrk;
use std::path::Path;
use std::process::Command;

/// The name that certificates of the gateway are for.
pub(crate) const NAME: &str = "yett.test";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Curl10,
    Curl11,
    /// Without negotiation.
    Curl2,
    Wrk,
    PythonHttp,
    Httpx11,
    /// Without negotiation.
    Httpx2,
    NodeHttp,
    NodeFetch,
    Chromium11,
    /// Over TLS, as browsers have it.
    Chromium2,
}

/// What a client can be told to do.
pub(crate) trait Asker {
    /// Asks one after another, on one connection if the client has its way.
    fn ask_all(&mut self, asks: &[Ask]) -> Vec<Answer>;

    /// Asks for what breaks off; `died_twice` waits until it did so for the second time, for a client that
    /// tries again and again.
    fn ask_broken(&mut self, ask: &Ask, _died_twice: &dyn Fn()) -> Answer {
        self.ask_all(std::slice::from_ref(ask)).remove(0)
    }

    /// Begins an upload and goes away when `begun` returns.
    fn leave(&mut self, ask: &Ask, begun: &dyn Fn());
}

impl Client {
    pub(crate) const ALL: [Self; 11] = [
        Self::Curl10,
        Self::Curl11,
        Self::Curl2,
        Self::Wrk,
        Self::PythonHttp,
        Self::Httpx11,
        Self::Httpx2,
        Self::NodeHttp,
        Self::NodeFetch,
        Self::Chromium11,
        Self::Chromium2,
    ];

    pub(crate) fn start(self, yett: &Yett, folder: &Path) -> Box<dyn Asker> {
        let base = self.base(yett);
        let scripted = |command: Command| Box::new(Scripted::start(command, &base));
        let with = |name: &str, argument: &Path| {
            let mut command = script(name);
            command.arg(argument);
            scripted(command)
        };
        match self {
            Self::Curl10 => Box::new(Curl::new("--http1.0", &base)),
            Self::Curl11 => Box::new(Curl::new("--http1.1", &base)),
            Self::Curl2 => Box::new(Curl::new(PRIOR_KNOWLEDGE, &base)),
            Self::Wrk => Box::new(Wrk::new(&base)),
            Self::PythonHttp => scripted(script("client_http.py")),
            Self::Httpx11 => with("client_httpx.py", Path::new("1.1")),
            Self::Httpx2 => with("client_httpx.py", Path::new("2")),
            Self::NodeHttp => scripted(script("client_http.mjs")),
            Self::NodeFetch => scripted(script("client_fetch.mjs")),
            Self::Chromium11 | Self::Chromium2 => with("client_chromium.mjs", folder),
        }
    }

    fn base(self, yett: &Yett) -> String {
        let url = yett.url(self.listener());
        if self.is_secure() { url.replace("127.0.0.1", NAME) } else { url }
    }

    /// Whether it comes over TLS.
    pub(crate) fn is_secure(self) -> bool {
        self == Self::Chromium2
    }

    /// The listener it uses.
    pub(crate) fn listener(self) -> &'static str {
        if self.is_secure() { "secure" } else { "public" }
    }

    /// The version it speaks, in its own words; empty if it does not tell.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Curl10 => "HTTP/1.0",
            Self::Curl2 | Self::Httpx2 | Self::Chromium2 => "HTTP/2",
            Self::Wrk | Self::NodeFetch => "",
            _ => "HTTP/1.1",
        }
    }

    /// Connections it makes only to see whether there is somebody.
    pub(crate) fn probes(self) -> u64 {
        u64::from(self == Self::Wrk)
    }

    /// Whether it takes a new connection after `HEAD`, in case there comes a body.
    pub(crate) fn distrusts_head(self) -> bool {
        self == Self::NodeFetch
    }

    /// Whether it sends lines of one name as one line.
    pub(crate) fn joins_headers(self) -> bool {
        matches!(self, Self::NodeFetch | Self::Chromium11 | Self::Chromium2)
    }

    /// Whether it tells of interim answers, or why not.
    pub(crate) fn hears_interim(self) -> Result<(), &'static str> {
        match self {
            Self::Curl11 | Self::Curl2 | Self::NodeHttp => Ok(()),
            Self::Curl10 => Err("HTTP/1.0 has none, and none may be sent to it"),
            Self::Wrk | Self::PythonHttp => Err("it takes the first head for the answer"),
            Self::Httpx11 | Self::Httpx2 | Self::NodeFetch | Self::Chromium11 | Self::Chromium2 => {
                Err("it tells nobody of them")
            }
        }
    }
}
