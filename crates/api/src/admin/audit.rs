//! The audit trail: who did what.

use crate::call::{Answer, Call, ms, time};
use crate::operation::{Access, Operation, Shape, needs};
use crate::query::{AUDITED, EXPORTED};
use crate::refusal::Refusal;
use base::Moment;
use control::audit::{Flaw, Narrowed, Row};
use control::permission::Verb;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const NOUN: &str = "audit";

/// A row of the trail.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditRow")]
struct Told {
    /// In the order in which they were written, with gaps.
    id: i64,
    /// When (RFC 3339).
    at: String,
    /// The id of the workspace; null for what belongs to none.
    workspace: Option<String>,
    /// Who did it.
    actor: String,
    /// What was done.
    action: String,
    /// To which kind of thing.
    noun: String,
    /// To what: an id.
    subject: String,
    /// What was there before, with secrets masked.
    was: Option<Value>,
    /// What is there since.
    became: Option<Value>,
    /// Where the request came from.
    address: Option<String>,
    /// The id of the request.
    request: Option<String>,
    /// Its place in the chain of seals; null until it is sealed.
    sequence: Option<i64>,
}

/// A page of the trail.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditPage")]
struct Page {
    /// The newest first.
    items: Vec<Told>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

/// What came of looking through the trail.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditVerified")]
struct Verified {
    /// Whether all that is sealed is what was written.
    ok: bool,
    /// How many rows are sealed; null where something is wrong.
    rows: Option<i64>,
    /// What is wrong first.
    flaw: Option<String>,
}

/// A row of the trail as it was sealed.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ExportedAuditRow")]
struct Exported {
    /// In the order in which they were written, with gaps.
    id: i64,
    /// When (RFC 3339).
    at: Option<String>,
    /// When, in milliseconds since 1970.
    at_ms: i64,
    /// The id of the workspace; null for what belongs to none.
    workspace: Option<String>,
    /// Who did it.
    actor: String,
    /// What was done.
    action: String,
    /// To which kind of thing.
    noun: String,
    /// To what: an id.
    subject: String,
    /// What was there before, with secrets masked: the JSON text that was sealed.
    was: Option<String>,
    /// What is there since.
    became: Option<String>,
    /// Where the request came from.
    address: Option<String>,
    /// The id of the request.
    request: Option<String>,
    /// Its place in the chain of seals; null until it is sealed.
    sequence: Option<i64>,
    /// The SHA-256 over it and the seal before, in hexadecimal digits.
    seal: Option<String>,
}

/// A page of the trail as it was sealed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ExportedAuditPage")]
struct ExportedPage {
    /// The oldest first.
    items: Vec<Exported>,
    /// `after` of the next page; null where there was nothing more.
    next: Option<String>,
}

fn told(row: Row) -> Told {
    let Row { id, at_ms, workspace, actor, action, noun, subject, was, became, .. } = row;
    let (at, address, request, sequence) = (time(at_ms), row.address, row.request, row.sequence);
    Told {
        id,
        at,
        workspace,
        actor,
        action,
        noun,
        subject,
        was,
        became,
        address,
        request,
        sequence,
    }
}

fn moment(call: &Call, name: &str) -> Result<Option<i64>, Refusal> {
    let Some(text) = call.query.text(name) else { return Ok(None) };
    let moment = Moment::parse(text);
    moment.map(|it| Some(ms(it))).map_err(|why| Refusal::malformed(format!("?{name}"), why))
}

/// The trail of the workspace of the path; of all where there is none.
async fn list(call: Call) -> Result<Answer, Refusal> {
    let text = |name| call.query.text(name).unwrap_or_default();
    let narrowed = Narrowed {
        actor: text("actor"),
        noun: text("noun"),
        subject: text("subject"),
        from_ms: moment(&call, "from")?,
        until_ms: moment(&call, "until")?,
    };
    let place = Some(&*call.workspace).filter(|it| !it.is_empty());
    let ask = call.query.ask()?;
    let page = call.control.audit_list(&call.caller, place, &narrowed, &ask).await?.map(told);
    Answer::found(&Page { items: page.items, next: page.next })
}

async fn export(call: Call) -> Result<Answer, Refusal> {
    let narrowed = Narrowed {
        actor: call.query.text("actor").unwrap_or_default(),
        from_ms: moment(&call, "from")?,
        until_ms: moment(&call, "until")?,
        ..Narrowed::default()
    };
    let after = match call.query.after() {
        "" => 0,
        text => {
            text.parse().map_err(|_| Refusal::malformed("?after", "`next` of a page before"))?
        }
    };
    let limit = call.query.limit()?;
    let page = call.control.audit_export(&call.caller, None, &narrowed, (after, limit)).await?;
    let (lines, last) = page.unwrap_or_default();
    let items: Vec<Exported> =
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let is_full = i64::try_from(items.len()).is_ok_and(|count| count == limit);
    Answer::found(&ExportedPage { items, next: is_full.then(|| last.to_string()) })
}

async fn verify(call: Call) -> Result<Answer, Refusal> {
    let told = match call.control.audit_verify(&call.caller).await? {
        Ok(rows) => Verified { ok: true, rows: Some(rows), flaw: None },
        Err(flaw) => {
            let flaw = match flaw {
                Flaw::Gap(at) => format!("at place {at} a row was taken out or added"),
                Flaw::Changed(id) => format!("row {id} is not what was sealed"),
            };
            Verified { ok: false, rows: None, flaw: Some(flaw) }
        }
    };
    Answer::found(&told)
}

pub(crate) fn operations() -> Vec<Operation> {
    let list_of =
        |path: &'static str, name: &'static str, summary: &'static str, access: Access| {
            Operation::new((Method::GET, path), name, access, summary, list)
                .answers(StatusCode::OK, Shape::of::<Page>())
                .asks(AUDITED)
        };
    vec![
        list_of(
            "/v1/workspaces/{workspace}/audit",
            "workspace_audit_list",
            "Who did what in a workspace, the newest first",
            needs(NOUN, Verb::Read),
        ),
        list_of(
            "/v1/audit",
            "audit_list",
            "Who did what, the newest first",
            needs(NOUN, Verb::Read),
        ),
        Operation::new(
            (Method::GET, "/v1/audit/export"),
            "audit_export",
            needs(NOUN, Verb::Read),
            "The whole trail with its seals, the oldest first",
            export,
        )
        .about("For those who keep it elsewhere. Ask again with `after` of the last `next` to go on from there.")
        .answers(StatusCode::OK, Shape::of::<ExportedPage>())
        .asks(EXPORTED),
        Operation::new(
            (Method::GET, "/v1/audit/verify"),
            "audit_verify",
            needs(NOUN, Verb::Read),
            "Look through the whole trail, whether it is what was written",
            verify,
        )
        .answers(StatusCode::OK, Shape::of::<Verified>()),
    ]
}
