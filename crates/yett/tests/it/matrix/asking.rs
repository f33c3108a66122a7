//! What a client is told to ask, and what it tells of the answer: the same words for all clients.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Names and values in the order of the wire.
pub(crate) type Pairs = Vec<(String, String)>;

/// Bytes to send, in a file that every client can read.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) file: PathBuf,
    pub(crate) length: usize,
    pub(crate) sha256: String,
    /// Where a backend serves bytes that begin with these, for pages, which cannot read files.
    from: Option<&'static str>,
}

impl Content {
    /// Writes a file of these bytes.
    pub(crate) fn new(folder: &Path, name: &str, bytes: &[u8], from: Option<&'static str>) -> Self {
        let file = folder.join(name);
        fs::write(&file, bytes).unwrap();
        Self { file, length: bytes.len(), sha256: sha256(bytes), from }
    }

    /// A file of so many zeros; it takes no room on the disk.
    pub(crate) fn zeros(folder: &Path, name: &str, length: usize) -> Self {
        let content = Self::new(folder, name, b"", None);
        let file = fs::File::options().write(true).open(&content.file).unwrap();
        file.set_len(length.try_into().unwrap()).unwrap();
        Self { length, sha256: String::new(), ..content }
    }
}

/// The digest of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, bytes).as_ref() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// How the end of a request's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Chunked,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Pairs,
    pub(crate) body: Option<(Content, Framing)>,
    pub(crate) trailers: Pairs,
    /// Whether the client waits with the body until it is asked for.
    pub(crate) expects: bool,
    /// Whether it does not, even if it would by itself.
    pub(crate) hurries: bool,
}

impl Ask {
    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn head(path: &str) -> Self {
        Self::new("HEAD", path)
    }

    pub(crate) fn put(path: &str, content: &Content, framing: Framing) -> Self {
        Self { body: Some((content.clone(), framing)), ..Self::new("PUT", path) }
    }

    fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: vec![],
            body: None,
            trailers: vec![],
            expects: false,
            hurries: false,
        }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The order that a client in another language is given.
    pub(crate) fn order(&self, id: usize, base: &str, leave: bool) -> Value {
        let body = self.body.as_ref().map(|(content, framing)| {
            json!({
                "file": content.file,
                "length": content.length,
                "from": content.from,
                "chunked": *framing == Framing::Chunked,
            })
        });
        json!({
            "id": id,
            "url": format!("{base}{}", self.path),
            "method": self.method,
            "headers": self.headers,
            "body": body,
            "trailers": self.trailers,
            "expect": self.expects,
            "leave": leave,
        })
    }
}

/// An interim answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interim {
    pub(crate) status: u64,
    pub(crate) headers: Pairs,
}

/// An answer, as far as the client tells of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// What went wrong in the client's eyes.
    pub(crate) error: Option<String>,
    pub(crate) status: u64,
    /// Empty where the client does not know.
    pub(crate) version: String,
    pub(crate) headers: Pairs,
    pub(crate) interim: Vec<Interim>,
    pub(crate) trailers: Pairs,
    pub(crate) length: usize,
    pub(crate) sha256: String,
    /// The body, if it is short.
    pub(crate) text: String,
}

impl Answer {
    /// What a client in another language told.
    pub(crate) fn of(told: &Value) -> Self {
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let interim = |told: &Value| Interim {
            status: told["status"].as_u64().unwrap(),
            headers: pairs(&told["headers"]),
        };
        Self {
            error: told["error"].as_str().map(str::to_owned),
            status: told["status"].as_u64().unwrap_or_default(),
            version: text("version"),
            headers: pairs(&told["headers"]),
            interim: told["interim"].as_array().into_iter().flatten().map(interim).collect(),
            trailers: pairs(&told["trailers"]),
            length: told["length"].as_u64().unwrap_or_default().try_into().unwrap(),
            sha256: text("sha256"),
            text: text("text"),
        }
    }

    /// With what was received as its body.
    pub(crate) fn received(mut self, bytes: &[u8]) -> Self {
        self.length = bytes.len();
        self.sha256 = sha256(bytes);
        if bytes.len() <= TEXT_MAX {
            self.text = String::from_utf8(bytes.to_vec()).unwrap_or_default();
        }
        self
    }

    /// All values of a header, in order; its name in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        all(&self.headers, name)
    }

    /// The value of a header that is there once at most.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "`{name}` is there {} times: {self:?}", values.len());
        values.first().copied()
    }

    /// What the backend says in its answer that it got.
    pub(crate) fn report(&self) -> Report {
        let told: Value = serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("this is no report of a backend: {self:?}"));
        Report {
            headers: pairs(&told["headers"]),
            framing: told["framing"].as_str().unwrap().to_owned(),
            length: told["length"].as_u64().unwrap_or_default().try_into().unwrap(),
            sha256: told["sha256"].as_str().unwrap_or_default().to_owned(),
            trailers: pairs(&told["trailers"]),
        }
    }
}

/// Longer bodies are kept by their digest only.
const TEXT_MAX: usize = 8 << 10;

/// A request as the backend saw it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) headers: Pairs,
    /// `length`, `chunked` or `none`.
    pub(crate) framing: String,
    pub(crate) length: usize,
    pub(crate) sha256: String,
    pub(crate) trailers: Pairs,
}

/// All values of a name, in order.
pub(crate) fn all<'a>(pairs: &'a Pairs, name: &str) -> Vec<&'a str> {
    let named = pairs.iter().filter(|(written, _)| written.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}

fn pairs(told: &Value) -> Pairs {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    told.as_array().into_iter().flatten().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}
