//! Where one can listen and connect: an address with a port, or the path of a Unix socket (`unix:/run/app.sock`).

use crate::caps::UNIX_PATH_BYTES_MAX;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// What the path of a Unix socket stands behind.
const UNIX: &str = "unix:";

/// An address with a port, or the path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix socket, by its absolute path.
    Unix(Arc<Path>),
}

impl Endpoint {
    /// Reads the path of a Unix socket; none if the text is about something else.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the path: it must be absolute, and the system takes
    /// [`UNIX_PATH_BYTES_MAX`] bytes of it.
    pub fn unix(text: &str) -> Option<Result<Arc<Path>, String>> {
        let path = text.trim().strip_prefix(UNIX)?;
        Some(checked(path).map(|()| Arc::from(Path::new(path))))
    }

    /// The address, if it is one.
    #[must_use]
    pub const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path, if it is one.
    #[must_use]
    pub const fn path(&self) -> Option<&Arc<Path>> {
        match self {
            Self::Ip(_) => None,
            Self::Unix(path) => Some(path),
        }
    }

    /// Whether `bound` is what was asked for: port 0 is any port of the address.
    #[must_use]
    pub fn is_met_by(&self, bound: &Self) -> bool {
        match (self, bound) {
            (Self::Ip(asked), Self::Ip(bound)) if asked.port() == 0 => asked.ip() == bound.ip(),
            _ => self == bound,
        }
    }
}

fn checked(path: &str) -> Result<(), String> {
    if path.starts_with('@') {
        return Err(format!(
            "`{UNIX}{path}`: sockets without a file are not for everybody to see; write a path"
        ));
    }
    if !path.starts_with('/') {
        return Err(format!(
            "`{UNIX}{path}` must be an absolute path, such as `unix:/run/app.sock`"
        ));
    }
    if path.ends_with('/') {
        return Err(format!("`{UNIX}{path}` is a folder, not a file"));
    }
    if path.bytes().any(|byte| byte == 0) {
        return Err("the path has a zero byte in it".to_owned());
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!(
            "`{UNIX}{path}` has {} bytes, and the path of a Unix socket can have {UNIX_PATH_BYTES_MAX}",
            path.len()
        ));
    }
    Ok(())
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;
    use crate::caps::UNIX_PATH_BYTES_MAX;

    #[test]
    fn paths_are_read_and_bad_ones_are_told() {
        let path = Endpoint::unix(" unix:/run/app.sock").unwrap().unwrap();
        assert_eq!(Endpoint::Unix(path).to_string(), "unix:/run/app.sock");
        assert!(Endpoint::unix("127.0.0.1:80").is_none());
        let longest = format!("unix:/{}", "x".repeat(UNIX_PATH_BYTES_MAX - 1));
        assert!(Endpoint::unix(&longest).unwrap().is_ok());
        for (text, part) in [
            ("unix:run/app.sock", "must be an absolute path"),
            ("unix:", "must be an absolute path"),
            ("unix:@app", "write a path"),
            ("unix:/run/", "is a folder"),
            ("unix:/a\0b", "zero byte"),
            (&format!("{longest}x"), "has 108 bytes"),
        ] {
            let why = Endpoint::unix(text).unwrap().unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn any_port_of_an_address_meets_port_zero() {
        let ip = |text: &str| Endpoint::Ip(text.parse().unwrap());
        let unix = |text: &str| Endpoint::Unix(Endpoint::unix(text).unwrap().unwrap());
        assert!(ip("127.0.0.1:0").is_met_by(&ip("127.0.0.1:8080")));
        assert!(!ip("127.0.0.1:0").is_met_by(&ip("127.0.0.2:8080")));
        assert!(!ip("127.0.0.1:80").is_met_by(&ip("127.0.0.1:8080")));
        assert!(unix("unix:/a").is_met_by(&unix("unix:/a")));
        assert!(!unix("unix:/a").is_met_by(&unix("unix:/b")));
        assert!(!ip("127.0.0.1:0").is_met_by(&unix("unix:/a")));
    }
}
