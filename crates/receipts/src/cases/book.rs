//! The states of cases, as the leaves of a log give them.

use std::collections::BTreeMap;

use tacit_crypto::statement::Envelope;
use tacit_types::{Code, Fault, Hash, NodeId, UnixMillis};

use super::{Act, CASE_STEPS_MAX, Kind, Opening, Said, Step, wrong};
use crate::money::LeafRef;

/// Where a case stands. What time it is does not change it: see [`CaseView::overdue`] and [`CaseView::effective`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// Nothing was said on it yet. A conduct record is in force.
    Open,
    /// The other side was heard.
    Answered,
    /// An incident is contained.
    Contained,
    /// Those whom an incident concerns were told.
    Notified,
    /// A conduct record has no effect until its objection is decided.
    Frozen,
    /// Decided: it is right. A conduct record is in force again.
    Upheld,
    /// Decided: it is not.
    Dismissed,
    /// An incident is over.
    Closed,
    /// The cause of a conduct record was made good.
    Repaired,
    /// Taken back.
    Withdrawn,
}

impl State {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Answered => "answered",
            State::Contained => "contained",
            State::Notified => "notified",
            State::Frozen => "frozen",
            State::Upheld => "upheld",
            State::Dismissed => "dismissed",
            State::Closed => "closed",
            State::Repaired => "repaired",
            State::Withdrawn => "withdrawn",
        }
    }

    /// Whether somebody still has to do something. An open conduct record waits for nobody.
    pub fn waits(self, kind: Kind) -> bool {
        match self {
            State::Open => kind != Kind::Conduct,
            State::Answered | State::Contained | State::Notified | State::Frozen => true,
            _ => false,
        }
    }
}

/// A case and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaseView {
    /// The statement that opened it.
    pub at: LeafRef,
    /// Its kind.
    pub kind: Kind,
    /// Who opened it.
    pub by: NodeId,
    /// When.
    pub opened: UnixMillis,
    /// What it says.
    pub opening: Opening,
    /// Where it stands.
    pub state: State,
    /// Its steps: leaf, who, when, what.
    pub steps: Vec<(u64, NodeId, UnixMillis, Act)>,
}

impl CaseView {
    /// The deadline that was missed by a time, if one was: of the answer while there is none, else of the decision.
    pub fn overdue(&self, now: UnixMillis) -> Option<UnixMillis> {
        let unanswered = matches!(self.state, State::Open | State::Contained);
        let due = if unanswered { self.opening.answer_by } else { self.opening.decide_by };
        (self.state.waits(self.kind) && due < now).then_some(due)
    }

    /// Whether a conduct record counts at a time: it has not ended, and is neither frozen nor taken out.
    pub fn effective(&self, now: UnixMillis) -> bool {
        let stands = matches!(self.state, State::Open | State::Upheld);
        self.kind == Kind::Conduct && stands && self.opening.until.is_some_and(|until| now < until)
    }
}

/// Every case of a log.
#[derive(Debug, Default)]
pub struct Cases {
    origin: String,
    cases: BTreeMap<u64, CaseView>,
}

/// Gives the hash of a leaf before the one that is judged.
pub type Before<'a> = dyn Fn(u64) -> Option<Hash> + 'a;

