//! Publishing: the draft of a workspace becomes its next revision.

use crate::body::Line;
use crate::call::{Answer, Call, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::effective::Change;
use control::permission::Verb;
use control::{Checked, Diff, Finding as Found, Revision};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const NOUN: &str = "revision";
const ALL: &str = "/v1/workspaces/{workspace}/revisions";
const ONE: &str = "/v1/workspaces/{workspace}/revisions/{revision}";

/// How to publish.
#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Publish")]
struct Publish {
    /// Why, for those who read the history.
    note: Line,
    /// The last revision that you have seen, 0 for none: if there is a newer one, nothing is published. Without it, the
    /// draft is published whatever there is.
    last: Option<i64>,
}

/// Something that is wrong, or worth knowing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
pub(crate) struct Finding {
    /// Where: a JSON pointer (RFC 6901).
    pub(crate) pointer: String,
    /// What, and what helps.
    pub(crate) message: String,
}

impl From<Found> for Finding {
    fn from(Found { pointer, message }: Found) -> Self {
        Self { pointer, message }
    }
}

/// What a draft comes to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Checked")]
struct Verdict {
    /// Whether it could be published.
    ok: bool,
    /// What keeps it from being published.
    errors: Vec<Finding>,
    /// What its author should know.
    warnings: Vec<Finding>,
}

/// A published config.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Revision")]
struct Told {
    /// From 1, without gaps.
    number: i64,
    /// SHA-256 of the config, in base64url.
    digest: String,
    /// Why it was published.
    note: String,
    /// Who published it.
    author: String,
    /// The revision that was taken up again, if this is a roll-back.
    again: Option<i64>,
    /// When it was published (RFC 3339).
    created: String,
    /// The whole config; lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Value>,
}

/// A page of revisions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RevisionPage")]
struct Page {
    /// The newest first.
    items: Vec<Told>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

fn told(revision: Revision) -> Told {
    let Revision { number, config, digest, note, author, again, created_ms, .. } = revision;
    let (digest, created) = (URL_SAFE_NO_PAD.encode(digest), time(created_ms));
    // It was JSON when it was kept; lists are read without it.
    let config = serde_json::from_str(&config).ok();
    Told { number, digest, note, author, again, created, config }
}

async fn check(call: Call) -> Result<Answer, Refusal> {
    let Checked { errors, warnings } =
        call.control.draft_check(&call.caller, &call.workspace).await?;
    let all = |findings: Vec<Found>| findings.into_iter().map(Finding::from).collect();
    let ok = errors.is_empty();
    Answer::found(&Verdict { ok, errors: all(errors), warnings: all(warnings) })
}

async fn last(call: &Call, sent: Option<i64>) -> Result<i64, Refusal> {
    match sent {
        Some(last) => Ok(last),
        None => Ok(call.control.revision_last(&call.caller, &call.workspace).await?),
    }
}

fn made(call: &Call, made: Revision) -> Result<Answer, Refusal> {
    let number = made.number;
    let workspace = call.part("workspace");
    let location = format!("/v1/workspaces/{workspace}/revisions/{number}");
    Ok(Answer::made(&told(made), Some(location))?.at(number))
}

async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Publish = call.sent()?;
    let last = last(&call, sent.last).await?;
    let (caller, workspace) = (&call.caller, &*call.workspace);
    let done = call.control.revision_create(caller, workspace, last, &sent.note.0).await?;
    made(&call, done)
}

async fn rollback(call: Call) -> Result<Answer, Refusal> {
    let sent: Publish = call.sent()?;
    let number = call.number(NOUN)?;
    let place = (&*call.workspace, last(&call, sent.last).await?);
    let done = call.control.revision_rollback(&call.caller, place, number, &sent.note.0).await?;
    made(&call, done)
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    let number = call.number(NOUN)?;
    let found = call.control.revision_get(&call.caller, &call.workspace, number).await?;
    Ok(Answer::found(&told(found))?.at(number))
}

/// What differs between two configs in what they come to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RevisionDiff")]
pub(crate) struct Differs {
    /// How much the change that matters most does: `note`, `warning` (somebody may notice it) or `danger` (something opens);
    /// null if there is none.
    level: Option<String>,
    /// What changes, what matters most first.
    changes: Vec<Difference>,
}

/// One thing that differs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RevisionDifference")]
struct Difference {
    /// How much it matters: `note`, `warning` or `danger`.
    level: String,
    /// What has changed, such as `authentication`, `limit`, `upstream` or `exposure`.
    what: String,
    /// What has changed, by kind and name: `route orders/list`.
    subject: String,
    /// What it means, for people.
    text: String,
}

impl From<Diff> for Differs {
    fn from(diff: Diff) -> Self {
        let name = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let level = |level| name(serde_json::to_value(level).unwrap_or_default());
        let one = |it: Change| Difference {
            level: level(it.level),
            what: name(serde_json::to_value(it.what).unwrap_or_default()),
            subject: it.subject,
            text: it.text,
        };
        Self { level: diff.level().map(level), changes: diff.0.into_iter().map(one).collect() }
    }
}

async fn diff(call: Call) -> Result<Answer, Refusal> {
    let from = call.number(NOUN)?;
    let to = match call.part("other") {
        "draft" => None,
        _ => Some(call.number("other")?),
    };
    let found = call.control.revision_diff(&call.caller, &call.workspace, (from, to)).await?;
    Answer::found(&Differs::from(found))
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let limit = call.query.limit()?;
    let before = match call.query.after() {
        "" => i64::MAX,
        text => text.parse().map_err(|_| Refusal::malformed("?after", "`next` of a page"))?,
    };
    let (caller, workspace) = (&call.caller, &*call.workspace);
    let read = call.control.revision_list(caller, workspace, before, limit + 1).await?;
    Answer::page(read, limit, |it| it.number.to_string(), told)
}

pub(crate) fn operations() -> Vec<Operation> {
    let one = || Shape::of::<Told>();
    vec![
        Operation::new(
            (Method::GET, "/v1/workspaces/{workspace}/draft/check"),
            "draft_check",
            needs("api", Verb::Read),
            "Check the draft without publishing it",
            check,
        )
        .answers(StatusCode::OK, Shape::of::<Verdict>()),
        Operation::new(
            (Method::GET, ALL),
            "revision_list",
            needs(NOUN, Verb::Read),
            "What was published, the newest first",
            list,
        )
        .answers(StatusCode::OK, Shape::of::<Page>())
        .paged(),
        Operation::new(
            (Method::POST, ALL),
            "revision_create",
            needs(NOUN, Verb::Create),
            "Publish the draft",
            create,
        )
        .about("The draft is checked as a whole. If anything is wrong, the answer is 422 with all findings, and nothing is published.")
        .takes(Shape::of::<Publish>())
        .optional_body()
        .answers(StatusCode::CREATED, one())
        .tagged()
        .problems(&[404, 409, 412, 422]),
        Operation::new(
            (Method::GET, ONE),
            "revision_get",
            needs(NOUN, Verb::Read),
            "One revision, with its config",
            get,
        )
        .answers(StatusCode::OK, one())
        .tagged(),
        Operation::new(
            (Method::GET, "/v1/workspaces/{workspace}/revisions/{revision}/diff/{other}"),
            "revision_diff",
            needs(NOUN, Verb::Read),
            "What changes from one revision to another",
            diff,
        )
        .about("Which routes appear or vanish, and whose authentication, limits, upstream or exposure change, with a level. Both are taken as they would be served now. The other may be `draft`; revision 0 says nothing.")
        .answers(StatusCode::OK, Shape::of::<Differs>())
        .problems(&[409]),
        Operation::new(
            (Method::POST, "/v1/workspaces/{workspace}/revisions/{revision}/rollback"),
            "revision_rollback",
            needs(NOUN, Verb::Create),
            "Publish an earlier revision again",
            rollback,
        )
        .about("It becomes a new revision. It is checked again: what was good once may refer to what is no longer there.")
        .takes(Shape::of::<Publish>())
        .optional_body()
        .answers(StatusCode::CREATED, one())
        .tagged()
        .problems(&[404, 409, 412, 422]),
    ]
}
