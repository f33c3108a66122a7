//! `yett top`: watch a running gateway.

use crate::top::fetch::{self, Reading};
use crate::top::screen::{self, Look};
use crate::top::terminal::{Event, Terminal};
use crate::top::view::{Table, View};
use crate::{render, top::keys};
use clap::Args;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

/// The shortest time between two looks, so that nobody keeps a gateway busy by looking.
const INTERVAL_MIN: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Address of the gateway's admin listener.
    #[arg(long, short, default_value = "127.0.0.1:9901", env = "YETT_ADMIN")]
    admin: String,
    /// Time between two looks, such as `1s` or `500ms`.
    #[arg(long, short, default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// What to begin with.
    #[arg(long, short, value_enum, default_value_t)]
    view: Table,
    /// Show only rows that hold this text.
    #[arg(long, short, default_value = "")]
    filter: String,
    /// Look once, over one interval, print everything and end.
    #[arg(long)]
    once: bool,
    /// Print JSON, one object for each look; with `--once` one object in all.
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    match base::units::Period::parse(text)?.0 {
        short if short < INTERVAL_MIN => Err("look at most five times a second".to_owned()),
        interval => Ok(interval),
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let is_watched = !arguments.once && !arguments.json;
    let outcome = if is_watched && std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
    {
        watch(arguments)
    } else {
        print(arguments)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            render::failure(&why);
            ExitCode::from(crate::FAILED)
        }
    }
}

/// Prints one look, or with JSON one after the other. Where nobody can press a key, one is enough.
fn print(arguments: &Arguments) -> Result<(), String> {
    let mut before = fetch::read(&arguments.admin)?;
    loop {
        fetch::pause(arguments.interval);
        let now = fetch::read(&arguments.admin)?;
        let view = View::between(&before, &now);
        if arguments.json {
            if !render::one_of_many(&view.json().to_string()) {
                return Ok(());
            }
        } else {
            render::out(&screen::plain(&view, &arguments.filter));
        }
        if arguments.once || !arguments.json {
            return Ok(());
        }
        before = now;
    }
}

/// Shows looks on the terminal until somebody has seen enough.
fn watch(arguments: &Arguments) -> Result<(), String> {
    let first = fetch::read(&arguments.admin)?;
    let (terminal, events) = Terminal::open()?;
    let shown = terminal.watch(&arguments.admin, arguments.interval);
    shown.map_err(|error| format!("cannot start a thread: {error}"))?;
    let mut look = Look::new(arguments.view, arguments.filter.clone());
    let mut view = View::between(&first, &first);
    let mut before = first;
    loop {
        terminal.draw(&screen::lines(&view, &look, terminal.size()));
        match events.recv() {
            Ok(Event::Key(key)) => {
                if keys::press(&mut look, key) == keys::Then::End {
                    return Ok(());
                }
            }
            Ok(Event::Reading(Ok(now))) => take(&mut view, &mut before, &mut look, *now),
            Ok(Event::Reading(Err(why))) => look.trouble = Some(why),
            Err(_) => return Ok(()),
        }
    }
}

fn take(view: &mut View, before: &mut Reading, look: &mut Look, now: Reading) {
    look.trouble = None;
    if !look.is_paused {
        *view = View::between(before, &now);
    }
    *before = now;
}
