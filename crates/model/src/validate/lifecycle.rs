//! Versions and states of APIs.

use super::{pointer, unknown};
use crate::api::{ApiState, is_version};
use crate::{Api, Config};
use base::{Placed, Report};

pub(super) fn check(name: &Placed<String>, api: &Api, config: &Config, report: &mut Report) {
    let at = |field: &str| pointer(&["apis", name, field]);
    if let Some(version) = api.version.as_ref().filter(|version| !is_version(version)) {
        report
            .error("invalid_value", &version.place, format!("`{}` is not a version", version.value))
            .at(at("version"))
            .help("a version is `v2`, `2024-06-01` or `1.4.0`: up to 32 letters, digits, `.`, `-`, `_` and `+`");
    }
    if api.state == ApiState::Deprecated && api.deprecated_at.is_none() {
        report
            .error(
                "missing_field",
                &name.place,
                format!("since when is API `{}` deprecated?", name.value),
            )
            .at(at("deprecated_at"))
            .help("such as `deprecated_at: 2026-01-31`: clients are told (RFC 9745)");
    }
    if let (Some(since), Some(sunset)) = (&api.deprecated_at, &api.sunset)
        && sunset.value < since.value
    {
        report
            .error(
                "contradiction",
                &sunset.place,
                "it would stop answering before it is deprecated",
            )
            .at(at("sunset"))
            .help("let `sunset` be later than `deprecated_at` (RFC 9745, section 4)");
    }
    if let Some(link) = api.deprecation_link.as_ref().filter(|link| !is_link(link)) {
        let message = format!("`{}` is neither a URL nor a path", link.value);
        report
            .error("invalid_value", &link.place, message)
            .at(at("deprecation_link"))
            .help("such as `https://example.com/docs/moving-to-v2` or `/docs/moving`");
    }
    if let Some(successor) = &api.successor {
        self::successor(name, successor, config, report);
    }
}

/// Whether it leads somewhere by itself, and can stand in a header.
#[must_use]
pub fn is_link(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && !"<>\"\\^`{|}".contains(c);
    let leads = ["https://", "http://", "/"].iter().any(|start| text.starts_with(start));
    leads && text.chars().all(is_plain)
}

fn successor(
    name: &Placed<String>,
    successor: &Placed<String>,
    config: &Config,
    report: &mut Report,
) {
    if is_link(successor) {
        return;
    }
    let at = pointer(&["apis", name, "successor"]);
    match config.apis.get(successor) {
        None => unknown("api", successor, &config.apis, report),
        Some(_) if successor.value == name.value => {
            report
                .error("contradiction", &successor.place, "an API cannot succeed itself")
                .at(at)
                .help("name the API that clients are to use instead");
        }
        Some(api) if matches!(api.state, ApiState::Draft | ApiState::Retired) => {
            let message = format!(
                "clients are told to use `{}`, which is {}",
                successor.value,
                api.state.name()
            );
            report
                .warning("contradiction", &successor.place, message)
                .at(at)
                .help("name an API that answers");
        }
        Some(_) => {}
    }
}
