//! What happened in a run, line by line, and the file that a failing run leaves.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use tacit_types::{Code, Fault};

use crate::bug::Bug;
use crate::faults::Faults;
use crate::run::{Options, Report, Scenario, Violation};

/// The version of the file that this code writes and reads.
const FORMAT: u32 = 1;

/// One event of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1.
    pub n: u64,
    /// Milliseconds since the run began.
    pub at: u64,
    /// Whose event it is.
    pub who: String,
    /// What happened.
    pub what: String,
}

/// What is left of a run that panicked.
#[derive(Default)]
pub(crate) struct Remains {
    pub faults: Faults,
    pub lines: Vec<Line>,
    pub events: u64,
}

thread_local! {
    /// Of the run that this thread is at. Unwinding takes the world down, and its events with it, but for this.
    static REMAINS: RefCell<Remains> = RefCell::default();
}

impl Remains {
    /// Begins a run with nothing but the faults that it was given.
    pub fn begin(faults: Faults) {
        REMAINS.set(Self { faults, ..Self::default() });
    }

    /// What the run has left.
    pub fn take() -> Self {
        REMAINS.take()
    }
}

/// The list of events, kept only when it is asked for.
pub(crate) struct Trace {
    kept: Option<Vec<Line>>,
    n: u64,
}

impl Trace {
    /// The list of a run with these faults.
    pub fn new(keep: bool, faults: &Faults) -> Self {
        REMAINS.with_borrow_mut(|remains| remains.faults = faults.clone());
        Self { kept: keep.then(Vec::new), n: 0 }
    }

    /// Adds an event; the text is made only when it is kept.
    pub fn note(&mut self, at: u64, who: impl FnOnce() -> String, what: impl FnOnce() -> String) {
        self.n += 1;
        let n = self.n;
        if let Some(lines) = &mut self.kept {
            lines.push(Line { n, at, who: who(), what: what() });
        }
    }

    pub fn count(&self) -> u64 {
        self.n
    }

    /// The list. A copy stays behind, should what follows the run panic.
    pub fn into_lines(mut self) -> Vec<Line> {
        self.leave();
        self.kept.take().unwrap_or_default()
    }

    fn leave(&self) {
        let Some(lines) = &self.kept else { return };
        REMAINS.with_borrow_mut(|remains| (remains.lines, remains.events) = (lines.clone(), self.n));
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.leave();
        }
    }
}

/// The first line of a file: everything that determines the run.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    scenario: Scenario,
    seed: u64,
    bug: Option<Bug>,
    violation: Option<Violation>,
    faults: Faults,
}

/// A recorded run.
pub struct Recording {
    /// How to run it again.
    pub options: Options,
    /// What was found.
    pub violation: Option<Violation>,
    /// Its events.
    pub lines: Vec<Line>,
}

impl Recording {
    /// The recording of a run that was made with these options and kept its events.
    pub fn new(options: &Options, report: Report) -> Self {
        let options = Options { faults: Some(report.faults), ..options.clone() };
        Self { options, violation: report.violation, lines: report.lines }
    }

    /// The file: JSON lines, the head first.
    pub fn to_text(&self) -> String {
        let head = Head {
            format: FORMAT,
            scenario: self.options.scenario,
            seed: self.options.seed,
            bug: self.options.bug,
            violation: self.violation.clone(),
            faults: self.options.faults.clone().unwrap_or_default(),
        };
        // why: every field is of a type that JSON can hold.
        let mut text = serde_json::to_string(&head).unwrap_or_default();
        for line in &self.lines {
            text.push('\n');
            text.push_str(&serde_json::to_string(line).unwrap_or_default());
        }
        text.push('\n');
        text
    }

    /// Reads a file.
    ///
    /// # Errors
    /// `args.invalid` naming the line that is not of the format.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let wrong = |n: usize, e: String| Fault::new(Code::ArgsInvalid, format!("line {n} of the recording: {e}"));
        let mut lines = text.lines().enumerate();
        let (_, first) = lines.next().ok_or_else(|| wrong(1, "missing".into()))?;
        let head: Head = serde_json::from_str(first).map_err(|e| wrong(1, e.to_string()))?;
        if head.format != FORMAT {
            return Err(wrong(1, format!("format {}, not {FORMAT}", head.format)));
        }
        let options = Options {
            scenario: head.scenario,
            seed: head.seed,
            faults: Some(head.faults),
            only: None,
            bug: head.bug,
            trace: true,
        };
        let lines = lines
            .map(|(i, line)| serde_json::from_str(line).map_err(|e| wrong(i + 1, e.to_string())))
            .collect::<Result<_, _>>()?;
        Ok(Self { options, violation: head.violation, lines })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_reads_back_and_another_file_is_named_by_line() {
        let line = Line { n: 1, at: 7, who: "seat 2".into(), what: "says \"hello\"".into() };
        let options = Options { bug: Some(Bug::VoteTwice), trace: true, ..Options::new(Scenario::Secagg, 9) };
        let violation = Some(Violation { invariant: "x".into(), what: "y".into() });
        let faults = Faults::draw(9, Scenario::Secagg, 4, 4);
        let options = Options { faults: Some(faults), ..options };
        let recording = Recording { options, violation, lines: vec![line] };
        let back = Recording::parse(&recording.to_text()).unwrap();
        assert_eq!((&back.options, &back.violation), (&recording.options, &recording.violation));
        assert_eq!(back.lines, recording.lines);
        let bad = format!("{}{{}}\n", recording.to_text());
        assert!(Recording::parse(&bad).is_err_and(|f| f.what.contains("line 3")));
        assert!(Recording::parse("").is_err());
    }
}
