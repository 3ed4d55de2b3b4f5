//! What a job asks of an aggregation, and what it gets.

use tacit_crypto::SealPublic;
use tacit_protocol::{Blame, Disclosure};
use tacit_types::{Code, Fault, Hash, Seat, Step};

use crate::blind::{Blinded, Release};
use crate::messages::Caps;
use crate::params::{Params, ROUND_KEYS_MAX};
use crate::vector::{Vector, Width};

/// One set-up and the rounds that it deals keys for. Every seat holds an equal plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Who may collude and drop out.
    pub params: Params,
    /// Everything that the job fixed: job id, attempt, contract hashes, kind. It must differ between
    /// any two attempts that one node key ever signs for.
    pub context: Hash,
    /// Round keys to deal, 1 to [`ROUND_KEYS_MAX`].
    pub rounds: u16,
    /// The seat that adds and unmasks. It contributes too.
    pub aggregator: Seat,
    /// Milliseconds that one step may take.
    pub step_ms: u64,
    /// The round number of the set-up's steps; round key `rho` uses `step_base + 1 + rho`. A job's
    /// own steps lie outside.
    pub step_base: u16,
}

impl Plan {
    /// Checks that the plan fits the seats.
    ///
    /// # Errors
    /// `refused.parties` for another number of seats or an aggregator without one,
    /// `refused.parameters` for too many rounds.
    pub fn check(&self, seats: usize) -> Result<(), Fault> {
        if usize::from(self.params.seats()) != seats || self.aggregator.index() >= seats {
            return Err(Fault::new(
                Code::RefusedParties,
                format!("a plan for {} seats aggregated at {} and {seats} seats", self.params.seats(), self.aggregator),
            ));
        }
        let steps_end = u32::from(self.step_base) + 1 + u32::from(self.rounds);
        if self.rounds == 0 || self.rounds > ROUND_KEYS_MAX || steps_end > u32::from(u16::MAX) || self.step_ms == 0 {
            return Err(Fault::new(
                Code::RefusedParameters,
                format!("{} round keys of at most {ROUND_KEYS_MAX}, from step {}", self.rounds, self.step_base),
            ));
        }
        Ok(())
    }

    pub(crate) fn setup_step(&self, phase: u16) -> Step {
        Step::new(self.step_base, phase)
    }

    pub(crate) fn round_step(&self, rho: u16, phase: u16) -> Step {
        Step::new(self.step_base.saturating_add(1).saturating_add(rho), phase) // why: `check` leaves room.
    }

    pub(crate) fn caps(&self) -> Caps {
        Caps { seats: usize::from(self.params.seats()), keys: usize::from(self.rounds) }
    }
}

/// Who gets the sum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Every surviving node, under this disclosure.
    Nodes(Disclosure),
    /// A recipient without a seat. The aggregator ends with a vector that only this key's holder can
    /// unblind, and only with the survivors' releases.
    Recipient {
        /// The recipient's key.
        key: SealPublic,
        /// The disclosure under which the releases are made.
        disclosure: Disclosure,
    },
}

impl Delivery {
    pub(crate) fn disclosure(&self) -> &Disclosure {
        match self {
            Delivery::Nodes(disclosure) | Delivery::Recipient { disclosure, .. } => disclosure,
        }
    }
}

/// One vector sum. Every seat holds an equal round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Round {
    /// The round key to use, rho. Each is used once.
    pub index: u16,
    /// The hash of the query whose answers are summed.
    pub query: Hash,
    /// The hash of the model bytes that were really received, where there is a model.
    pub model_root: Option<Hash>,
    /// The ring.
    pub width: Width,
    /// The number of elements.
    pub len: usize,
    /// Who gets the sum.
    pub delivery: Delivery,
}

/// What a round gives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The seats whose vectors are in the sum, in order.
    pub survivors: Vec<Seat>,
    /// The sum, for [`Delivery::Nodes`].
    pub sum: Option<Vector>,
    /// The blinded sum at the aggregator, for [`Delivery::Recipient`].
    pub blinded: Option<Blinded>,
    /// SHA-256 of the encoding of the blinded sum, at every other survivor of a checked sum: it took the masks off itself.
    pub made: Option<Hash>,
    /// This node's release for [`Delivery::Recipient`], to be handed out once the receipt is logged.
    pub release: Option<Release>,
    /// Misbehaviour that the round survived, for the receipt.
    pub blames: Vec<Blame>,
}

/// A named phase of the protocol, for progress displays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phase {
    /// Whether it is part of the set-up, once for all rounds.
    pub setup: bool,
    /// The phase number within its step round.
    pub number: u16,
    /// A stable word.
    pub name: &'static str,
}

/// Phase numbers within [`Plan::step_base`].
pub(crate) mod setup_phase {
    pub const ACCEPT: u16 = 1;
    pub const ROLL: u16 = 2;
    pub const BUNDLE: u16 = 3;
    pub const BOOK: u16 = 4;
    pub const DEAL: u16 = 5;
    pub const DEALT: u16 = 6;
    pub const READY: u16 = 7;
}

/// Phase numbers within a round's steps.
pub(crate) mod round_phase {
    pub const START: u16 = 1;
    pub const MASKED: u16 = 2;
    pub const RECEIPT: u16 = 3;
    pub const SURVIVORS: u16 = 4;
    pub const VOTE: u16 = 5;
    pub const QUORUM: u16 = 6;
    pub const UNMASK: u16 = 7;
    pub const RESULT: u16 = 8;
}

/// Every phase in order.
pub const PHASES: &[Phase] = &[
    Phase { setup: true, number: setup_phase::ACCEPT, name: "accept" },
    Phase { setup: true, number: setup_phase::ROLL, name: "roll" },
    Phase { setup: true, number: setup_phase::BUNDLE, name: "bundle" },
    Phase { setup: true, number: setup_phase::BOOK, name: "book" },
    Phase { setup: true, number: setup_phase::DEAL, name: "deal" },
    Phase { setup: true, number: setup_phase::DEALT, name: "dealt" },
    Phase { setup: true, number: setup_phase::READY, name: "ready" },
    Phase { setup: false, number: round_phase::START, name: "start" },
    Phase { setup: false, number: round_phase::MASKED, name: "masked" },
    Phase { setup: false, number: round_phase::RECEIPT, name: "receipt" },
    Phase { setup: false, number: round_phase::SURVIVORS, name: "survivors" },
    Phase { setup: false, number: round_phase::VOTE, name: "vote" },
    Phase { setup: false, number: round_phase::QUORUM, name: "quorum" },
    Phase { setup: false, number: round_phase::UNMASK, name: "unmask" },
    Phase { setup: false, number: round_phase::RESULT, name: "result" },
];
