use super::{Options, line};
use crate::path::PathPattern;
use crate::validate::host_pattern;
use serde_json::Value;

/// Where the API is, by what a document says of its servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Hosts that it answers to.
    pub hosts: Vec<String>,
    /// Path that its routes begin with.
    pub path: Option<String>,
    /// An upstream of the config, if one was named.
    pub upstream: Option<String>,
    /// Otherwise the host and port of the document's first server.
    pub target: Option<String>,
    /// Whether that is spoken to by TLS.
    pub tls: bool,
}

/// One URL of a server.
struct Address {
    is_safe: bool,
    host: String,
    port: u16,
}

pub(super) fn read(document: &Value, options: &Options, notes: &mut Vec<String>) -> Server {
    let mut server = Server { upstream: options.upstream.clone(), ..Server::default() };
    let none = Vec::new();
    let servers = document.get("servers").and_then(Value::as_array).unwrap_or(&none);
    for (index, written) in servers.iter().enumerate() {
        let Some(url) = written.get("url").and_then(Value::as_str) else { continue };
        let url = substituted(url, written.get("variables"));
        let (address, path) = split(&url);
        if let Some(address) = &address {
            let host = address.host.to_ascii_lowercase();
            let is_outside = host_pattern(&host).is_ok()
                && host != "localhost"
                && host.parse::<std::net::IpAddr>().is_err();
            if is_outside && !server.hosts.contains(&host) {
                server.hosts.push(host.clone());
            }
            if server.target.is_none() && (is_outside || host == "localhost") {
                server.target = Some(format!("{host}:{}", address.port));
                server.tls = address.is_safe;
            }
        }
        let path = path.trim_end_matches('/');
        match &server.path {
            None if index == 0 && !path.is_empty() => server.path = plain_path(path, notes),
            Some(first) if *first != path => {
                notes.push(format!(
                    "the server `{}` has another path; the first one counts",
                    line(&url)
                ));
            }
            _ => {}
        }
    }
    if !options.hosts.is_empty() {
        server.hosts.clone_from(&options.hosts);
    }
    if let Some(path) = &options.path {
        let path = path.trim_end_matches('/');
        server.path = (!path.is_empty()).then(|| path.to_owned());
    }
    if server.target.is_none() && server.upstream.is_none() {
        notes.push(
            "the document names no server that others reach: say in `targets` where it is"
                .to_owned(),
        );
    }
    server
}

fn plain_path(path: &str, notes: &mut Vec<String>) -> Option<String> {
    match PathPattern::parse(path) {
        Ok(_) if !path.contains(['{', '*']) => Some(path.to_owned()),
        _ => {
            notes.push(format!("the path `{}` of the server cannot be that of an API", line(path)));
            None
        }
    }
}

/// The URL with the defaults of its variables.
fn substituted(url: &str, variables: Option<&Value>) -> String {
    let mut url = url.to_owned();
    let variables = variables.and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable.get("default").and_then(Value::as_str);
        let first = variable.pointer("/enum/0").and_then(Value::as_str);
        if let Some(value) = default.or(first) {
            url = url.replace(&format!("{{{name}}}"), value);
        }
    }
    url
}

/// Host and port of a URL if it has them, and its path.
fn split(url: &str) -> (Option<Address>, String) {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        // Relative to where the document is.
        None => return (None, url.split(['?', '#']).next().unwrap_or_default().to_owned()),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, format!("/{path}")),
        None => (rest, String::new()),
    };
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let is_safe = matches!(scheme.as_str(), "https" | "wss");
    let default = if is_safe { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().unwrap_or(default)),
        None => (authority, default),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let is_host = !host.is_empty() && host.chars().all(is_plain);
    (is_host.then(|| Address { is_safe, host: host.to_owned(), port }), path)
}
