//! `yett who-can`: say who may make a request, and which rule decides.

use super::explain::header;
use super::{Format, Printed};
use crate::prepare;
use crate::render;
use clap::Args;
use compile::explain::Question;
use compile::who_can::{Line, May, WhoCan, who_can};
use http::{HeaderName, HeaderValue, Method, Uri};
use owo_colors::{OwoColorize as _, Stream, Style};
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Method of the request, such as POST.
    method: Method,
    /// URL of the request, such as https://api.example.com/orders/1.
    url: Uri,
    /// Config file, or a folder of them.
    #[arg(default_value = "yett.yaml", env = "YETT_CONFIG")]
    config: String,
    /// Header by which the route is found, such as `x-beta: 1`; may be repeated.
    #[arg(long, short = 'H', value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Tell also who may not, and why.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    printed: Printed,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let checked = prepare::check(&arguments.config);
    let is_usable = !checked.report.has_errors();
    let (Some(snapshot), Some(config), true) = (checked.snapshot, checked.config, is_usable) else {
        render::text(&checked.report, &checked.sources);
        return ExitCode::from(crate::BAD_CONFIG);
    };
    let question = Question {
        method: arguments.method.clone(),
        url: arguments.url.clone(),
        headers: arguments.header.iter().cloned().collect(),
    };
    let mut answers = match who_can(&config, &snapshot, &checked.credentials, &question) {
        Ok(answers) => answers,
        Err(why) => {
            render::failure(&format!(
                "{why}; write it whole, such as https://api.example.com/orders/1"
            ));
            return ExitCode::from(crate::FAILED);
        }
    };
    let hidden: Vec<usize> = answers
        .iter_mut()
        .map(|answer| {
            let before = answer.callers.len();
            answer.callers.retain(|line| arguments.all || line.may != May::No);
            before - answer.callers.len()
        })
        .collect();
    if arguments.printed.format() == Format::Json {
        render::out(&serde_json::to_string_pretty(&answers).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let tables = answers.iter().zip(hidden).map(|(answer, hidden)| table(answer, hidden));
    render::out(&tables.collect::<Vec<_>>().join("\n\n"));
    ExitCode::SUCCESS
}

fn table(answer: &WhoCan, hidden: usize) -> String {
    let mut lines = vec![
        format!("listener  {}", answer.listener),
        format!("host      {}", answer.host),
        format!("path      {}", answer.path),
    ];
    if let Some(route) = &answer.route {
        let place = answer.place.as_ref().map(|place| format!("  ({place})"));
        lines.push(format!("route     {route}{}", place.unwrap_or_default()));
    }
    if let Some(reason) = &answer.public {
        lines.push(format!("public    {reason}"));
    }
    if let Some(otherwise) = &answer.otherwise {
        lines.push(otherwise.to_string());
        lines.push("nobody gets further than that".to_owned());
        return lines.join("\n");
    }
    lines.push(String::new());
    lines.extend(rows(&answer.callers));
    if answer.callers.is_empty() {
        lines.push("nobody may call it".to_owned());
    }
    if hidden > 0 {
        lines.push(dim(&format!("{hidden} may not; `--all` tells them, and why")));
    }
    lines.join("\n")
}

const HEADINGS: [&str; 5] = ["may", "caller", "plan", "why", "rule"];

fn rows(callers: &[Line]) -> Vec<String> {
    if callers.is_empty() {
        return Vec::new();
    }
    let cells: Vec<[String; 5]> = callers.iter().map(cells).collect();
    // Nobody needs a column of plans where there are none.
    let is_planned = callers.iter().any(|line| line.plan.is_some());
    let is_shown = |column: usize| is_planned || HEADINGS.get(column) != Some(&"plan");
    let width = |column: usize| {
        let of_cells = cells.iter().filter_map(|row| row.get(column));
        let heading = HEADINGS.get(column).map_or(0, |heading| heading.len());
        of_cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(heading)
    };
    let widths = [width(0), width(1), width(2), width(3), 0];
    let row = |cells: &[String; 5]| -> String {
        let columns = cells.iter().zip(widths).enumerate().filter(|(at, _)| is_shown(*at));
        let padded = columns.map(|(_, (cell, width))| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![dim(&row(&HEADINGS.map(str::to_owned)))];
    for (caller, cells) in callers.iter().zip(&cells) {
        let plain = row(cells);
        let [may, ..] = cells;
        let rest = plain.strip_prefix(may.as_str()).unwrap_or_default();
        let style = match caller.may {
            May::Yes => Style::new().green(),
            May::Depends => Style::new().yellow(),
            May::No => Style::new().red(),
        };
        let may = may.if_supports_color(Stream::Stdout, |text| text.style(style));
        lines.push(format!("{may}{rest}"));
    }
    lines
}

fn cells(line: &Line) -> [String; 5] {
    let plan = line.plan.as_ref().map(|plan| match &plan.name {
        Some(name) => format!("{name} ({})", plan.by),
        None => format!("none ({})", plan.by),
    });
    let rule = match (&line.policy, &line.rule) {
        (Some(policy), Some(place)) => format!("{policy} ({place})"),
        (Some(policy), None) => policy.clone(),
        _ => String::new(),
    };
    let plan = plan.unwrap_or_default();
    [line.may.word().to_owned(), line.caller.clone(), plan, line.why.clone(), rule]
}

fn dim(text: &str) -> String {
    text.if_supports_color(Stream::Stdout, |text| text.style(Style::new().dimmed())).to_string()
}
