use bytes::Bytes;
use control::{Code, Finding, Problem};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

/// The media type of problems (RFC 9457).
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// What a 401 asks for.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"yett\"");
/// Seconds after which it may be better.
const AGAIN_S: HeaderValue = HeaderValue::from_static("1");
/// Seconds after which one may try to log in again, at least.
const LOGIN_AGAIN_S: HeaderValue = HeaderValue::from_static("30");

/// Why a request got no answer. Nothing was changed.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    pub(crate) revision: Option<i64>,
    pub(crate) findings: Vec<Finding>,
    /// What only the log shows.
    pub(crate) cause: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, code, detail, revision: None, findings: Vec::new(), cause: None }
    }

    /// What cannot be understood. A pointer leads into the body; `?name` is a query parameter, `{name}` a part of the path.
    pub(crate) fn malformed(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        let (pointer, message) = (pointer.into(), message.into());
        let finding = Finding { pointer, message: message.clone() };
        let findings = vec![finding];
        Self { findings, ..Self::new(StatusCode::BAD_REQUEST, "malformed", message) }
    }

    /// The same, where what cannot be taken was a query parameter.
    pub(crate) fn in_query(mut self) -> Self {
        let is_wrong = self.status == StatusCode::UNPROCESSABLE_ENTITY;
        if is_wrong
            && !self.findings.is_empty()
            && self.findings.iter().all(|it| it.pointer.starts_with('/'))
        {
            (self.status, self.code) = (StatusCode::BAD_REQUEST, "malformed");
            for finding in &mut self.findings {
                finding.pointer.replace_range(..1, "?");
            }
        }
        self
    }

    /// As it is sent.
    pub(crate) fn answer(self, request: &str) -> Response<Full<Bytes>> {
        let Self { status, code, detail, revision, findings, cause } = self;
        if status.is_server_error() {
            let cause = cause.as_deref().unwrap_or("");
            tracing::warn!(request, code, cause, "the admin API could not do what was asked");
        }
        let title = status.canonical_reason().unwrap_or_default();
        let mut body = Map::from_iter([
            ("type".to_owned(), json!("about:blank")),
            ("title".to_owned(), json!(title)),
            ("status".to_owned(), json!(status.as_u16())),
            ("code".to_owned(), json!(code)),
            ("detail".to_owned(), json!(detail)),
            ("request_id".to_owned(), json!(request)),
        ]);
        if !findings.is_empty() {
            let finding = |it: &Finding| json!({ "pointer": it.pointer, "message": it.message });
            body.insert("findings".to_owned(), findings.iter().map(finding).collect());
        }
        if let Some(revision) = revision {
            body.insert("revision".to_owned(), json!(revision));
        }
        let mut answer = Response::new(Full::from(Value::Object(body).to_string()));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        match status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, CHALLENGE)),
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, AGAIN_S)),
            StatusCode::TOO_MANY_REQUESTS => drop(headers.insert(RETRY_AFTER, LOGIN_AGAIN_S)),
            _ => {}
        }
        answer
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let Problem { code, detail, revision, findings, cause } = problem;
        let status = match code {
            Code::LoginRequired | Code::LoginRefused | Code::CodeRequired => {
                StatusCode::UNAUTHORIZED
            }
            Code::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Changed => StatusCode::PRECONDITION_FAILED,
            Code::Taken | Code::Bound | Code::Conflict | Code::LimitReached => StatusCode::CONFLICT,
            Code::StoreUnavailable | Code::ProviderUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::StoreCorrupt | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self { status, code: code.name(), detail, revision, findings, cause }
    }
}
