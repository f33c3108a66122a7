//! Whole configs: what a workspace has as one document, and documents that become its draft.

use super::revision::{Differs, Finding};
use crate::body::{Any, Line};
use crate::call::{Answer, Call};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use base::caps::ADMIN_CONFIG_BYTES_MAX;
use control::config::{Applied, Apply, Change};
use control::permission::Verb;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const PATH: &str = "/v1/workspaces/{workspace}/config";

/// A config, and what is to be done with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    config: Any,
    #[serde(default)]
    prune: bool,
    publish: Option<bool>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    diff: bool,
    #[serde(default)]
    note: Line,
    last: Option<i64>,
}

/// The same as a schema.
fn sent() -> Shape {
    let flag = |about: &str| json!({ "type": "boolean", "description": about });
    let schema = json!({
        "type": "object",
        "required": ["config"],
        "additionalProperties": false,
        "properties": {
            "config": {
                "$ref": "#/components/schemas/Config",
                "description": "The config, as files say it; without `include` and `consumers`.",
            },
            "prune": flag("Whether what the config lacks is taken out; it stays unless said otherwise."),
            "publish": flag("Whether the draft is published; it is unless said otherwise."),
            "dry_run": flag("Whether only what would change is told, and what is wrong."),
            "diff": flag("Whether it is told what the change means: which routes appear or vanish, whose authentication, limits, upstream or exposure change."),
            "note": { "type": "string", "description": "Why, for those who read the history." },
            "last": {
                "type": ["integer", "null"],
                "description": "The last revision that you have seen, 0 for none: if there is a newer one, nothing is done.",
            },
        },
    });
    Shape::Named("ApplyConfig".to_owned(), schema)
}

/// What becomes of one part.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConfigChange")]
struct Told {
    /// `create`, `update`, `delete`, or `keep` for what the config lacks.
    action: String,
    /// What it is, such as `route`.
    kind: String,
    /// What it is called, behind the names of whose part it is.
    name: String,
    /// Where it stands in the config (RFC 6901); of what that lacks, in the draft.
    pointer: String,
    /// What was written before, without parts of its own.
    was: Option<Value>,
    /// What is written since.
    became: Option<Value>,
}

/// What came of a config, or would.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AppliedConfig")]
struct Outcome {
    /// What changes in the draft. Of what is deleted only the outermost parts are told.
    changes: Vec<Told>,
    /// What the draft has and the config lacks: the outermost parts.
    drift: Vec<Told>,
    /// What is wrong with it.
    errors: Vec<Finding>,
    /// What its author should know.
    warnings: Vec<Finding>,
    /// The last revision before; 0 if there was none.
    last: i64,
    /// Whether the draft says another config than the last revision.
    is_new: bool,
    /// What changes in what the last revision comes to; null unless asked for, and where there are errors.
    diff: Option<Differs>,
    /// The revision that was made; null if there was nothing to publish.
    revision: Option<i64>,
}

fn told(change: Change) -> Told {
    let Change { action, kind, name, pointer, was, became } = change;
    Told { action: action.to_owned(), kind: kind.to_owned(), name, pointer, was, became }
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    Answer::found(&call.control.config_get(&call.caller, &call.workspace, None).await?)
}

async fn apply(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let apply = Apply {
        prune: sent.prune,
        base_revision: sent.last,
        note: &sent.note.0,
        publish: sent.publish.unwrap_or(true),
        dry_run: sent.dry_run,
        diff: sent.diff,
    };
    let applied = call.control.config_apply(&call.caller, &call.workspace, &sent.config.0, apply);
    let Applied { changes, drift, errors, warnings, last, is_new, revision, diff } =
        applied.await?;
    let all = |changes: Vec<Change>| changes.into_iter().map(told).collect();
    let findings = |found: Vec<control::Finding>| found.into_iter().map(Finding::from).collect();
    Answer::found(&Outcome {
        changes: all(changes),
        drift: all(drift),
        errors: findings(errors),
        warnings: findings(warnings),
        last,
        is_new,
        diff: diff.map(Differs::from),
        revision,
    })
}

pub(crate) fn operations() -> Vec<Operation> {
    let about = "The parts of the draft as one config. Until it has been checked it may say what the schema of configs does not.";
    let config = json!({ "type": "object", "description": about });
    vec![
        Operation::new(
            (Method::GET, PATH),
            "config_get",
            needs("revision", Verb::Read),
            "The draft as one config",
            get,
        )
        .answers(StatusCode::OK, Shape::Named("DraftConfig".to_owned(), config)),
        Operation {
            body_max: ADMIN_CONFIG_BYTES_MAX,
            ..Operation::new(
                (Method::PUT, PATH),
                "config_apply",
                needs("revision", Verb::Read),
                "Make a config the draft, and publish it",
                apply,
            )
            .about("Parts are created, changed and, with `prune`, deleted as far as they differ, each with the permission that it takes: all of it or nothing. Applying the same again changes nothing. What is wrong is told with pointers into the config that was sent.")
            .takes(sent())
            .unconditional()
            .answers(StatusCode::OK, Shape::of::<Outcome>())
            .problems(&[404, 409, 412, 422])
        },
    ]
}
