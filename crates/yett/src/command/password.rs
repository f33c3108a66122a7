//! `yett password`: hash passwords, and set one's own.

use crate::remote::{Failure, Reach, Remote};
use crate::render;
use base::Secret;
use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use serde_json::json;
use std::future::poll_fn;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::process::ExitCode;
use std::task::Poll;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the hash of a password that is read from standard input, for `consumers.NAME.basic`. A terminal does not
    /// show what is typed.
    Hash,
    /// Set the password with which you log in to the admin API: the first line of standard input. All your sessions end;
    /// this one begins anew.
    Set(Set),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Read the password until now first. Who came by a link has none.
    #[arg(long)]
    change: bool,
    #[command(flatten)]
    reach: Reach,
}

/// The shortest password that is hashed, in bytes.
const PASSWORD_BYTES_MIN: usize = 8;

pub(crate) fn run(command: &Command) -> ExitCode {
    if let Command::Set(arguments) = command {
        return match set(arguments) {
            Ok(told) => {
                render::out(&told);
                ExitCode::SUCCESS
            }
            Err(failure) => failure.tell(false),
        };
    }
    match read().and_then(|password| hash(&password)) {
        Ok(hash) => {
            render::out(hash.reveal());
            ExitCode::SUCCESS
        }
        Err(why) => {
            render::failure(&why);
            ExitCode::from(crate::FAILED)
        }
    }
}

fn set(arguments: &Set) -> Result<String, Failure> {
    let remote = Remote::anywhere(&arguments.reach)?;
    let who = remote.ask_at("GET", "/v1/sessions/current", None)?;
    let name = who["name"].as_str().unwrap_or_default();
    let old = arguments.change.then(read).transpose()?;
    let new = read()?;
    let body = json!({ "old": old.as_ref().map(Secret::reveal), "new": new.reveal() });
    remote.ask_at("PUT", "/v1/password", Some(&body))?;
    let path =
        remote.begin_anew(&json!({ "name": name, "password": new.reveal(), "bearer": true }))?;
    Ok(format!("the password of {name} is set; a new session is kept in {}", path.display()))
}

fn hash(password: &Secret) -> Result<Secret, String> {
    let length = password.reveal().len();
    if length < PASSWORD_BYTES_MIN {
        return Err(format!("a password has at least {PASSWORD_BYTES_MIN} bytes"));
    }
    if password.reveal().chars().any(char::is_control) {
        return Err("a password has no control characters: nobody could log in with it".to_owned());
    }
    policy::password::hash(password).map_err(|error| format!("cannot hash the password: {error}"))
}

/// The first line of standard input.
pub(crate) fn read() -> Result<Secret, String> {
    let stdin = io::stdin();
    let is_shown = isatty(&stdin);
    let before = if is_shown { tcgetattr(&stdin).ok() } else { None };
    if let Some(before) = &before {
        show_again_at_the_end(before.clone())
            .map_err(|error| format!("cannot listen to signals: {error}"))?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &silent)
            .map_err(|error| format!("cannot hide what is typed: {error}"))?;
        eprint("password: ");
    }
    let mut line = String::new();
    // More is no password.
    let limit = base::caps::PASSWORD_BYTES_MAX as u64 + 2;
    let read = stdin.lock().take(limit).read_line(&mut line);
    if let Some(before) = &before {
        // The terminal of whoever typed; if it is gone there is nobody to tell.
        tcsetattr(&stdin, OptionalActions::Now, before).ok();
        eprint("\n");
    }
    let line = Secret::new(line);
    read.map_err(|error| format!("cannot read standard input: {error}"))?;
    let password = line.reveal().trim_end_matches(['\r', '\n']);
    if password.len() > base::caps::PASSWORD_BYTES_MAX {
        return Err(format!("a password has at most {} bytes", base::caps::PASSWORD_BYTES_MAX));
    }
    Ok(Secret::new(password.to_owned()))
}

/// Whatever ends the program while it reads leaves the terminal as it was. To be stopped for a while would not: that is
/// not done here.
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "whoever waits for a line can be ended in no other way"
)]
fn show_again_at_the_end(before: Termios) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let listen = || {
        let _inside = runtime.enter();
        let stop = signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?;
        let [interrupt, terminate, quit, hang_up] = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::quit(),
            SignalKind::hangup(),
        ]
        .map(|kind| signal(kind).map(|it| (it, kind)));
        io::Result::Ok((stop, [interrupt?, terminate?, quit?, hang_up?]))
    };
    let (stop, mut ends) = listen()?;
    std::thread::spawn(move || {
        let ended = runtime.block_on(poll_fn(|cx| {
            let ended = ends.iter_mut().find_map(|(signal, kind)| {
                signal.poll_recv(cx).is_ready().then_some(kind.as_raw_value())
            });
            ended.map_or(Poll::Pending, Poll::Ready)
        }));
        tcsetattr(io::stdin(), OptionalActions::Now, &before).ok();
        eprint("\n");
        drop(stop);
        // As shells tell it.
        std::process::exit(128 + ended);
    });
    Ok(())
}

fn eprint(text: &str) {
    // A prompt that cannot be shown is no reason to stop.
    io::stderr().write_all(text.as_bytes()).ok();
}
