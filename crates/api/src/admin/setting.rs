//! Settings of the platform as a whole.

use crate::body::Any;
use crate::call::{Answer, Call};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use control::permission::Verb;
use control::setting::Setting;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const NOUN: &str = "setting";
const ALL: &str = "/v1/settings";
const ONE: &str = "/v1/settings/{setting}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    value: Any,
}

/// A setting.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Setting")]
struct Told {
    /// Its name.
    name: String,
    /// What it is for.
    about: String,
    /// What it says.
    value: Value,
    /// How often it was set, also its ETag; 0 while the default holds.
    revision: i64,
}

/// All settings.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SettingPage")]
struct Page {
    /// All that there are.
    items: Vec<Told>,
    /// Always null: there is one page.
    next: Option<String>,
}

fn told(setting: Setting) -> Told {
    let Setting { name, about, value, revision } = setting;
    Told { name, about: about.to_owned(), value, revision }
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let found = call.control.setting_list(&call.caller).await?;
    Answer::found(&Page { items: found.into_iter().map(told).collect(), next: None })
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    let found = call.control.setting_get(&call.caller, call.part(NOUN)).await?;
    let revision = found.revision;
    Ok(Answer::found(&told(found))?.at(revision))
}

async fn update(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let name = call.part(NOUN);
    let there = call.control.setting_get(&call.caller, name).await?;
    let (revision, value) = (call.revision(there.revision), &sent.value.0);
    let became = call.control.setting_update(&call.caller, name, revision, value).await?;
    let revision = became.revision;
    Ok(Answer::found(&told(became))?.at(revision))
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let name = call.part(NOUN);
    let there = call.control.setting_get(&call.caller, name).await?;
    let revision = call.revision(there.revision);
    call.control.setting_delete(&call.caller, name, revision).await?;
    Ok(Answer::none())
}

pub(crate) fn operations() -> Vec<Operation> {
    let sent = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": { "value": { "description": "What it shall say." } },
        "required": ["value"],
    });
    vec![
        Operation::new(
            (Method::GET, ALL),
            "setting_list",
            needs(NOUN, Verb::Read),
            "All settings",
            list,
        )
        .answers(StatusCode::OK, Shape::of::<Page>()),
        Operation::new(
            (Method::GET, ONE),
            "setting_get",
            needs(NOUN, Verb::Read),
            "One setting, or its default",
            get,
        )
        .answers(StatusCode::OK, Shape::of::<Told>())
        .tagged(),
        Operation::new(
            (Method::PUT, ONE),
            "setting_update",
            needs(NOUN, Verb::Update),
            "Set it",
            update,
        )
        .takes(Shape::Named("ChangedSetting".to_owned(), sent))
        .answers(StatusCode::OK, Shape::of::<Told>())
        .tagged(),
        Operation::new(
            (Method::DELETE, ONE),
            "setting_delete",
            needs(NOUN, Verb::Delete),
            "Go back to the default",
            delete,
        ),
    ]
}
