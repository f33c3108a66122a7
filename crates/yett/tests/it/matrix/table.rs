//! Cells of one client, made in parallel, and the table that tells of them.

use super::cases::{CASES, Case};
use super::clients::Client;
use super::left_out::reason;
use super::origins::Origin;
use super::pair::{Contents, Pair};
use std::any::Any;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// Characters of a message; what tells most comes first.
const MESSAGE_MAX: usize = 800;

/// What became of a cell.
enum Cell {
    Kept,
    Broken(String),
    LeftOut(&'static str),
}

/// Checks every case of a client with every backend.
///
/// # Panics
/// When a promise is broken, with a table of all cells and all messages.
pub(crate) fn check(client: Client) {
    let folder = tempfile::tempdir().unwrap();
    let contents = Contents::new(folder.path());
    let columns: Vec<Vec<Cell>> = thread::scope(|scope| {
        let contents = &contents;
        let columns =
            Origin::ALL.map(|origin| scope.spawn(move || column(client, origin, contents)));
        columns.into_iter().map(|column| column.join().unwrap_or_else(|why| dead(&why))).collect()
    });
    let text = table(client, &columns);
    let is_broken = |cell: &Cell| matches!(cell, Cell::Broken(_));
    assert!(!columns.iter().flatten().any(is_broken), "{text}");
    println!("{text}");
}

/// A column whose backend, gateway or client did not start.
fn dead(why: &Box<dyn Any + Send>) -> Vec<Cell> {
    CASES.iter().map(|_| Cell::Broken(message(&**why))).collect()
}

fn column(client: Client, origin: Origin, contents: &Contents) -> Vec<Cell> {
    let mut pair = Pair::start(client, origin, contents);
    CASES.iter().map(|case| cell(&mut pair, case)).collect()
}

fn cell(pair: &mut Pair, case: &Case) -> Cell {
    if let Some(reason) = reason(pair.client, pair.origin, case.name) {
        return Cell::LeftOut(reason);
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| (case.check)(pair)));
    match outcome {
        Ok(()) => Cell::Kept,
        Err(why) => {
            // The next cell is not to suffer for this one.
            pair.renew_client();
            Cell::Broken(message(&*why))
        }
    }
}

fn message(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<String>().cloned();
    let text = text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_default().chars().take(MESSAGE_MAX).collect()
}

fn table(client: Client, columns: &[Vec<Cell>]) -> String {
    let mut text = format!("{client:?}: + kept, - broken, . left out\n\n{:34}", "");
    let mut notes = String::new();
    for origin in Origin::ALL {
        write!(text, "{:8}", format!("{origin:?}")).unwrap();
    }
    for (row, case) in CASES.iter().enumerate() {
        write!(text, "\n{:34}", case.name).unwrap();
        for (column, origin) in columns.iter().zip(Origin::ALL) {
            let mark = match &column[row] {
                Cell::Kept => "+",
                Cell::Broken(why) => {
                    writeln!(notes, "- {} with {origin:?}: {why}", case.name).unwrap();
                    "-"
                }
                Cell::LeftOut(why) => {
                    writeln!(notes, ". {} with {origin:?}: {why}", case.name).unwrap();
                    "."
                }
            };
            write!(text, "{mark:8}").unwrap();
        }
    }
    if let Err(why) = client.hears_interim() {
        writeln!(notes, "  interim answers are not looked for: {why}").unwrap();
    }
    format!("{text}\n\n{notes}")
}
