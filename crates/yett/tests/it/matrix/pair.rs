//! A client and a backend with the gateway between them.

use super::super::yett::{Launch, PUBLIC, Yett, plain};
use super::asking::{Answer, Ask, Content};
use super::clients::{Asker, Client, NAME};
use super::origins::{Origin, Server};
use aws_lc_rs::rand;
use std::path::Path;
use tempfile::TempDir;
use testkit::Authority;

const LARGE: usize = 8 << 20;
/// More than all buffers between a client and a backend that does not read.
const HUGE: usize = 64 << 20;

/// The bodies that are sent.
#[derive(Clone)]
pub(crate) struct Contents {
    pub(crate) empty: Content,
    pub(crate) small: Content,
    /// What backends serve as `/large`.
    pub(crate) large: Content,
    pub(crate) huge: Content,
}

impl Contents {
    pub(crate) fn new(folder: &Path) -> Self {
        let mut noise = vec![0; LARGE];
        rand::fill(&mut noise).unwrap();
        // nginx's server-side includes, by which it makes chunks, lose a `<` that comes last.
        *noise.last_mut().unwrap() = b'.';
        let small = noise.get(..1_000).unwrap();
        Self {
            empty: Content::new(folder, "empty", b"", None),
            small: Content::new(folder, "small", small, Some("/large")),
            large: Content::new(folder, "large", &noise, Some("/large")),
            huge: Content::zeros(folder, "huge", HUGE),
        }
    }
}

/// A client, the gateway and a backend.
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) origin: Origin,
    pub(crate) contents: Contents,
    pub(crate) yett: Yett,
    pub(crate) server: Server,
    pub(crate) asker: Box<dyn Asker>,
    _folder: TempDir,
}

impl Pair {
    pub(crate) fn start(client: Client, origin: Origin, contents: &Contents) -> Self {
        let server = origin.start(&contents.large.file);
        let yett = gateway(client, &server.address);
        let folder = tempfile::tempdir().unwrap();
        let asker = client.start(&yett, folder.path());
        Self { client, origin, contents: contents.clone(), yett, server, asker, _folder: folder }
    }

    /// Takes another client of the same kind, since the one there was may be in any state.
    pub(crate) fn renew_client(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        self.asker = self.client.start(&self.yett, folder.path());
        self._folder = folder;
    }

    /// Asks, and takes only an answer that came whole.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        self.ask_all(std::slice::from_ref(ask)).remove(0)
    }

    /// Asks one after another.
    pub(crate) fn ask_all(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let answers = self.asker.ask_all(asks);
        assert_eq!(answers.len(), asks.len());
        for (ask, answer) in asks.iter().zip(&answers) {
            assert_eq!(answer.error, None, "{} {}: {answer:?}", ask.method, ask.path);
        }
        answers
    }
}

/// A gateway of one worker, so that what it keeps open is found by every request.
fn gateway(client: Client, target: &str) -> Yett {
    let config = plain(target, "workers: 1\n");
    if !client.is_secure() {
        return Yett::start(&config);
    }
    let secure = "listeners: { secure: { bind: \"127.0.0.1:0\", \
         tls: { certificates: [{ cert: pair.pem, key: pair.key }] } } }\n";
    let pair = Authority::new().sign(&[NAME]);
    let launch = Launch::new(&config.replace(PUBLIC, secure));
    launch.file("pair.pem", &pair.cert_pem).file("pair.key", &pair.key_pem).start()
}
