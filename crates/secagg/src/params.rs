//! Who may take part, how many may collude, how many may drop out: checked once, when a job is
//! planned, and part of every key afterwards.

use serde::{Deserialize, Serialize};
use tacit_crypto::Transcript;
use tacit_types::limits::SEATS_MAX;
use tacit_types::{Code, Fault};

use crate::tails;
use crate::vector::Width;

/// Round keys that one set-up deals at most.
pub const ROUND_KEYS_MAX: u16 = 32;
/// Seats up to which everyone shares a mask with everyone; above, neighbours are drawn.
pub const COMPLETE_SEATS_MAX: u16 = 128;
/// Colluding seats that a drawn graph withstands but with a chance of two to minus this.
pub const SECURITY_BITS: f64 = 40.0;
/// Stated drop-outs that a drawn graph survives but with a chance of two to minus this.
pub const CORRECTNESS_BITS: f64 = 20.0;

/// Why two parties may sum at all: without one of these each learns the other's input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TwoParty {
    /// Only a third party without a seat learns the sum.
    ThirdPartyRecipient,
    /// The noise that one honest contributor adds is enough alone.
    NoiseForOne,
}

/// Who shares masks with whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Graph {
    /// Everyone with everyone.
    Complete,
    /// The Harary graph of even degree `degree` on a permutation that nobody could choose.
    Harary {
        /// Neighbours of each seat.
        degree: u16,
    },
}

/// The parameters of one aggregation, in the names of Bonawitz et al. (CCS 2017) and Bell et al.
/// (CCS 2020). A value of this type satisfies `2 threshold > holders + corrupt` for the holders of
/// one secret (all seats, or a neighbourhood with overwhelming probability).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Params {
    seats: u16,
    corrupt: u16,
    threshold: u16,
    survivors_min: u16,
    graph: Graph,
    two_party: Option<TwoParty>,
    verified: bool,
}

impl Params {
    /// The defaults for `seats` parties: fewer than a third collude, and as many may drop out as
    /// `2t > n + c` leaves. Above [`COMPLETE_SEATS_MAX`], one in twenty collude and one in twenty
    /// drop out.
    ///
    /// # Errors
    /// `refused.parties` for one party, for two, and above [`SEATS_MAX`].
    pub fn new(seats: u16) -> Result<Self, Fault> {
        if seats > COMPLETE_SEATS_MAX {
            return Self::sparse(seats, seats / 20, seats / 20);
        }
        Self::complete(seats, default_corrupt(seats))
    }

    /// A complete graph of `seats` parties of which `corrupt` may collude with the aggregator.
    ///
    /// # Errors
    /// `refused.parties` for one party, for two, above [`COMPLETE_SEATS_MAX`], and when so many
    /// colluders leave no threshold.
    pub fn complete(seats: u16, corrupt: u16) -> Result<Self, Fault> {
        if seats < 3 {
            return Err(refuse(format!("{seats} parties: a sum hides an input only among three")));
        }
        Self::checked(seats, corrupt, Graph::Complete, None)
    }

    /// Two parties. Both policies must have opted in, for a reason that is named.
    ///
    /// # Errors
    /// Never for two parties; the signature is that of the other constructors.
    pub fn two(reason: TwoParty) -> Result<Self, Fault> {
        Self::checked(2, 0, Graph::Complete, Some(reason))
    }

    fn checked(seats: u16, corrupt: u16, graph: Graph, two_party: Option<TwoParty>) -> Result<Self, Fault> {
        if seats > COMPLETE_SEATS_MAX {
            return Err(refuse(format!("{seats} parties in a complete graph of at most {COMPLETE_SEATS_MAX}")));
        }
        let threshold = (seats + corrupt) / 2 + 1;
        if corrupt >= seats || threshold > seats {
            return Err(refuse(format!("{corrupt} colluders of {seats} parties leave no threshold")));
        }
        let floor = if two_party.is_some() { 2 } else { 3 };
        let survivors_min = threshold.max(corrupt + 2).max(floor);
        if survivors_min > seats {
            return Err(refuse(format!("{seats} parties are fewer than the {survivors_min} that must survive")));
        }
        Ok(Self { seats, corrupt, threshold, survivors_min, graph, two_party, verified: false })
    }

