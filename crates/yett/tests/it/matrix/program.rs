//! Programs beside the tests: how they are found, started and spoken to, a line at a time.

use super::super::wait::{Lines, until};
use super::asking::{Answer, Ask};
use super::clients::Asker;
use serde_json::Value;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs");
/// Where `make needs` puts what tests want from Python.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python/bin");

/// Where a file beside the tests is.
pub(crate) fn beside(name: &str) -> String {
    format!("{PROGRAMS}/{name}")
}

/// A script beside the tests, with what runs it.
pub(crate) fn script(name: &str) -> Command {
    let mut command = if name.ends_with(".py") {
        let mut python = installed("python");
        // Without files of its own beside the sources.
        python.arg("-B");
        python
    } else {
        Command::new("node")
    };
    command.arg(beside(name));
    command
}

/// A program that came with a package of Python.
pub(crate) fn installed(name: &str) -> Command {
    Command::new(Path::new(PYTHON).join(name))
}

/// Starts a program.
///
/// # Panics
/// When it is not there; the message says what to do.
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|fault| {
        let program = command.get_program().display();
        assert!(fault.kind() != ErrorKind::NotFound, "{program} is missing: run `make needs`");
        panic!("{program} does not start: {fault}")
    })
}

/// A program that is spoken to by lines; it ends with the test.
pub(crate) struct Program {
    child: Child,
    orders: ChildStdin,
    told: Lines,
    /// What it says on standard error.
    complaints: Lines,
    name: String,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = format!("{command:?}");
        let mut child = spawn(&mut command);
        Self {
            orders: child.stdin.take().unwrap(),
            told: Lines::of(child.stdout.take().unwrap()),
            complaints: Lines::of(child.stderr.take().unwrap()),
            child,
            name,
        }
    }

    /// Gives it a line.
    pub(crate) fn say(&mut self, line: &str) {
        // If it has ended, whoever waits for its reply is told why.
        drop(writeln!(self.orders, "{line}"));
    }

    /// The first line in which something is found, as soon as there is one.
    ///
    /// # Panics
    /// When the program ends before, or takes too long.
    pub(crate) fn find<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        until(&format!("{} tells {what}", self.name), || {
            let ended = self.child.try_wait().unwrap();
            let found = self.told.all().iter().find_map(|line| find(line));
            if let (None, Some(status)) = (&found, ended) {
                panic!("{} ended with {status}: {}", self.name, self.complaints.text());
            }
            found
        })
    }

    /// The lines it wrote so far.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.all()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client in another language.
pub(crate) struct Scripted {
    program: Program,
    base: String,
    orders: usize,
}

impl Scripted {
    /// A client that is told to ask at this URL.
    pub(crate) fn start(command: Command, base: &str) -> Self {
        Self { program: Program::start(command), base: base.to_owned(), orders: 0 }
    }

    fn order(&mut self, ask: &Ask, leave: bool) {
        self.orders += 1;
        let order = ask.order(self.orders, &self.base, leave);
        self.program.say(&order.to_string());
    }

    fn answer(&mut self) -> Answer {
        let id = self.orders;
        self.program.find(&format!("order {id}"), |line| {
            let told: Value = serde_json::from_str(line).ok()?;
            (told["id"] == id).then(|| Answer::of(&told))
        })
    }
}

impl Asker for Scripted {
    fn ask_all(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let answer = |ask| {
            self.order(ask, false);
            self.answer()
        };
        asks.iter().map(answer).collect()
    }

    fn leave(&mut self, ask: &Ask, begun: &dyn Fn()) {
        self.order(ask, true);
        begun();
        self.program.say("leave");
        assert_eq!(self.answer().error.unwrap(), "left");
    }
}
