//! How a row is tried: whole, behind a good request, byte by byte, and cut in two at many places. Whatever the
//! cut, the client hears the same and the backend sees the same.

use crate::it::hostile::recorder::{CUT, Recorder};
use crate::it::hostile::row::{Cut, Row, Then, head};
use crate::it::hostile::talk::{GOOD, Stage, growth};
use crate::it::hostile::text::{expected, merged, shown};
use crate::it::kit::brief;

/// Bytes up to which a row is sent byte by byte.
const SHORT_BYTES: usize = 1 << 10;
/// Bytes up to which a row is cut in two at each place; of several spellings, the first.
const CUT_BYTES: usize = 160;

/// A protocol: how its clients speak.
#[derive(Clone, Copy)]
pub(crate) struct Protocol {
    /// The bytes that a client says for a row.
    pub(crate) bytes: fn(&Row, &[u8], Plan) -> Vec<u8>,
    /// Says them and tells what it hears, in short.
    pub(crate) speak: fn(&Stage, &Row, &[u8], Plan) -> Result<String, String>,
    /// What it hears for the request ahead of a row.
    pub(crate) ahead: &'static str,
    /// What it hears for the one behind it.
    pub(crate) tail: &'static str,
    /// Rows are cut in two behind every so many bytes.
    pub(crate) step: usize,
    /// Bytes of memory that the client itself takes.
    pub(crate) room: u64,
}

/// How bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Whole,
    /// Behind a request that is served.
    Behind,
    Each,
    At(usize),
}

impl Plan {
    /// The pieces in which these bytes are sent.
    pub(crate) fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Whole | Self::Behind => vec![bytes],
            Self::Each => bytes.chunks(1).collect(),
            Self::At(at) => {
                let (first, second) = bytes.split_at(at);
                vec![first, second]
            }
        }
    }

    /// Whether chunks are cut as the bytes are.
    const fn cuts(self) -> bool {
        matches!(self, Self::Each | Self::At(_))
    }
}

/// Tries all rows, and tells of all that do not keep their promise.
pub(crate) fn check(rows: &[Row], protocol: Protocol) {
    let failures: Vec<String> = rows.iter().flat_map(|row| check_row(row, protocol)).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n\n"));
}

fn check_row(row: &Row, protocol: Protocol) -> Vec<String> {
    let mut failures = Vec::new();
    let (stage, recorder) = &Stage::recorded();
    for case in &row.cases {
        let found = Trial { row, case, protocol, stage, recorder }.run().err();
        failures.extend(found.into_iter().map(|what| {
            format!("{} ({})\n  bytes: {}\n  {what}", row.name, row.clause, shown(case))
        }));
    }
    failures
}

/// One spelling of one row.
struct Trial<'a> {
    row: &'a Row,
    case: &'a [u8],
    protocol: Protocol,
    stage: &'a Stage,
    recorder: &'a Recorder,
}

