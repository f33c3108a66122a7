//! `yett explain`: say which route a request takes, why, and what happens to it there.

use super::{Format, Printed};
use crate::prepare;
use crate::render;
use clap::Args;
use compile::explain::{Question, explain};
use http::{HeaderName, HeaderValue, Method, Uri};
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Method of the request, such as GET.
    method: Method,
    /// URL of the request, such as https://api.example.com/orders/1.
    url: Uri,
    /// Header of the request, such as `x-beta: 1`; may be repeated.
    #[arg(long, short = 'H', value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Config file, or a folder of them.
    #[arg(long, short, default_value = "yett.yaml", env = "YETT_CONFIG")]
    config: String,
    #[command(flatten)]
    printed: Printed,
}

pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is not a header name"))?;
    let value =
        value.trim().parse().map_err(|_| "the value cannot stand in a header".to_owned())?;
    Ok((name, value))
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let checked = prepare::check(&arguments.config);
    let Some(snapshot) = checked.snapshot.filter(|_| !checked.report.has_errors()) else {
        render::text(&checked.report, &checked.sources);
        return ExitCode::from(crate::BAD_CONFIG);
    };
    let headers = arguments.header.iter().cloned().collect();
    let question =
        Question { method: arguments.method.clone(), url: arguments.url.clone(), headers };
    match explain(&snapshot, &question) {
        Ok(explanations) if arguments.printed.format() == Format::Json => {
            render::out(&serde_json::to_string_pretty(&explanations).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Ok(explanations) => {
            for explanation in explanations {
                render::out(&explanation.to_string());
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            render::failure(&format!(
                "{why}; write it whole, such as https://api.example.com/orders/1"
            ));
            ExitCode::from(crate::FAILED)
        }
    }
}