    /// A drawn graph of `seats` parties of which `corrupt` may collude, with an active coordinator,
    /// and `dropped` may drop out. The degree and threshold are the smallest that keep two to the
    /// minus [`SECURITY_BITS`] and [`CORRECTNESS_BITS`]; see [`crate::tails`].
    ///
    /// # Errors
    /// `refused.parties` up to [`COMPLETE_SEATS_MAX`] and above [`SEATS_MAX`] seats, and when no
    /// degree below `seats` is enough.
    pub fn sparse(seats: u16, corrupt: u16, dropped: u16) -> Result<Self, Fault> {
        if seats <= COMPLETE_SEATS_MAX || usize::from(seats) > SEATS_MAX {
            return Err(refuse(format!("{seats} parties: neighbours are drawn among 129 to {SEATS_MAX}")));
        }
        let (degree, threshold) = tails::smallest(seats, corrupt, dropped)
            .ok_or_else(|| refuse(format!("{corrupt} colluders and {dropped} drop-outs of {seats} parties")))?;
        Self::with_degree(seats, corrupt, dropped, degree, threshold)
    }

    /// A drawn graph of a stated degree and threshold, at least as safe as the smallest.
    ///
    /// # Errors
    /// `refused.parties` when the degree or threshold does not keep the bounds of [`Params::sparse`].
    pub fn with_degree(seats: u16, corrupt: u16, dropped: u16, degree: u16, threshold: u16) -> Result<Self, Fault> {
        if !tails::is_safe(seats, corrupt, dropped, degree, threshold) {
            return Err(refuse(format!("degree {degree} and threshold {threshold} are too weak for {seats} parties")));
        }
        Ok(Self {
            seats,
            corrupt,
            threshold,
            survivors_min: (seats - dropped).max(corrupt + 2),
            graph: Graph::Harary { degree },
            two_party: None,
            verified: false,
        })
    }

    /// The same parties, who check every sum before they believe it; see [`crate::verify`].
    #[must_use]
    pub const fn verified(self) -> Self {
        Self { verified: true, ..self }
    }

    /// Whether every survivor recomputes the masks and checks the sum.
    pub const fn is_verified(&self) -> bool {
        self.verified
    }

    /// Parties seated, n.
    pub const fn seats(&self) -> u16 {
        self.seats
    }

    /// Parties that may collude with the aggregator, c.
    pub const fn corrupt(&self) -> u16 {
        self.corrupt
    }

    /// Shares that open a secret and votes that settle a survivor set, t. Counted in a neighbourhood
    /// where the graph is drawn.
    pub const fn threshold(&self) -> u16 {
        self.threshold
    }

    /// The fewest survivors whose sum is opened, U_min.
    pub const fn survivors_min(&self) -> u16 {
        self.survivors_min
    }

    /// Who shares masks with whom.
    pub const fn graph(&self) -> Graph {
        self.graph
    }

    /// Why two parties may sum, when there are two.
    pub const fn two_party(&self) -> Option<TwoParty> {
        self.two_party
    }

    /// Adds every field to a transcript.
    pub(crate) fn absorb(&self, transcript: Transcript) -> Transcript {
        let (rule, degree) = match self.graph {
            Graph::Complete => (0, 0),
            Graph::Harary { degree } => (1, degree),
        };
        let rule = rule + 2 * u16::from(self.verified);
        let two_party = match self.two_party {
            None => 0,
            Some(TwoParty::ThirdPartyRecipient) => 1,
            Some(TwoParty::NoiseForOne) => 2,
        };
        [self.seats, self.corrupt, self.threshold, self.survivors_min, rule, degree, two_party]
            .into_iter()
            .fold(transcript, |t, field| t.u64(u64::from(field)))
    }
}

/// Fewer than a third, and one of three.
fn default_corrupt(seats: u16) -> u16 {
    match seats {
        3 => 1,
        n => n.div_ceil(3).saturating_sub(1),
    }
}

fn refuse(what: String) -> Fault {
    Fault::new(Code::RefusedParties, what)
}

/// The range of one party's numbers, from which the width of the sum follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The largest weight that multiplies a party's vector, W_max; 1 without weights.
    pub weight_max: u64,
    /// The largest absolute value before scaling, C.
    pub magnitude: u128,
    /// Bits after the binary point, f; 0 for whole numbers.
    pub fraction_bits: u8,
    /// Eight standard deviations of all the noise in the sum, in units of the last place.
    pub noise: u128,
}

