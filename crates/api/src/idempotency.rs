//! Requests that may come twice: a POST with an `Idempotency-Key` is done once, and answered the same each time.

use crate::call::Answer;
use crate::operation::{Access, Operation};
use crate::refusal::Refusal;
use base::Secret;
use control::idempotency::Turn as Kept;
use control::{Caller, Control};
use http::request::Parts;
use http::{HeaderName, Method, StatusCode};
use serde_json::{Value, json};

/// The name of the header.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What becomes of a request.
pub(crate) enum Either {
    /// It was done before: this is what was answered.
    Done(Answer),
    /// It is done now.
    Begins(Turn),
}

/// The doing of a request; with a key, its answer is kept.
pub(crate) struct Turn {
    keyed: Option<(Control, Caller, String)>,
}

impl Turn {
    /// Takes the key of a request, if it has one.
    pub(crate) async fn take(
        control: &Control,
        caller: &Caller,
        operation: &Operation,
        (head, body): (&Parts, &Value),
    ) -> Result<Either, Refusal> {
        let has_key = operation.method == Method::POST && operation.access != Access::Open;
        let key = head.headers.get(KEY).filter(|_| has_key);
        let Some(key) = key else { return Ok(Either::Begins(Self { keyed: None })) };
        let key = key.to_str().unwrap_or_default();
        let request = format!("{} {}\n{body}", head.method, head.uri);
        match control.idempotency_take(caller, key, request.as_bytes()).await? {
            Kept::First => {
                let keyed = Some((control.clone(), caller.clone(), key.to_owned()));
                Ok(Either::Begins(Self { keyed }))
            }
            Kept::Again { status, answer } => read(status, &answer).map(Either::Done),
        }
    }

    /// Keeps what was answered. What was refused did nothing, and may be tried again with the same key.
    pub(crate) async fn end(self, done: Result<Answer, Refusal>) -> Result<Answer, Refusal> {
        let Some((control, caller, key)) = self.keyed else { return done };
        let answer = match done {
            Ok(answer) => answer,
            Err(refusal) => {
                control.idempotency_release(&caller, &key).await?;
                return Err(refusal);
            }
        };
        let kept = json!({ "body": answer.body, "tag": answer.tag, "location": answer.location });
        let (status, kept) = (i64::from(answer.status.as_u16()), Secret::new(kept.to_string()));
        if let Err(problem) = control.idempotency_answer(&caller, &key, status, &kept).await {
            // It was done, which the client should know; only a repetition will be refused.
            let cause = problem.cause.as_deref().unwrap_or(&problem.detail);
            tracing::warn!(cause, "an answer could not be kept for its idempotency key");
        }
        Ok(answer)
    }
}

/// An answer as it was kept.
fn read(status: i64, kept: &Secret) -> Result<Answer, Refusal> {
    let internal = || {
        let detail = "the answer that was kept cannot be read";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    };
    let kept: Value = serde_json::from_str(kept.reveal()).map_err(|_| internal())?;
    let text = |name: &str| kept[name].as_str().map(str::to_owned);
    let status = u16::try_from(status).ok().and_then(|it| StatusCode::from_u16(it).ok());
    Ok(Answer {
        status: status.ok_or_else(internal)?,
        body: Some(kept["body"].clone()).filter(|body| !body.is_null()),
        tag: text("tag"),
        location: text("location"),
        cookie: None,
    })
}