impl Trial<'_> {
    fn run(&self) -> Result<(), String> {
        let before = self.counted();
        let bytes = (self.protocol.bytes)(self.row, self.case, Plan::Whole);
        let speak = || (self.protocol.speak)(self.stage, self.row, &bytes, Plan::Whole);
        let (heard, growth) = growth(speak);
        // What a connection counts at its end is counted now.
        self.stage.settle();
        self.judge(heard, Plan::Whole)?;
        if growth > self.row.growth_max + self.protocol.room {
            return Err(format!("memory grew by {growth} bytes"));
        }
        let counted = self.check_count(&before);
        self.check_next()?;
        self.try_plan(Plan::Behind)?;
        if self.row.cut == Cut::Anywhere {
            self.check_cuts()?;
        }
        counted
    }

    fn check_cuts(&self) -> Result<(), String> {
        if self.case.len() <= SHORT_BYTES {
            self.try_plan(Plan::Each)?;
        }
        let is_first = self.row.cases.first().is_some_and(|first| first == self.case);
        if is_first && self.case.len() <= CUT_BYTES {
            for at in (1..=self.case.len()).step_by(self.protocol.step) {
                self.try_plan(Plan::At(at))?;
            }
        }
        Ok(())
    }

    fn try_plan(&self, plan: Plan) -> Result<(), String> {
        let bytes = (self.protocol.bytes)(self.row, self.case, plan);
        self.judge((self.protocol.speak)(self.stage, self.row, &bytes, plan), plan)
    }

    /// Compares what came of it with what was promised.
    fn judge(&self, heard: Result<String, String>, plan: Plan) -> Result<(), String> {
        let saw = self.recorder.take();
        let found = heard.map_err(|what| format!("{plan:?}: {what}"))?;
        let outcome = self.outcome(plan);
        if found != outcome {
            return Err(format!("{plan:?}: outcome `{found}`, not `{outcome}`"));
        }
        let should = self.should_see(plan);
        let form = |text: &String| if plan.cuts() { merged(text) } else { text.clone() };
        let is_right =
            saw.len() == should.len() && saw.iter().map(form).eq(should.iter().map(form));
        if is_right || (plan.cuts() && self.is_late(&saw, &should)) {
            return Ok(());
        }
        Err(format!("{plan:?}: the backend saw {saw:#?}\n  and not {should:#?}"))
    }

    /// Whether the backend saw no more than the beginning of what may be passed on before the fault comes.
    fn is_late(&self, saw: &[String], should: &[String]) -> bool {
        let (Some(most), Some((first, rest))) = (&self.row.late, saw.split_first()) else {
            return false;
        };
        let most = merged(&expected(most));
        let start = first.strip_suffix(CUT).map(merged);
        let start = start.as_deref().map(|start| start.strip_suffix('>').unwrap_or(start));
        rest == should && start.is_some_and(|start| most.starts_with(start))
    }

    fn outcome(&self, plan: Plan) -> String {
        let ahead = if plan == Plan::Behind { self.protocol.ahead } else { "" };
        let tail = if self.goes_on() { self.protocol.tail } else { "" };
        let parts = [ahead, &self.row.outcome, tail];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// Whether what is asked behind the row is served.
    fn goes_on(&self) -> bool {
        self.row.then == Then::Asks && self.row.goes_on()
    }

    fn should_see(&self, plan: Plan) -> Vec<String> {
        let ahead = (plan == Plan::Behind).then(|| head("GET /good", "", ""));
        let tail = self.goes_on().then(|| head("GET /tail", "", ""));
        let messages = ahead.iter().chain(&self.row.saw).chain(&tail);
        messages.map(|message| expected(message)).collect()
    }

    /// Another client is served as if nothing had been.
    fn check_next(&self) -> Result<(), String> {
        let heard = self.stage.says(&[GOOD], Then::Waits);
        let saw = self.recorder.take();
        if brief(&heard) != "200" || saw != [expected(&head("GET /good", "", ""))] {
            return Err(format!("the next client heard {heard}\n  and the backend saw {saw:#?}"));
        }
        Ok(())
    }

    /// What was refused so far, by reason.
    fn counted(&self) -> Vec<(String, u64)> {
        let text = self.stage.gateway.metrics.encode();
        let lines = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("yett_protocol_errors_total{reason=\"")?;
            let (reason, count) = rest.split_once("\"} ")?;
            Some((reason.to_owned(), count.parse().unwrap()))
        });
        lines.collect()
    }

    /// What was counted is what should be, or nothing where nothing should.
    fn check_count(&self, before: &[(String, u64)]) -> Result<(), String> {
        let after = self.counted();
        let more: Vec<&str> =
            after.iter().filter(|count| !before.contains(count)).map(|(name, _)| &**name).collect();
        let known: Vec<&str> = self.row.reason.split('|').filter(|name| !name.is_empty()).collect();
        let is_right =
            more.is_empty() == known.is_empty() && more.iter().all(|name| known.contains(name));
        if is_right { Ok(()) } else { Err(format!("counted {more:?}, not `{}`", self.row.reason)) }
    }
}
