//! Identity providers by which people log in.

use crate::Access;
use crate::call::{Answer, Call};
use crate::operation::{Operation, Shape};
use crate::refusal::Refusal;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

/// Somebody by whom people log in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Provider")]
struct Told {
    /// Its name.
    name: String,
    /// What people call it.
    title: String,
    /// Where a browser goes to log in by it. `?to=` and a path says where it goes then.
    path: String,
}

/// All identity providers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProviderPage")]
struct Page {
    /// In the order of the config.
    items: Vec<Told>,
    /// Always null: there is one page.
    next: Option<String>,
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let told = |(name, title): (String, String)| {
        let path = format!("/login/with/{name}");
        Told { name, title, path }
    };
    let items = call.control.provider_list().into_iter().map(told).collect();
    Answer::found(&Page { items, next: None })
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, "/v1/providers"),
            "provider_list",
            Access::Open,
            "Identity providers by which people log in",
            list,
        )
        .answers(StatusCode::OK, Shape::of::<Page>()),
    ]
}
