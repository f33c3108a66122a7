//! Yett: an API gateway and API management platform in one program. This crate wires the others
//! together: arguments, commands, the process around the data plane. It must never treat a request or
//! read a setting's meaning itself. Start reading at [`command::Command`], then [`process::serve`].

/// The commands and their arguments.
mod command;
/// The process around the data plane: start, reload, drain.
mod process;
/// Upgrading in place.
mod handover;
/// How many connections the process may have.
mod open_files;
/// What was used of quotas, kept on disk.
mod journal;
/// Keys that the gateway made, kept on disk.
mod kept;
/// How much memory there is.
mod memory;
/// The control plane beside the traffic.
mod platform;
/// What the commands that talk to a control plane share.
mod remote;
/// What the commands that look after its database share.
mod database;
/// What a service manager is told.
mod notify;
/// The listener for operators.
mod admin;
/// Files and environment variables.
mod disk;
/// From files to a snapshot.
mod prepare;
/// Sends spans to a collector.
#[cfg(feature = "otlp")]
mod export;
/// Problems as people and programs read them.
mod render;
/// What `yett top` shows.
mod top;
/// Notices when files change.
mod watch;
/// The backends of the quick start.
mod shop;

use clap::Parser as _;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The config cannot be used.
const BAD_CONFIG: u8 = 2;
/// The config is fine, but the program could not start or go on.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    // Of a huge page, 2 MiB, a gateway without much traffic uses little. Where they cannot be refused, memory is all that it costs.
    rustix::thread::disable_transparent_huge_pages(true).ok();
    command::Arguments::parse().command.run()
}
