//! Problems told to the author of a config: all of them, each with its place and its remedy.

use crate::caps::PROBLEMS_MAX;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Where something was written. Lines and columns count from one; zero means unknown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// The line, from one.
    pub line: u32,
    /// The column in characters, from one.
    pub column: u32,
}

impl Place {
    /// A place in a file.
    #[must_use]
    pub const fn new(file: Arc<str>, line: u32, column: u32) -> Self {
        Self { file, line, column }
    }

    /// The place of what was not written in any file.
    #[must_use]
    pub fn unknown() -> Self {
        Self { file: Arc::from(""), line: 0, column: 0 }
    }

    /// Whether this place is in a file.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.line != 0
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::unknown()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.is_empty(), self.line) {
            (true, _) => f.write_str("(not in a file)"),
            (false, 0) => f.write_str(&self.file),
            (false, _) => write!(f, "{}:{}:{}", self.file, self.line, self.column),
        }
    }
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is wrong, but someone reading the config should know.
    Note,
    /// The config works, but probably not as meant.
    Warning,
    /// The config cannot be used.
    Error,
}

/// One thing that is wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How much it matters.
    pub severity: Severity,
    /// A stable name of this kind of problem, such as `unknown_field`.
    pub code: &'static str,
    /// Where it was written.
    pub place: Place,
    /// JSON pointer (RFC 6901) into the document, empty when unknown.
    pub path: String,
    /// What is wrong, in one sentence without a final stop.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}: {severity}: {}", self.place, self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// All problems found in one go.
#[derive(Clone, Debug, Default)]
pub struct Report {
    problems: Vec<Problem>,
    errors: usize,
    warnings: usize,
    dropped: usize,
}

impl Report {
    /// A report without problems.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an error and returns it, so that help or a path can be added.
    pub fn error(
        &mut self,
        code: &'static str,
        place: &Place,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.add(Severity::Error, code, place, message.into())
    }

    /// Adds a warning and returns it, so that help or a path can be added.
    pub fn warning(
        &mut self,
        code: &'static str,
        place: &Place,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.add(Severity::Warning, code, place, message.into())
    }

    /// Adds a note and returns it, so that help or a path can be added.
    pub fn note(
        &mut self,
        code: &'static str,
        place: &Place,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.add(Severity::Note, code, place, message.into())
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        place: &Place,
        message: String,
    ) -> &mut Problem {
        let place = place.clone();
        self.push(Problem { severity, code, place, path: String::new(), message, help: None })
    }

    /// Adds a problem. Beyond the cap it is counted in place of being kept.
    pub fn push(&mut self, problem: Problem) -> &mut Problem {
        self.errors += usize::from(problem.severity == Severity::Error);
        self.warnings += usize::from(problem.severity == Severity::Warning);
        if self.problems.len() >= PROBLEMS_MAX {
            self.dropped += 1;
            self.problems.pop();
        }
        self.problems.push(problem);
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// Adds all problems of another report.
    pub fn absorb(&mut self, other: Self) {
        self.dropped += other.dropped;
        let errors = self.errors + other.errors;
        for problem in other.problems {
            self.push(problem);
        }
        self.errors = errors;
    }

    /// The problems, in the order of the files.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Has the texts that somebody wrote taken out of the messages about what `is_private`: a secret may stand where
    /// something else is expected.
    pub fn mask(&mut self, is_private: impl Fn(&Problem) -> bool) {
        for problem in self.problems.iter_mut().filter(|problem| is_private(problem)) {
            problem.message = match problem.code {
                "unknown_field" => {
                    // Its name is the last part of where it is.
                    problem.path.truncate(problem.path.rfind('/').unwrap_or(0));
                    "a field that is not known here".to_owned()
                }
                "unknown_value" => "a word that is not known here".to_owned(),
                _ => match problem.message.split_once(", found the text `") {
                    Some((expected, _)) => format!("{expected}, found a text"),
                    None => continue,
                },
            };
        }
    }

    /// How many problems were found beyond those kept.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Whether any problem forbids using the config.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors and warnings there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.errors, self.warnings)
    }

    /// Orders the problems by place and drops repetitions.
    pub fn sort(&mut self) {
        self.problems.sort_by(|a, b| a.place.cmp(&b.place).then_with(|| a.code.cmp(b.code)));
        let before = self.problems.len();
        self.problems.dedup();
        if self.problems.len() < before {
            let count = |severity| self.problems.iter().filter(|p| p.severity == severity).count();
            (self.errors, self.warnings) = (count(Severity::Error), count(Severity::Warning));
        }
    }
}

impl Problem {
    /// Says what to do about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Says which value of the document it is about.
    pub fn at(&mut self, path: impl Into<String>) -> &mut Self {
        self.path = path.into();
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        if self.dropped > 0 {
            writeln!(f, "and {} more problems", self.dropped)?;
        }
        Ok(())
    }
}

/// The one of `known` that `written` was probably meant to be.
#[must_use]
pub fn did_you_mean<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = |candidate: &&str| strsim::damerau_levenshtein(written, candidate);
    let best = known.into_iter().min_by_key(near)?;
    let far = (written.chars().count().max(best.chars().count()) / 3).max(1);
    (strsim::damerau_levenshtein(written, best) <= far).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::{Place, Report, did_you_mean};

    #[test]
    fn suggestions_are_near_or_absent() {
        let known = ["listeners", "upstreams", "apis"];
        assert_eq!(did_you_mean("listners", known), Some("listeners"));
        assert_eq!(did_you_mean("upstream", known), Some("upstreams"));
        assert_eq!(did_you_mean("zebra", known), None);
    }

    #[test]
    fn a_flood_of_problems_is_counted_but_not_kept() {
        let mut report = Report::new();
        for line in 1..=1_000 {
            report.error("x", &Place::new("f".into(), line, 1), "bad");
        }
        assert_eq!(report.problems().len(), crate::caps::PROBLEMS_MAX);
        assert_eq!(report.counts(), (1_000, 0));
    }
}