impl Bound {
    /// Whole numbers of at most `magnitude`, without weights or noise.
    pub const fn whole(magnitude: u128) -> Self {
        Self { weight_max: 1, magnitude, fraction_bits: 0, noise: 0 }
    }

    /// Checks that sums of `seats` such numbers cannot leave the ring:
    /// `n W_max (C 2^f + 1) + noise < 2^(w-1)`.
    ///
    /// # Errors
    /// `refused.overflow`.
    pub fn check(&self, seats: u16, width: Width) -> Result<(), Fault> {
        let limit = 1u128 << (width.bits() - 1);
        let scaled = 1u128.checked_shl(u32::from(self.fraction_bits)).and_then(|s| s.checked_mul(self.magnitude));
        let sum = scaled
            .and_then(|q| q.checked_add(1))
            .and_then(|q| q.checked_mul(u128::from(self.weight_max)))
            .and_then(|q| q.checked_mul(u128::from(seats)))
            .and_then(|q| q.checked_add(self.noise));
        match sum {
            Some(sum) if sum < limit => Ok(()),
            _ => Err(Fault::new(
                Code::RefusedOverflow,
                format!(
                    "{seats} parties of weight {} with values up to {} and {} fraction bits in {} bits",
                    self.weight_max,
                    self.magnitude,
                    self.fraction_bits,
                    width.bits()
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_table() {
        for (n, c, t) in [(3, 1, 3), (4, 1, 3), (5, 1, 4), (7, 2, 5), (10, 3, 7), (30, 9, 20), (100, 33, 67)] {
            let p = Params::new(n).unwrap();
            assert_eq!((p.corrupt(), p.threshold()), (c, t), "{n}");
            assert!(2 * p.threshold() > n + c);
            assert_eq!(p.survivors_min(), t.max(c + 2).max(3));
        }
        for n in 3..=COMPLETE_SEATS_MAX {
            let p = Params::new(n).unwrap();
            assert!(2 * p.threshold() > n + p.corrupt() && p.survivors_min() <= n, "{n}");
        }
    }

    #[test]
    fn one_party_is_refused_and_two_without_a_reason() {
        for n in [0, 1, 2] {
            assert_eq!(Params::new(n).unwrap_err().code, Code::RefusedParties, "{n}");
            assert_eq!(Params::complete(n, 0).unwrap_err().code, Code::RefusedParties, "{n}");
        }
        let two = Params::two(TwoParty::ThirdPartyRecipient).unwrap();
        assert_eq!((two.seats(), two.corrupt(), two.threshold(), two.survivors_min()), (2, 0, 2, 2));
        assert_eq!(Params::new(SEATS_MAX as u16 + 1).unwrap_err().code, Code::RefusedParties);
        assert_eq!(Params::complete(COMPLETE_SEATS_MAX + 1, 1).unwrap_err().code, Code::RefusedParties);
    }

    #[test]
    fn too_many_colluders_are_refused() {
        assert!(Params::complete(4, 2).is_ok_and(|p| p.threshold() == 4));
        assert_eq!(Params::complete(4, 3).unwrap_err().code, Code::RefusedParties);
        assert_eq!(Params::complete(3, 2).unwrap_err().code, Code::RefusedParties);
    }

    #[test]
    fn an_overflow_is_refused_at_its_edge() {
        // 3 (C + 1) < 2^31: C = 715,827,881 fits, one more does not.
        assert!(Bound::whole(715_827_881).check(3, Width::W32).is_ok());
        assert_eq!(Bound::whole(715_827_882).check(3, Width::W32).unwrap_err().code, Code::RefusedOverflow);
        assert!(Bound::whole(715_827_882).check(3, Width::W64).is_ok());
        let model = Bound { weight_max: 1, magnitude: 8, fraction_bits: 16, noise: 0 };
        assert!(model.check(1000, Width::W32).is_ok());
        assert!(Bound { noise: 1 << 31, ..model }.check(1000, Width::W32).is_err());
        assert!(Bound { weight_max: 100, ..model }.check(1000, Width::W32).is_err());
        assert!(Bound::whole(u128::MAX).check(3, Width::W128).is_err());
        assert!(Bound::whole(1 << 120).check(3, Width::W128).is_ok());
    }
}
