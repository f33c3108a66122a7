//! What the program says about its own running: `tracing` to standard error, with a level that can be
//! changed while it runs.

use base::env;
use std::fmt;
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// The way to change the level of what is said.
#[derive(Clone)]
pub struct Diagnostics {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Starts diagnostics on standard error, as JSON lines or as text; colours only on a terminal, and not
/// where `NO_COLOR` is set. Once per process.
///
/// # Errors
/// When `level` is not as [`Diagnostics::set_level`] wants it, or when diagnostics were started before.
pub fn init(level: &str, json: bool) -> Result<Diagnostics, String> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let output: Box<dyn Layer<_> + Send + Sync> = if json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer.with_ansi(coloured()).boxed()
    };
    let subscriber = Registry::default().with(filter).with(output);
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| "diagnostics were started before in this process".to_owned())?;
    Ok(Diagnostics { filter: handle })
}

impl Diagnostics {
    /// Changes what is said from now on: a level (`off`, `error`, `warn`, `info`, `debug`,
    /// `trace`), levels of single modules (`proxy=debug`), or several of both with commas between.
    ///
    /// # Errors
    /// A sentence that says which part is wrong; the level stays as it was.
    pub fn set_level(&self, directives: &str) -> Result<(), String> {
        let filter = parse(directives)?;
        self.filter.reload(filter).map_err(|e| format!("the level cannot be changed: {e}"))
    }

    /// The directives in force.
    #[must_use]
    pub fn level(&self) -> String {
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diagnostics").field("level", &self.level()).finish()
    }
}

/// As `EnvFilter` does, but a lone word must be a level: `EnvFilter` takes the typo `inof` for a module
/// of that name and falls silent. Patterns are no regular expressions.
fn parse(directives: &str) -> Result<EnvFilter, String> {
    if directives.trim().is_empty() {
        return Err("the level is empty; try `info`".to_owned());
    }
    let parts: Vec<&str> = directives.split(',').map(str::trim).collect();
    for part in &parts {
        let lone = !part.contains(['=', '[', ']']);
        if part.is_empty() || lone && part.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "`{part}` is not a level; use off, error, warn, info, debug or trace, or `module=level`"
            ));
        }
    }
    EnvFilter::builder()
        .with_regex(false)
        .parse(parts.join(","))
        .map_err(|e| format!("`{directives}` is not a level such as `info` or `proxy=debug`: {e}"))
}

/// Whether standard error wants colours; an empty `NO_COLOR` counts as unset, as no-color.org says.
fn coloured() -> bool {
    std::io::stderr().is_terminal() && env::text("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{init, parse};

    #[test]
    fn level_can_be_changed_while_running_and_only_one_start_works() {
        let diagnostics = init("warn", false).unwrap();
        assert_eq!(diagnostics.level(), "warn");
        assert!(!tracing::enabled!(tracing::Level::INFO));
        diagnostics.set_level("debug").unwrap();
        assert!(tracing::enabled!(tracing::Level::DEBUG));
        assert!(diagnostics.set_level("loud").is_err());
        assert_eq!(diagnostics.level(), "debug");
        diagnostics.set_level("error,telemetry=info").unwrap();
        assert!(tracing::enabled!(tracing::Level::INFO));
        assert!(!tracing::enabled!(target: "h2", tracing::Level::INFO));
        assert_eq!(
            init("info", true).unwrap_err(),
            "diagnostics were started before in this process"
        );
    }

    #[test]
    fn misspelt_level_is_refused_rather_than_silent() {
        for wrong in ["inof", "", " ", "info,", "info,bebug", "proxy=loud", "a=b=c"] {
            let error = parse(wrong).map(|filter| filter.to_string()).unwrap_err();
            assert!(error.contains("level"), "{wrong}: {error}");
        }
        for right in ["info", "OFF", "warn,h2=off", "proxy=debug , info"] {
            assert!(parse(right).is_ok(), "{right}");
        }
    }
}
