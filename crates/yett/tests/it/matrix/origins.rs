//! The backends: nginx, Caddy, and servers of Python and Node.
//!
//! They all serve the same:
//!
//! | path | answer |
//! |---|---|
//! | `/page.html` | a page by its length, with an `ETag`; also to `HEAD` and on condition |
//! | `/large`, `/large-chunked` | 8 MiB, by length and in chunks |
//! | `/chunked` | three lines in chunks |
//! | `/empty`, `/none` | 200 with no bytes, 204 |
//! | `/cookies` | two cookies |
//! | `/trailers` | a body in chunks and the trailer `x-sum` |
//! | `/hints` | 103 with a link, then 200 |
//! | `/headers` | what was asked, as a report |
//! | `/dies/length`, `/dies/chunked` | the beginning of a body; then the connection ends |
//! | `PUT /store/NAME` | what was sent, as a report; told as `whole NAME` or `broken NAME` |
//! | `PUT /hold/NAME` | the same, but reading stops (`began NAME`) until the test says `NAME` |
//! | `PUT /early/NAME` | 413 before the body is read |
//! | `PUT /refuse/NAME` | 403 to a client that waits with the body (`refused NAME`); if that comes all the same, `leaked NAME` |
//!
//! nginx and Caddy do by themselves what they can, and pass the rest on to Node's server, as they do
//! elsewhere.

use super::super::servers::{Nginx, free_port};
use super::super::wait::{Lines, until};
use super::program::{Program, installed, script, spawn};
use std::cell::RefCell;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// What `/page.html` is.
pub(crate) const PAGE: &str = "<p>a page</p>\n";
/// What `/chunked` is.
pub(crate) const LINES: &str = "one\ntwo\nthree\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Nginx,
    Caddy,
    Python,
    Node,
}

impl Origin {
    pub(crate) const ALL: [Self; 4] = [Self::Nginx, Self::Caddy, Self::Python, Self::Node];

    /// Starts it; `large` is what it serves as such.
    pub(crate) fn start(self, large: &Path) -> Server {
        let name = if self == Self::Python { "backend.py" } else { "backend.mjs" };
        let mut command = script(name);
        command.arg(large);
        let mut app = Program::start(command);
        let port: u16 = app.find("its port", |line| line.strip_prefix("serving ")?.parse().ok());
        let behind = format!("127.0.0.1:{port}");
        let (front, address) = match self {
            Self::Nginx => {
                let nginx = nginx(&behind, large);
                let address = nginx.address.clone();
                (Some(Front::Nginx { _nginx: nginx }), address)
            }
            Self::Caddy => {
                let caddy = Caddy::start(&behind, large);
                let address = caddy.address.clone();
                (Some(Front::Caddy { _caddy: caddy }), address)
            }
            Self::Python | Self::Node => (None, behind),
        };
        Server { address, app: RefCell::new(app), _front: front }
    }

    /// Whether what it is sent arrives at the program that reports it as the gateway sent it.
    pub(crate) fn is_direct(self) -> bool {
        matches!(self, Self::Python | Self::Node)
    }
}

/// A running backend.
pub(crate) struct Server {
    pub(crate) address: String,
    app: RefCell<Program>,
    _front: Option<Front>,
}

/// What stands before the program, to end with it.
enum Front {
    Nginx { _nginx: Nginx },
    Caddy { _caddy: Caddy },
}

impl Server {
    /// Waits until it tells one of these of a name; returns which.
    pub(crate) fn expect(&self, words: &[&str], name: &str) -> String {
        self.app.borrow_mut().find(&format!("{words:?} {name}"), |line| {
            let mut told = line.split(' ');
            let word = told.next().filter(|word| words.contains(word))?;
            (told.next() == Some(name)).then(|| word.to_owned())
        })
    }

    /// How often it told this so far.
    pub(crate) fn count(&self, word: &str, name: &str) -> usize {
        let wanted = [Some(word), Some(name)];
        let told = self.app.borrow().told();
        let is_it = |line: &&String| {
            let mut words = line.split(' ');
            [words.next(), words.next()] == wanted
        };
        told.iter().filter(is_it).count()
    }

    /// Lets it read on.
    pub(crate) fn resume(&self, name: &str) {
        self.app.borrow_mut().say(name);
    }
}

fn nginx(app: &str, large: &Path) -> Nginx {
    let nginx = Nginx::start(&format!(
        "location / {{ proxy_pass http://{app}; proxy_http_version 1.1; proxy_set_header Connection \"\";
           proxy_request_buffering off; proxy_buffering off; }}
         location = /page.html {{ }}
         location = /large {{ }}
         location = /chunked {{ ssi on; ssi_types *; }}
         location = /large-chunked {{ ssi on; ssi_types *; }}
         location = /trailers {{ add_trailer x-sum 7; }}
         location = /empty {{ return 200; }}
         location = /none {{ return 204; }}
         location = /cookies {{ add_header set-cookie a=1; add_header set-cookie b=2; return 200 ok; }}
         location /early/ {{ return 413; }}
         location /refuse/ {{ return 403; }}"
    ));
    let large = fs::read(large).unwrap();
    nginx.file("page.html", PAGE.as_bytes());
    nginx.file("chunked", LINES.as_bytes());
    nginx.file("trailers", b"summed\n");
    nginx.file("large", &large);
    nginx.file("large-chunked", &large);
    nginx
}

/// A running Caddy.
struct Caddy {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Caddy {
    fn start(app: &str, large: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("files");
        fs::create_dir(&files).unwrap();
        fs::write(files.join("page.html"), PAGE).unwrap();
        fs::copy(large, files.join("large")).unwrap();
        let (child, address) = until("Caddy finds a free port", || {
            let port = free_port();
            fs::write(folder.path().join("Caddyfile"), caddyfile(port, app)).unwrap();
            let address = format!("127.0.0.1:{port}");
            Some((launch(folder.path(), &address)?, address))
        });
        Self { child, address, _folder: folder }
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts Caddy and waits until it takes connections; nothing if it ended instead.
fn launch(folder: &Path, address: &str) -> Option<Child> {
    let mut command = installed("caddy");
    command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
    command.current_dir(folder).env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = spawn(&mut command);
    let told = Lines::of(child.stderr.take().unwrap());
    until("Caddy serves", || match child.try_wait().unwrap() {
        Some(_) if told.text().contains("address already in use") => Some(false),
        Some(status) => panic!("Caddy ended with {status}: {}", told.text()),
        None => TcpStream::connect(address).is_ok().then_some(true),
    })
    .then_some(child)
}

fn caddyfile(port: u16, app: &str) -> String {
    format!(
        "{{
    admin off
    auto_https off
    persist_config off
}}
http://:{port} {{
    bind 127.0.0.1
    root files
    @files path /page.html /large
    header /cookies +set-cookie a=1
    header /cookies +set-cookie b=2
    route {{
        file_server @files
        respond /empty 200
        respond /none 204
        respond /cookies ok
        respond /early/* early 413
        reverse_proxy {app}
    }}
}}
"
    )
}
