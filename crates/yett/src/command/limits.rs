//! `yett limits`: what is left of plans and limits of a running gateway, and letting it begin anew.

use super::{Format, Printed};
use crate::render;
use crate::top::fetch;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Address of the gateway's admin listener.
    #[arg(long, short, default_value = "127.0.0.1:9901", env = "YETT_ADMIN")]
    admin: String,
    /// What its plan leaves to a consumer and its applications.
    #[arg(long, short, conflicts_with = "policy")]
    consumer: Option<String>,
    /// Only this application of the consumer.
    #[arg(long)]
    application: Option<String>,
    /// The plan of a consumer whom only an issuer of tokens knows, where a claim decides which it is.
    #[arg(long, requires = "consumer")]
    plan: Option<String>,
    /// What is left of a `rate_limit`, `quota` or `concurrency`, by its id such as `orders/rate_limit`.
    #[arg(long, short)]
    policy: Option<String>,
    /// Of that policy only the share of this consumer, plan, route, address or value.
    #[arg(long, short, requires = "policy")]
    key: Option<String>,
    /// Of that policy only this share, as a list of them tells it.
    #[arg(long, requires = "policy", conflicts_with = "key")]
    share: Option<String>,
    /// Where a list goes on: what the one before told.
    #[arg(long)]
    from: Option<String>,
    /// Let it begin anew.
    #[arg(long)]
    reset: bool,
    /// With `--reset`: all shares of the policy.
    #[arg(long, requires = "policy", requires = "reset")]
    all: bool,
    #[command(flatten)]
    printed: Printed,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let named = [
        ("consumer", &arguments.consumer),
        ("application", &arguments.application),
        ("plan", &arguments.plan),
        ("policy", &arguments.policy),
        ("key", &arguments.key),
        ("share", &arguments.share),
        ("from", &arguments.from),
    ];
    let written = |(name, value): (&str, &Option<String>)| {
        let value = utf8_percent_encode(value.as_deref()?, NON_ALPHANUMERIC);
        Some(format!("{name}={value}"))
    };
    let mut query: Vec<String> = named.into_iter().filter_map(written).collect();
    query.extend(arguments.all.then(|| "all=true".to_owned()));
    let (method, path) =
        if arguments.reset { ("POST", "/limits/reset") } else { ("GET", "/limits") };
    match fetch::ask(&arguments.admin, method, &format!("{path}?{}", query.join("&"))) {
        Ok(answer) if arguments.printed.format() == Format::Json => {
            render::out(&answer);
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            let told = serde_json::from_str(&answer).unwrap_or_default();
            render::out(&lines(&told).join("\n"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            render::failure(&why);
            ExitCode::from(crate::FAILED)
        }
    }
}

fn lines(told: &Value) -> Vec<String> {
    let list = |name: &str| told[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = Vec::new();
    lines.extend(list("plans").iter().map(|plan| format!("plan    {}", word(plan))));
    for policy in list("policies") {
        let limits: Vec<String> =
            policy["limits"].as_array().into_iter().flatten().map(word).collect();
        let (id, per, limits) = (word(&policy["policy"]), word(&policy["per"]), limits.join(", "));
        let remembered = policy["remembered"].as_u64();
        let remembered = remembered.map(|count| format!(", {count} remembered"));
        let place = word(&policy["place"]);
        // Of some kinds what they say of their limits says whose they are.
        let per = format!(", per {per}");
        let per = if limits.ends_with(&per) { "" } else { &*per };
        lines.push(format!(
            "policy  {id}: {limits}{per}{}  ({place})",
            remembered.unwrap_or_default()
        ));
    }
    for share in list("shares") {
        lines.extend(of_share(share));
    }
    if told.get("shares").is_none() && told.get("share").is_some() {
        lines.extend(of_share(told));
    }
    if let Some(note) = told["note"].as_str() {
        lines.push(note.to_owned());
    }
    if let Some(next) = told["next"].as_str() {
        lines.push(format!("there are more: --from {next:?}"));
    }
    if lines.is_empty() {
        lines.push("nothing is used".to_owned());
    }
    lines
}

/// Whose share it is, then one line for each limit and quota.
fn of_share(share: &Value) -> Vec<String> {
    let name = match (share["key"].as_str(), share["application"].as_str()) {
        (Some(key), Some(application)) => format!("{key}/{application}"),
        (Some(key), None) if !key.is_empty() => key.to_owned(),
        (_, Some(application)) => application.to_owned(),
        _ => share["share"]
            .as_str()
            .map_or_else(|| "its own credentials".to_owned(), |share| format!("share {share}")),
    };
    let plan = share["plan"].as_str().map(|plan| format!(" (plan {plan})"));
    let mut lines = vec![format!("{name}{}", plan.unwrap_or_default())];
    for limit in share["limits"].as_array().into_iter().flatten() {
        let (rate, burst) = (word(&limit["limit"]), word(&limit["burst"]));
        let (left, reset_s) = (word(&limit["remaining"]), word(&limit["reset_after_s"]));
        lines.push(format!("  {rate}: {left} of {burst} left, all in {reset_s} s"));
    }
    for quota in share["quotas"].as_array().into_iter().flatten() {
        let (amount, used) = (word(&quota["quota"]), word(&quota["used"]));
        let (left, window) = (word(&quota["remaining"]), word(&quota["window"]));
        lines.push(format!("  {amount}: {used} used, {left} left ({window})"));
    }
    for places in share["concurrency"].as_array().into_iter().flatten() {
        let (max, left) = (word(&places["max"]), word(&places["remaining"]));
        lines.push(format!(
            "  {max} at a time: {} under way, {left} left",
            word(&places["under_way"])
        ));
    }
    lines
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
