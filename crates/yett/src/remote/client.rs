use base::Secret;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long one request may take: a large config is checked meanwhile.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// What a URL begins with.
const SCHEME: &str = "http://";

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
    authority: String,
}

impl Client {
    /// Asks the one at a URL, of which only host and port count.
    ///
    /// # Errors
    /// When it is no URL that can be asked.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix(SCHEME) else {
            return Err(format!(
                "`{url}` is no address such as `http://127.0.0.1:9181`; what is behind TLS is reached through a tunnel: `ssh -L 9181:127.0.0.1:9181 HOST`"
            ));
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority: http::uri::Authority =
            authority.parse().map_err(|_| format!("`{url}` names no host"))?;
        let port = authority.port_u16().unwrap_or(model::control::CONTROL_PORT);
        Ok(Self { authority: format!("{}:{port}", authority.host()) })
    }

    /// Its address, without a path.
    pub(crate) fn url(&self) -> String {
        format!("{SCHEME}{}", self.authority)
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
        let none = |why| {
            format!(
                "no control plane answers at {}: {why}; is it running, with `control: {{}}` in its config?",
                self.url()
            )
        };
        runtime.block_on(asked).map_err(none)
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| told(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| told(&error))?;
        drop(tokio::spawn(connection));
        let mut request = Request::builder()
            .method(Method::try_from(method).map_err(|error| told(&error))?)
            .uri(path)
            .header(HOST, &self.authority);
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
    use super::Client;

    #[test]
    fn of_a_url_host_and_port_count() {
        let url = |text| Client::new(text).map(|client| client.url());
        assert_eq!(url("http://127.0.0.1:9181/login/x").unwrap(), "http://127.0.0.1:9181");
        assert_eq!(url("http://[::1]").unwrap(), "http://[::1]:9181");
        assert!(url("https://gateway.example").unwrap_err().contains("ssh -L"));
        assert!(url("127.0.0.1:9181").is_err() && url("http://").is_err());
    }
}
