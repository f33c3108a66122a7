//! The access log.

use crate::inputs::resolve_path;
use base::report::did_you_mean;
use base::units::Share;
use base::{Placed, Report};
use model::Config;
use telemetry::access::{AccessFormat, AccessSettings, AccessTarget, Rotation, Sample, Template};

/// Old files that are kept unless said otherwise.
const KEEP: u8 = 5;

/// How lines are written, which, and where they go. Where something is wrong, as if it were not said.
pub(crate) fn compile(config: &Config, report: &mut Report) -> AccessSettings {
    let log = &config.access_log;
    let target = match &log.to {
        None => AccessTarget::Stdout,
        Some(to) => match to.value.as_str() {
            "stdout" => AccessTarget::Stdout,
            "stderr" => AccessTarget::Stderr,
            "off" => AccessTarget::Off,
            path => AccessTarget::File(resolve_path(path, &to.place)),
        },
    };
    let sample = &log.sample.0;
    AccessSettings {
        format: log.format.as_ref().map(|written| format(written, report)).unwrap_or_default(),
        target,
        sample: Sample::new(
            sample.success.unwrap_or(Share::ALL),
            sample.errors.unwrap_or(Share::ALL),
            sample.slower_than.map(|period| period.0),
        ),
        rotation: log.rotate.as_ref().map(|rotate| Rotation {
            size: rotate.size.value.0,
            keep: u32::from(rotate.keep.unwrap_or(KEEP)),
        }),
    }
}

fn format(written: &Placed<String>, report: &mut Report) -> AccessFormat {
    let (message, help) = match written.value.as_str() {
        "json" => return AccessFormat::Json,
        "text" => return AccessFormat::Text,
        word if !word.contains(['{', '}']) => {
            let help = match did_you_mean(word, ["json", "text"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write `json`, `text`, or a template with fields in braces, such as \
                         `'{client} {method} {path} {status}'`"
                    .to_owned(),
            };
            (format!("`{word}` is no format of access lines"), help)
        }
        template => match Template::parse(template) {
            Ok(template) => return AccessFormat::Template(template),
            Err(error) => (error.message, error.help),
        },
    };
    report.error("invalid_value", &written.place, message).at("/access_log/format").help(help);
    AccessFormat::Json
}
