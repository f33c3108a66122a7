//! APIs of documents that describe them.

use super::revision::Finding;
use crate::body::{Any, Line};
use crate::call::{Answer, Call};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use base::caps::OPENAPI_BYTES_MAX;
use control::ImportOptions as Options;
use control::import::Imported;
use control::permission::Verb;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Bytes of a document as text within JSON, and of what stands around it.
const BODY_MAX: usize = OPENAPI_BYTES_MAX + (1 << 20);

/// A document, and what it does not say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    document: Any,
    name: Option<Line>,
    upstream: Option<Line>,
    path: Option<Line>,
    #[serde(default)]
    hosts: Vec<Line>,
}

/// The same as a schema.
fn sent() -> Shape {
    let text = |about: &str| json!({ "type": ["string", "null"], "description": about });
    let schema = json!({
        "type": "object",
        "required": ["document"],
        "additionalProperties": false,
        "properties": {
            "document": {
                "description": "An OpenAPI document (3.0 to 3.2): as it is, or as a text of JSON or YAML.",
                "type": ["object", "string"],
            },
            "name": text("What the API is called; made of the title unless said otherwise."),
            "upstream": text("The upstream that its requests go to; a new one to the document's server unless said otherwise."),
            "path": text("Path that its routes begin with; that of the document's server unless said otherwise."),
            "hosts": {
                "type": "array", "items": { "type": "string" },
                "description": "Hosts that it answers to; those of the document's servers unless said otherwise.",
            },
        },
    });
    Shape::Named("ImportApi".to_owned(), schema)
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ImportedApi")]
struct Told {
    /// The name of the API.
    name: String,
    /// How many routes it has.
    routes: usize,
    /// What could not be taken over, and what its author should know.
    notes: Vec<String>,
    /// What was put into the draft, as a config.
    config: Value,
    /// What keeps the draft from being published now.
    errors: Vec<Finding>,
}

async fn import(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let document = match sent.document.0 {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let text = |line: Option<Line>| line.map(|line| line.0);
    let options = Options {
        name: text(sent.name),
        upstream: text(sent.upstream),
        path: text(sent.path),
        hosts: sent.hosts.into_iter().map(|host| host.0).collect(),
    };
    let made = call.control.api_import(&call.caller, &call.workspace, document, options).await?;
    let Imported { name, routes, notes, config, errors } = made;
    let location = format!("/v1/workspaces/{}/apis/{name}", call.part("workspace"));
    let errors = errors.into_iter().map(Finding::from).collect();
    Answer::made(&Told { name, routes, notes, config, errors }, Some(location))
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::POST, "/v1/workspaces/{workspace}/imports/openapi"),
            "api_import",
            needs("api", Verb::Create),
            "Make an API of an OpenAPI document",
            import,
        )
        .about("Routes are named by operation ids, callers are identified as the document says, and nothing is left open. The API is in the state `draft`, served nowhere until that is taken out. Paths that are in other documents or lead in a circle are refused, each with a pointer.")
        .takes(sent())
        .takes_up_to(BODY_MAX)
        .answers(StatusCode::CREATED, Shape::of::<Told>())
        .problems(&[404, 409, 412, 422]),
    ]
}
