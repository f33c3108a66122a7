//! The terminal: keys without waiting for a line, a screen of its own that is gone at the end.

use super::fetch::{self, Reading};
use super::keys::{self, Key};
use super::screen::{Line, Style};
use base::env;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Events that wait to be shown.
const EVENTS_MAX: usize = 64;
/// Size of a terminal that does not tell.
const SIZE: (usize, usize) = (80, 24);

/// What there is to react to.
#[derive(Debug)]
pub(crate) enum Event {
    Key(Key),
    Reading(Result<Box<Reading>, String>),
}

/// A terminal in our hands; it is as before once this is dropped.
pub(crate) struct Terminal {
    before: Termios,
    events: SyncSender<Event>,
    is_coloured: bool,
}

impl Terminal {
    /// Takes the terminal, and has its keys come as events.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn open() -> Result<(Self, Receiver<Event>), String> {
        let told = |error: io::Error| format!("cannot use the terminal: {error}");
        let before = tcgetattr(io::stdin()).map_err(|error| told(error.into()))?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(|error| told(error.into()))?;
        let (events, received) = sync_channel(EVENTS_MAX);
        let is_coloured = env::text("NO_COLOR").is_none_or(|text| text.is_empty());
        let terminal = Self { before, events, is_coloured };
        terminal.put("\x1b[?1049h\x1b[?25l");
        let keys = terminal.events.clone();
        std::thread::Builder::new()
            .name("yett-keys".to_owned())
            .spawn(move || read_keys(&keys))
            .map_err(told)?;
        Ok((terminal, received))
    }

    /// Has readings of this gateway come as events, one after each interval.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn watch(&self, admin: &str, interval: Duration) -> io::Result<()> {
        let (admin, events) = (admin.to_owned(), self.events.clone());
        let watch = move || {
            loop {
                fetch::pause(interval);
                let reading = fetch::read(&admin).map(Box::new);
                if events.send(Event::Reading(reading)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("yett-watch".to_owned()).spawn(watch).map(drop)
    }

    /// Columns and lines.
    #[expect(clippy::unused_self, reason = "only a terminal in our hands has a size")]
    pub(crate) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => SIZE,
        }
    }

    /// Shows these lines and nothing else, without flicker.
    pub(crate) fn draw(&self, lines: &[Line]) {
        let mut out = String::from("\x1b[H");
        for (at, line) in lines.iter().enumerate() {
            let style = if self.is_coloured { code(line.style) } else { bare_code(line.style) };
            let end = if at + 1 < lines.len() { "\r\n" } else { "" };
            // Writing to a string cannot fail.
            write!(out, "\x1b[{style}m{}\x1b[0m\x1b[K{end}", line.text).ok();
        }
        out.push_str("\x1b[J");
        self.put(&out);
    }

    #[expect(clippy::unused_self, reason = "only a terminal in our hands is written to")]
    fn put(&self, text: &str) {
        let mut out = io::stdout().lock();
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.put("\x1b[?25h\x1b[?1049l");
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
    }
}

fn code(style: Style) -> &'static str {
    match style {
        Style::Plain => "0",
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Bad => "31",
        Style::Title => "7",
    }
}

fn bare_code(style: Style) -> &'static str {
    match style {
        Style::Bad => "1",
        other => code(other),
    }
}

/// Keys until the terminal is gone.
fn read_keys(events: &SyncSender<Event>) {
    let mut bytes = [0; 64];
    loop {
        let keys = match io::stdin().lock().read(&mut bytes) {
            Ok(0) => vec![Key::Interrupt],
            Ok(count) => keys::read(bytes.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => vec![Key::Interrupt],
        };
        let is_over = keys.contains(&Key::Interrupt);
        for key in keys {
            if events.send(Event::Key(key)).is_err() {
                return;
            }
        }
        if is_over {
            return;
        }
    }
}
