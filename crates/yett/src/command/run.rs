//! `yett run`: serve traffic by a config file or folder.

use crate::process::{self, Settings};
use clap::Args;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Config file, or a folder of them.
    #[arg(default_value = "yett.yaml", env = "YETT_CONFIG")]
    config: String,
    /// What is told on standard error: error, warn, info, debug, trace, or per module such as
    /// `info,upstream=debug`.
    #[arg(long, default_value = "info", env = "YETT_LOG")]
    log: String,
    /// Tell it as JSON, one object per line.
    #[arg(long, env = "YETT_LOG_JSON")]
    log_json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let settings = Settings {
        config: arguments.config.clone(),
        log: arguments.log.clone(),
        log_json: arguments.log_json,
    };
    process::serve(&settings, |_| {})
}
