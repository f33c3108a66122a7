//! `yett schema`: print the JSON Schema of config files, for editors.

use crate::render;
use clap::Args;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments) -> ExitCode {
    render::out(text().trim_end());
    ExitCode::SUCCESS
}

/// The schema as it is committed in `schema/`.
pub(crate) fn text() -> String {
    let schema = model::schema::schema(policy::policy_schema());
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_schema_is_fresh() {
        testkit::committed("schema/yett.schema.json", &super::text());
    }

    #[test]
    fn the_committed_document_of_the_admin_api_is_fresh() {
        let schema = model::schema::schema(policy::policy_schema());
        testkit::committed("openapi/admin.json", &api::document(&schema));
    }
}
