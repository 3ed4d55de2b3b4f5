//! One run: a scenario, a seed, its faults; and what came of it.

use serde::{Deserialize, Serialize};

use crate::bug::Bug;
use crate::faults::{Coverage, FaultKind, Faults};
use crate::trace::{Line, Remains};

/// What is simulated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Secure aggregation among machines.
    Secagg,
    /// Jobs from their submission to the opened result.
    Life,
    /// Scores online among machines: windows and their calls.
    Window,
    /// Secure aggregation among a thousand machines with a drawn graph: minutes.
    Thousand,
    /// Verified scores among machines of which one deviates.
    Verified,
    /// Alignments, searches and counts among machines.
    Align,
}

/// Events of one run of few processes, and for each pair of many: beyond, something spins.
pub(crate) const EVENTS_MAX: u64 = 200_000;
pub(crate) const EVENTS_OF_A_PAIR_MAX: u64 = 20;

/// How to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// What.
    pub scenario: Scenario,
    /// The seed.
    pub seed: u64,
    /// The faults; drawn from the seed when absent.
    pub faults: Option<Faults>,
    /// The kinds of faults that stay switched on; all when absent.
    pub only: Option<Vec<FaultKind>>,
    /// A planted bug.
    pub bug: Option<Bug>,
    /// Whether to keep the list of events.
    pub trace: bool,
}

impl Options {
    /// A run with everything drawn from its seed.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        Self { scenario, seed, faults: None, only: None, bug: None, trace: false }
    }

    /// The faults of this run among so many processes and parties.
    pub(crate) fn draw(&self, processes: usize, parties: usize) -> Faults {
        self.given_or(|| Faults::draw(self.seed, self.scenario, processes, parties))
    }

    /// The faults of this run: those that are given, or these; of either, those that are switched on.
    pub(crate) fn given_or(&self, drawn: impl FnOnce() -> Faults) -> Faults {
        let mut faults = self.faults.clone().unwrap_or_else(drawn);
        if let Some(kinds) = &self.only {
            faults.only(kinds);
        }
        faults
    }

    /// Whether this bug is planted.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

/// An invariant that did not hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Violation {
    /// The invariant, in its function's name.
    pub invariant: String,
    /// What was found.
    pub what: String,
}

/// What an invariant says.
pub(crate) type Check = Result<(), Violation>;

/// Fails an invariant.
pub(crate) fn broken(invariant: &str, what: impl Into<String>) -> Check {
    Err(Violation { invariant: invariant.to_owned(), what: what.into() })
}

/// Demands something of an invariant.
pub(crate) fn holds(ok: bool, invariant: &str, what: impl FnOnce() -> String) -> Check {
    if ok { Ok(()) } else { broken(invariant, what()) }
}

/// One run in so many is made a second time over other data of equal public parameters.
pub(crate) const TWIN_EVERY: u64 = 8;

/// Compares what two runs metered and sent.
pub(crate) fn usage_is_equal_for_different_inputs_of_equal_public_parameters(
    one: &[String],
    other: &[String],
) -> Check {
    let differing = one.iter().zip(other).find(|(a, b)| a != b);
    holds(one.len() == other.len() && differing.is_none(), "usage_is_equal_for_different_inputs", || {
        format!("{} and {} entries; {differing:?}", one.len(), other.len())
    })
}

/// How a run went.
#[derive(Debug)]
pub struct Report {
    /// How each job or round ended, in words.
    pub ends: Vec<String>,
    /// How often each fault happened.
    pub coverage: Coverage,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// Events.
    pub events: u64,
    /// The events, when they were to be kept.
    pub lines: Vec<Line>,
    /// The faults of the run.
    pub faults: Faults,
    /// What the parties metered and sent, for comparison with a run over other data.
    pub usage: Vec<String>,
    /// Receipts that convict a party: whether they have a result, and how many parties attested.
    pub convicted: Vec<(bool, usize)>,
}

/// Runs.
pub fn run(options: &Options) -> Report {
    Remains::begin(options.faults.clone().unwrap_or_default());
    let going = std::panic::AssertUnwindSafe(|| match options.scenario {
        Scenario::Secagg | Scenario::Thousand => crate::secagg::run(options),
        Scenario::Life => crate::life::run(options),
        Scenario::Window => crate::window::run(options),
        Scenario::Verified => crate::verified::run(options),
        Scenario::Align => crate::align::run(options),
    });
    std::panic::catch_unwind(going).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
        let Remains { faults, lines, events } = Remains::take();
        Report {
            ends: vec!["panic".into()],
            coverage: Coverage::new(),
            violation: broken("nothing_panics", text).err(),
            events,
            lines,
            faults,
            usage: Vec::new(),
            convicted: Vec::new(),
        }
    })
}
