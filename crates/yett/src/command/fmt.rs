//! `yett fmt`: bring config files into their canonical form, comments kept.

use crate::render;
use clap::Args;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Files, or folders of `.yaml` files; `-` reads standard input and writes standard output.
    #[arg(default_value = "yett.yaml")]
    paths: Vec<PathBuf>,
    /// Change nothing; exit with 1 when a file is not in its canonical form.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut worst = 0;
    for path in &arguments.paths {
        let files = match files(path) {
            Ok(files) => files,
            Err(error) => {
                render::failure(&format!("cannot read `{}`: {error}", path.display()));
                return ExitCode::from(crate::FAILED);
            }
        };
        for file in files {
            worst = worst.max(one(&file, arguments.check));
        }
    }
    ExitCode::from(worst)
}

/// A folder stands for the YAML files in it.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn one(path: &Path, is_check: bool) -> u8 {
    let is_stdin = path == Path::new("-");
    let text = if is_stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            render::failure(&format!("cannot read `{}`: {error}", path.display()));
            return crate::FAILED;
        }
    };
    let name: Arc<str> = Arc::from(path.display().to_string());
    let formatted = match model::format::format(&text, &name) {
        Ok(formatted) => formatted,
        Err(report) => {
            render::text(&report, &[(name, Arc::from(text))]);
            return crate::BAD_CONFIG;
        }
    };
    if is_stdin && !is_check {
        // A closed pipe is the reader's choice.
        drop(std::io::stdout().write_all(formatted.as_bytes()));
        return 0;
    }
    if formatted == text {
        return 0;
    }
    if is_check {
        render::out(&format!("{} is not in its canonical form", path.display()));
        return crate::FAILED;
    }
    match replace(path, &formatted) {
        Ok(()) => {
            render::out(&format!("{} formatted", path.display()));
            0
        }
        Err(error) => {
            render::failure(&format!("cannot write `{}`: {error}", path.display()));
            crate::FAILED
        }
    }
}

/// Writes beside the file and renames, so that a gateway that watches it never sees half of it.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".yett-fmt");
    let beside = PathBuf::from(beside);
    fs::write(&beside, text)?;
    fs::set_permissions(&beside, fs::metadata(path)?.permissions())?;
    fs::rename(&beside, path)
}
