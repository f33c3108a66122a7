//! `yett audit`: the audit trail of the control plane.

use crate::database::{Database, Failure, Outcome, Target};
use crate::database::{counted, file_failure};
use crate::render;
use base::Moment;
use base::clock::unix_ms;
use clap::{Args, Subcommand};
use control::audit::Narrowed;
use control::{Caller, Checked, Control, Problem};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::audit::Flaw;

/// Rows that are read at once.
const PAGE: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look whether the trail is what was written: each row is sealed with a hash of itself and of all before.
    Verify(Verify),
    /// Write the trail as JSON lines, the oldest first, with its seals.
    Export(Export),
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// A seal that was noted earlier, as this command prints it: whoever cuts off the end of a trail, or seals another one,
    /// has not this one. May be repeated.
    #[arg(long, value_name = "PLACE:HASH", value_parser = seal)]
    seal: Vec<(i64, String)>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args, Debug)]
pub(crate) struct Export {
    /// The file, which must not be there yet; `-` is standard output.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Only what was done at this time or later (RFC 3339).
    #[arg(long, value_parser = moment)]
    from: Option<Moment>,
    /// Only what was done before this time (RFC 3339).
    #[arg(long, value_parser = moment)]
    until: Option<Moment>,
    /// Only what was done by this user, token or part of the program.
    #[arg(long, default_value = "")]
    actor: String,
    #[command(flatten)]
    target: Target,
}

fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text)
}

fn seal(text: &str) -> Result<(i64, String), String> {
    let wrong = || "a seal is a number, a colon and 64 hexadecimal digits".to_owned();
    let (place, hash) = text.split_once(':').ok_or_else(wrong)?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let place = place.parse().ok().filter(|_| is_hash).ok_or_else(wrong)?;
    Ok((place, hash.to_ascii_lowercase()))
}

pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Verify(arguments) => {
            arguments.target.run(false, async |database| verify(&database, arguments).await)
        }
        Command::Export(arguments) => {
            arguments.target.run(false, async |database| export(&database, arguments).await)
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn verify(database: &Database, arguments: &Verify) -> Result<Outcome, Failure> {
    let store = database.open().await?;
    let told = |error| database.told(&error);
    let (mut flaw, mut count) = (None, 0);
    match store.audit_verify().await.map_err(told)? {
        Ok(rows) => count = rows,
        Err(Flaw::Gap(at)) => flaw = Some(format!("at place {at} a row was taken out or added")),
        Err(Flaw::Changed(id)) => flaw = Some(format!("row {id} is not what was sealed")),
    }
    for (place, hash) in &arguments.seal {
        let found = store.audit_sealed(*place).await.map_err(told)?;
        if flaw.is_none() && found.as_deref().map(hexadecimal).as_ref() != Some(hash) {
            flaw = Some(match found {
                Some(_) => format!("place {place} has another seal than the one that was noted"),
                None => format!("place {place} is gone: the end of the trail was cut off"),
            });
        }
    }
    let last = store.audit_sealed(count).await.map_err(told)?;
    let last = last.map(|seal| format!("{count}:{}", hexadecimal(&seal)));
    let open = store.audit_unsealed().await.map_err(told)?;
    store.close().await;
    let value = json!({
        "ok": flaw.is_none(), "rows": flaw.is_none().then_some(count), "unsealed": open, "seal": last, "flaw": flaw,
    });
    if let Some(flaw) = flaw {
        let why = format!("the audit trail is not what was written: {flaw}");
        return Ok(Outcome { lines: vec![why], value, is_good: false });
    }
    let rows = counted(count.unsigned_abs(), "row");
    let mut lines =
        vec![format!("the audit trail is what was written: {rows} sealed since it began")];
    if open > 0 {
        lines.push(format!(
            "{} not sealed yet, which a running gateway does within seconds",
            counted(open.unsigned_abs(), "row")
        ));
    }
    lines.extend(last.map(|last| {
        format!("seal {last}\nnote it elsewhere: `yett audit verify --seal …` tells later whether the trail still has it")
    }));
    Ok(Outcome::good(lines, value))
}

async fn export(database: &Database, arguments: &Export) -> Result<Outcome, Failure> {
    let Export { file, from, until, actor, .. } = arguments;
    let ms = |moment: &Option<Moment>| {
        moment.as_ref().map(|moment| i64::try_from(unix_ms(moment.0)).unwrap_or(i64::MAX))
    };
    let narrowed =
        Narrowed { actor, from_ms: ms(from), until_ms: ms(until), ..Narrowed::default() };
    let store = database.open().await?;
    let control = Control::new(store.clone(), &database.clock, |_| Checked::default());
    let is_stdout = file == Path::new("-");
    let failed = |why: io::Error| file_failure(file, &why);
    let mut to: Box<dyn Write> = if is_stdout {
        Box::new(BufWriter::new(io::stdout()))
    } else {
        Box::new(BufWriter::new(File::create_new(file).map_err(failed)?))
    };
    let (mut after, mut rows) = (0, 0);
    let caller = Caller::system("export");
    loop {
        let page = control.audit_export(&caller, None, &narrowed, (after, PAGE)).await;
        let page = page.map_err(|problem: Problem| {
            let why = problem.cause.unwrap_or(problem.detail);
            Failure::from(format!("{database}: {why}"))
        })?;
        let Some((lines, last)) = page else { break };
        rows += lines.lines().count() as u64;
        after = last;
        to.write_all(lines.as_bytes()).map_err(failed)?;
    }
    to.flush().map_err(failed)?;
    store.close().await;
    if is_stdout {
        render::tell(&counted(rows, "row"));
        return Ok(Outcome::good(Vec::new(), Value::Null));
    }
    let lines = vec![format!("{}: {}", file.display(), counted(rows, "row"))];
    Ok(Outcome::good(lines, json!({ "file": file, "rows": rows })))
}
