//! What the commands that talk to the admin API of a control plane share.

/// One request after the other.
pub(crate) mod client;
/// Whom a command believes.
pub(crate) mod trust;
/// Where somebody has logged in.
pub(crate) mod logins;
/// Config files as one document.
pub(crate) mod files;
/// A config as the files of a folder.
pub(crate) mod folder;
/// What changes, for people.
pub(crate) mod show;

use crate::render;
use clap::Args;
use client::{Answer, Client};
use logins::Login;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use trust::Trust;

/// Which control plane is asked, and for which workspace.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// Workspace.
    #[arg(long, short, default_value = "default", env = "YETT_WORKSPACE")]
    pub(crate) workspace: String,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which control plane is asked.
#[derive(Args, Debug)]
pub(crate) struct Reach {
    /// Address of the admin API, if not the one of the last `yett login`. With it, a token in `YETT_TOKEN` counts before
    /// the one that was kept.
    #[arg(long, env = "YETT_URL")]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) trust: Trust,
}

/// Why a command came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// In words, and what to do.
    Said(String),
    /// The admin API refused; what it said.
    Refused(Box<Refusal>),
    /// The files have problems, which were told.
    BadFiles,
}

/// What the admin API says when it refuses.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) problem: Value,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Said(why)
    }
}

impl Failure {
    /// Tells it, and which code the program ends with.
    pub(crate) fn tell(&self, is_json: bool) -> ExitCode {
        match self {
            Self::Said(why) => render::failure(why),
            Self::BadFiles => return ExitCode::from(crate::BAD_CONFIG),
            Self::Refused(refusal) => {
                if is_json {
                    render::out(&refusal.problem.to_string());
                } else {
                    render::failure(&refusal.words());
                }
                if refusal.status == 422 {
                    return ExitCode::from(crate::BAD_CONFIG);
                }
            }
        }
        ExitCode::from(crate::FAILED)
    }
}

impl Refusal {
    /// In words, and what to do.
    pub(crate) fn words(&self) -> String {
        let text = |name: &str| self.problem[name].as_str().unwrap_or_default();
        let detail = match text("detail") {
            "" => text("title"),
            detail => detail,
        };
        let mut words = match (self.status, detail) {
            (status, "") => format!("the control plane answers with status {status}"),
            (_, detail) => detail.to_owned(),
        };
        if self.status == 401 {
            words.push_str("; `yett login URL` does so");
        }
        for finding in self.problem["findings"].as_array().into_iter().flatten() {
            let (pointer, message) = (&finding["pointer"], &finding["message"]);
            words.push_str(&format!(
                "\n  {}: {}",
                pointer.as_str().filter(|it| !it.is_empty()).unwrap_or("/"),
                message.as_str().unwrap_or_default()
            ));
        }
        words
    }
}

/// A control plane where somebody has logged in.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    login: Login,
    workspace: String,
}

impl Remote {
    /// The one that is meant.
    ///
    /// # Errors
    /// When nobody has logged in there.
    pub(crate) fn of(target: &Target) -> Result<Self, Failure> {
        Ok(Self { workspace: target.workspace.clone(), ..Self::anywhere(&target.reach)? })
    }

    /// The one that is meant, for what belongs to no workspace.
    ///
    /// # Errors
    /// When nobody has logged in there.
    pub(crate) fn anywhere(reach: &Reach) -> Result<Self, Failure> {
        let login = logins::find(reach.url.as_deref(), &reach.trust)?;
        let trust = Trust { ca: login.ca.clone(), plain: reach.trust.plain };
        let client = Client::new(&login.url, &trust)?;
        Ok(Self { client, login, workspace: String::new() })
    }

    /// Logs in again, and keeps that.
    ///
    /// # Errors
    /// When it is refused, or cannot be kept.
    pub(crate) fn begin_anew(&self, how: &Value) -> Result<PathBuf, Failure> {
        let session = answered(self.client.ask("POST", "/v1/sessions", None, Some(how))?)?;
        let shown = session["bearer"].as_str();
        let shown = shown.ok_or_else(|| "the control plane begins no session".to_owned())?;
        let Login { url, ca, .. } = &self.login;
        let token = base::Secret::new(shown.to_owned());
        Ok(logins::keep(&Login { url: url.clone(), token, ca: ca.clone() })?)
    }

    /// Asks for something of the workspace.
    ///
    /// # Errors
    /// When nobody answers, or what the answer says if it is a refusal.
    pub(crate) fn ask(
        &self,
        method: &str,
        below: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let workspace = utf8_percent_encode(&self.workspace, NON_ALPHANUMERIC);
        self.ask_at(method, &format!("/v1/workspaces/{workspace}{below}"), body)
    }

    /// Asks for something by its whole path.
    ///
    /// # Errors
    /// When nobody answers, or what the answer says if it is a refusal.
    pub(crate) fn ask_at(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        answered(self.client.ask(method, path, Some(&self.login.token), body)?)
    }
}

/// What an answer holds, if it is no refusal.
pub(crate) fn answered(answer: Answer) -> Result<Value, Failure> {
    let Answer { status, body } = answer;
    if (200..300).contains(&status) {
        return Ok(body);
    }
    Err(Failure::Refused(Box::new(Refusal { status, problem: body })))
}