impl Cases {
    /// The cases of a log from its first leaf on.
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), cases: BTreeMap::new() }
    }

    /// Goes on with the log that comes after, whose leaves are numbered on.
    pub fn turn(&mut self, origin: &str) {
        origin.clone_into(&mut self.origin);
    }

    /// Every case, in the order of the log.
    pub fn iter(&self) -> impl Iterator<Item = &CaseView> {
        self.cases.values()
    }

    /// The case that a leaf opened.
    pub fn get(&self, leaf: u64) -> Option<&CaseView> {
        self.cases.get(&leaf)
    }

    /// Whether a statement would be good as the next leaf. Nothing changes.
    ///
    /// # Errors
    /// `receipt.case`; `receipt.record` for another log.
    pub fn allows(&self, envelope: &Envelope, said: &Said, before: &Before<'_>) -> Result<(), Fault> {
        said.check()?;
        if said.origin() != self.origin {
            return Err(Fault::new(Code::ReceiptRecord, format!("it is for the log {:?}", said.origin())));
        }
        match said {
            Said::Opens(kind, opening) => opens(*kind, opening, envelope, before),
            Said::Goes(step) => self.goes(step, envelope).map(|_| ()),
        }
    }

    /// Takes a statement in, and says what is wrong with it. What is wrong has no effect.
    ///
    /// # Errors
    /// As [`Cases::allows`].
    pub fn push(&mut self, at: LeafRef, envelope: &Envelope, said: &Said, before: &Before<'_>) -> Result<(), Fault> {
        self.allows(envelope, said, before)?;
        match said {
            Said::Opens(kind, opening) => {
                let case = CaseView {
                    at,
                    kind: *kind,
                    by: envelope.signer,
                    opened: envelope.issued_at,
                    opening: opening.clone(),
                    state: State::Open,
                    steps: Vec::new(),
                };
                self.cases.insert(at.index, case);
            }
            Said::Goes(step) => {
                let next = self.goes(step, envelope)?;
                if let Some(case) = self.cases.get_mut(&step.case.index) {
                    case.state = next;
                    case.steps.push((at.index, envelope.signer, envelope.issued_at, step.act));
                }
            }
        }
        Ok(())
    }

    /// The state that a step leads to.
    fn goes(&self, step: &Step, envelope: &Envelope) -> Result<State, Fault> {
        let leaf = step.case.index;
        let case = self.cases.get(&leaf).ok_or_else(|| wrong(format!("leaf {leaf} is no case before it")))?;
        if case.at.hash != step.case.hash {
            return Err(wrong(format!("leaf {leaf} has the hash {}", case.at.hash.short())));
        }
        if case.steps.len() >= CASE_STEPS_MAX {
            return Err(wrong(format!("the case of leaf {leaf} has {CASE_STEPS_MAX} steps")));
        }
        let (whose, next) = next(case, step.act).ok_or_else(|| {
            let (kind, state, act) = (case.kind.word(), case.state.word(), step.act.word());
            wrong(format!("{act} of a {kind} that is {state}"))
        })?;
        if whose != Some(envelope.signer) {
            let who = envelope.signer.short();
            return Err(wrong(format!("{who} may not {} in the case of leaf {leaf}", step.act.word())));
        }
        // Nobody is judged unheard: a complaint is decided once it is answered, or the time to answer is over.
        let unheard = case.kind == Kind::Complaint && case.state == State::Open;
        if unheard && step.act == Act::Uphold && envelope.issued_at <= case.opening.answer_by {
            return Err(wrong(format!("it may be answered until {}", case.opening.answer_by)));
        }
        Ok(next)
    }
}

/// Who may do a step in a state, and where it leads.
fn next(case: &CaseView, act: Act) -> Option<(Option<NodeId>, State)> {
    use Kind::{Complaint, Conduct, Incident};
    use State::{Answered, Contained, Frozen, Notified, Open, Upheld};
    let (about, opener, decider) = (case.opening.about, Some(case.by), Some(case.opening.decider));
    Some(match (case.kind, case.state, act) {
        (Complaint, Open | Answered, Act::Answer) => (about, Answered),
        (Complaint, Open | Answered, Act::Uphold) => (decider, Upheld),
        (Complaint, Open | Answered, Act::Dismiss) => (decider, State::Dismissed),
        (Complaint, Open | Answered, Act::Withdraw) => (opener, State::Withdrawn),
        (Incident, Open, Act::Contain) => (opener, Contained),
        (Incident, Open | Contained, Act::Notify) => (opener, Notified),
        (Incident, Notified, Act::Contain) => (opener, Notified),
        (Incident, Notified, Act::Close) => (decider, State::Closed),
        (Incident, Open | Contained | Notified, Act::Dismiss) => (decider, State::Dismissed),
        (Conduct, Open | Upheld, Act::Object) => (about, Frozen),
        (Conduct, Frozen, Act::Uphold) => (decider, Upheld),
        (Conduct, Frozen, Act::Dismiss) => (decider, State::Dismissed),
        (Conduct, Open | Upheld | Frozen, Act::Repair) => (decider, State::Repaired),
        (Conduct, Open | Upheld | Frozen, Act::Withdraw) => (opener, State::Withdrawn),
        _ => return None,
    })
}

fn opens(kind: Kind, opening: &Opening, envelope: &Envelope, before: &Before<'_>) -> Result<(), Fault> {
    if opening.about == Some(envelope.signer) {
        return Err(wrong("it is about who signed it"));
    }
    if kind == Kind::Complaint && opening.decider == envelope.signer {
        return Err(wrong("who complains cannot decide"));
    }
    if opening.answer_by < envelope.issued_at {
        return Err(wrong(format!("the answer was due at {}, before it was opened", opening.answer_by)));
    }
    for leaf in &opening.leaves {
        match before(leaf.index) {
            Some(hash) if hash == leaf.hash => {}
            Some(hash) => return Err(wrong(format!("leaf {} has the hash {}", leaf.index, hash.short()))),
            None => return Err(wrong(format!("leaf {} is no leaf before it", leaf.index))),
        }
    }
    Ok(())
}
