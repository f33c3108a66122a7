//! APIs of documents that describe them.

use crate::config::Apply;
use crate::permission::{Permission, Verb};
use crate::{Caller, Code, Control, Finding, Problem, problem};
use model::openapi::{self, Options};
use serde_json::Value;

const NOUN: &str = "api";

/// What became of a document.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The name of the API.
    pub name: String,
    /// How many routes it has.
    pub routes: usize,
    /// What could not be taken over, and what its author should know.
    pub notes: Vec<String>,
    /// What was put into the draft, as a config.
    pub config: Value,
    /// What keeps the draft from being published now.
    pub errors: Vec<Finding>,
}

impl Control {
    /// Puts the API that an OpenAPI document (3.0 to 3.2, JSON or YAML) describes into the draft of a workspace, with an
    /// upstream of its own unless one is named. It is in the state `draft`: served nowhere until somebody says so.
    ///
    /// # Errors
    /// When it is not allowed, the document will not do, or there is an API or upstream of its name.
    pub async fn api_import(
        &self,
        caller: &Caller,
        workspace: &str,
        document: String,
        options: Options,
    ) -> Result<Imported, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), Some(workspace))?;
        let read = move || openapi::import_strictly(&document, &options);
        let read = tokio::task::spawn_blocking(read).await.map_err(|error| Problem {
            cause: Some(error.to_string()),
            ..Problem::new(Code::Internal, "the document could not be read; the log says why")
        })?;
        let draft = read.map_err(|flaws| {
            let one = |flaw: openapi::Flaw| {
                let pointer = format!("/document{}", flaw.pointer);
                Finding { pointer, message: flaw.message }
            };
            let findings: Vec<Finding> = flaws.into_iter().map(one).collect();
            let detail = match &*findings {
                [only] => only.message.clone(),
                all => format!("{} things are wrong with this document", all.len()),
            };
            Problem { findings, ..Problem::new(Code::Invalid, detail) }
        })?;
        let config = draft.json();
        self.must_be_new(workspace, &config).await?;
        let apply = Apply { publish: false, ..Apply::default() };
        let applied = self.config_apply(caller, workspace, &config, apply).await?;
        let (routes, notes) = (draft.routes.len(), draft.notes);
        Ok(Imported { name: draft.name, routes, notes, config, errors: applied.errors })
    }

    /// Refuses what would take the place of something.
    async fn must_be_new(&self, workspace: &str, config: &Value) -> Result<(), Problem> {
        let there = self.store.draft(workspace).await.map_err(problem::of(NOUN))?;
        for (kind, plural) in [("api", "apis"), ("upstream", "upstreams")] {
            let named = config.get(plural).and_then(Value::as_object);
            let names: Vec<&String> = named.into_iter().flat_map(|all| all.keys()).collect();
            let taken = there
                .iter()
                .find(|it| it.kind == kind && it.owner.is_empty() && names.contains(&&it.name));
            if let Some(taken) = taken {
                let help = match kind {
                    "api" => "say another `name`",
                    _ => "say another `name`, or which `upstream` it is to use",
                };
                let detail = format!("another {kind} has the name `{}`; {help}", taken.name);
                return Err(Problem::new(Code::Taken, detail));
            }
        }
        Ok(())
    }
}
