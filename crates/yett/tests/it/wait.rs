//! Waiting for what will come: conditions that are asked for again and again, up to a deadline.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long anything may take, on a slow machine with much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is asked for.
const PAUSE: Duration = Duration::from_millis(5);

/// Time that passes while a test waits for processes.
#[expect(clippy::disallowed_methods, reason = "other processes live by the real clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks until there is an answer.
///
/// # Panics
/// When there is none in time.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(now() - began < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(PAUSE);
    }
}

/// Asks until an answer is as it should be; the last one, when it never was.
pub(crate) fn eventually<T>(mut ask: impl FnMut() -> T, is_right: impl Fn(&T) -> bool) -> T {
    let began = now();
    loop {
        let answer = ask();
        if is_right(&answer) || now() - began > PATIENCE {
            return answer;
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Asks until it is so.
pub(crate) fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    until(what, || ask().then_some(()));
}

/// A door that is opened once: what waits before it goes on then.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open, however long; the test's own deadline is shorter.
    pub(crate) fn pass(&self) {
        let is_open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(is_open, 2 * PATIENCE, |is_open| !*is_open).unwrap());
    }
}

/// The lines that a process writes, gathered by a thread.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    pub(crate) fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let gathered = lines.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                gathered.0.0.lock().unwrap().push(text);
                gathered.0.1.notify_all();
                line.clear();
            }
        });
        lines
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn text(&self) -> String {
        self.all().join("\n")
    }

    /// The last line in which something is found, as soon as there is one.
    pub(crate) fn find<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let (lines, written) = &*self.0;
        let began = now();
        let mut lines = lines.lock().unwrap();
        loop {
            if let Some(found) = lines.iter().rev().find_map(|line| find(line)) {
                return found;
            }
            let left = PATIENCE.saturating_sub(now() - began);
            assert!(!left.is_zero(), "no line with {what} in:\n{}", lines.join("\n"));
            lines = written.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits for a line that holds all of these.
    pub(crate) fn expect(&self, parts: &[&str]) -> String {
        self.find(&parts.join(", "), |line| {
            parts.iter().all(|part| line.contains(part)).then(|| line.to_owned())
        })
    }
}
