use super::trust::{self, Trust};
use base::Secret;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one request may take: a large config is checked meanwhile.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// What a URL begins with.
const PLAIN: &str = "http://";
const TLS: &str = "https://";
/// Where HTTPS is, unless said otherwise.
const TLS_PORT: u16 = 443;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// What the body says; nothing if it is no JSON.
    pub(crate) body: Value,
}

/// Asks one control plane.
#[derive(Debug)]
pub(crate) struct Client {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

/// Host and port of a URL, and whether it is HTTPS.
fn parts(url: &str) -> Result<(String, u16, bool), String> {
    let (rest, is_tls, port) = match (url.strip_prefix(TLS), url.strip_prefix(PLAIN)) {
        (Some(rest), _) => (rest, true, TLS_PORT),
        (_, Some(rest)) => (rest, false, model::control::CONTROL_PORT),
        _ => {
            return Err(format!(
                "`{url}` is no address such as `https://yett.example.com` or `http://127.0.0.1:9181`"
            ));
        }
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority: http::uri::Authority =
        authority.parse().map_err(|_| format!("`{url}` names no host"))?;
    Ok((authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(port), is_tls))
}

/// A URL without what stands behind host and port.
///
/// # Errors
/// When it is none that can be asked.
pub(crate) fn origin(url: &str) -> Result<String, String> {
    let (host, port, is_tls) = parts(url)?;
    Ok(format!("{}{host}:{port}", if is_tls { TLS } else { PLAIN }))
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Client {
    /// Asks the one at a URL, of which only host and port count.
    ///
    /// # Errors
    /// When it is no URL that can be asked.
    pub(crate) fn new(url: &str, trust: &Trust) -> Result<Self, String> {
        let (host, port, is_tls) = parts(url)?;
        if !is_tls && !trust.plain && !is_here(&host) {
            return Err(format!(
                "a login would pass the network to {host} in plain; ask `https://{host}`, go through a tunnel (`ssh -L {port}:127.0.0.1:{port} {host}`, then `http://127.0.0.1:{port}`), or say `--plain`"
            ));
        }
        let tls = is_tls.then(|| trust::config(trust.ca.as_deref())).transpose()?;
        Ok(Self { host, port, tls })
    }

    /// Its address, without a path.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { TLS } else { PLAIN };
        format!("{scheme}{}:{}", self.host, self.port)
    }

    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// In words, and what to do.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot begin: {error}"))?;
        let asked = async {
            let asking = self.exchange(method, path, token, body);
            tokio::time::timeout(TIMEOUT, asking)
                .await
                .unwrap_or_else(|_| Err("it takes too long".to_owned()))
        };
        let none = |why: String| {
            let help = match why.contains("certificate") {
                true => "name the authority that signed its certificate with `--ca FILE`",
                false => "is it running, with `control: {}` in its config?",
            };
            format!("no control plane answers at {}: {why}; {help}", self.url())
        };
        runtime.block_on(asked).map_err(none)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let address = format!("{}:{}", self.host, self.port);
        let stream = TcpStream::connect(address).await.map_err(|error| told(&error))?;
        let Some(tls) = &self.tls else {
            let begun = handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
            drop(tokio::spawn(begun.1));
            return Ok(begun.0);
        };
        let bare = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|error| told(&error))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        let stream = TokioIo::new(stream.map_err(|error| told(&error))?);
        let (sender, connection) = handshake(stream).await.map_err(|error| told(&error))?;
        drop(tokio::spawn(connection));
        Ok(sender)
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let mut sender = self.connect().await?;
        let mut request = Request::builder()
            .method(Method::try_from(method).map_err(|error| told(&error))?)
            .uri(path)
            .header(HOST, format!("{}:{}", self.host, self.port));
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
                .map_err(|_| "the token holds what no header can".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        if bytes.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request =
            request.body(Full::new(bytes.unwrap_or_default())).map_err(|error| told(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| told(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| told(&error))?.to_bytes();
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap_or_default()
        };
        Ok(Answer { status, body })
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, Trust, origin};

    #[test]
    fn of_a_url_host_and_port_count() {
        assert_eq!(origin("http://127.0.0.1:9181/login/x").unwrap(), "http://127.0.0.1:9181");
        assert_eq!(origin("http://[::1]").unwrap(), "http://[::1]:9181");
        assert_eq!(origin("https://Gateway.example/x").unwrap(), "https://gateway.example:443");
        assert!(origin("127.0.0.1:9181").is_err() && origin("http://").is_err());
    }

    #[test]
    fn no_login_leaves_the_machine_in_plain_unless_that_is_said() {
        let plain = |plain, url| Client::new(url, &Trust { ca: None, plain });
        for here in ["http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]", "http://localhost:1"]
        {
            plain(false, here).unwrap();
        }
        for away in ["http://10.0.0.1", "http://gateway.example:9181", "http://127.0.0.1.nip.io"] {
            let why = plain(false, away).unwrap_err();
            assert!(why.contains("in plain") && why.contains("--plain"), "{why}");
            plain(true, away).unwrap();
        }
    }
}
