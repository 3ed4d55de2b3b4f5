//! Bringing lists of keys together: what a contract allows of it, what a job says of it, and where an aligned dataset
//! version comes from.

use tacit_types::{Code, DatasetVersionId, Fault, JobId, NodeId, UnixMillis};

use crate::contract::Contract;

/// What is revealed where two or more owners find the keys that they have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum AlignLevel {
    /// One party learns how many keys all have.
    #[n(0)]
    Count,
    /// Both parties get ids for the union of their keys and learn how many both have, not which. What is aligned so feeds
    /// computations on shares and nothing else.
    #[n(1)]
    Spine,
    /// One party learns which of its keys the other has.
    #[n(2)]
    Receiver,
    /// Both learn which keys both have.
    #[n(3)]
    Both,
}

impl AlignLevel {
    /// Every level.
    pub const ALL: [AlignLevel; 4] = [AlignLevel::Count, AlignLevel::Spine, AlignLevel::Receiver, AlignLevel::Both];

    /// The word used in files and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            AlignLevel::Count => "count",
            AlignLevel::Spine => "spine",
            AlignLevel::Receiver => "receiver",
            AlignLevel::Both => "both",
        }
    }

    /// The level of that word.
    ///
    /// # Errors
    /// `args.invalid` for another word.
    pub fn parse(word: &str) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|l| l.word() == word).ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            Fault::new(Code::ArgsInvalid, format!("level of alignment `{word}`: one of {words}"))
        })
    }
}

/// Days that an aligned dataset version may be used at the most.
pub const ALIGN_KEEP_DAYS_MAX: u32 = 3660;
/// The least number of distinct keys of a list that a contract may state: a shorter list asks about single persons.
pub const ALIGN_KEYS_MIN: u64 = 3;

/// What a contract allows of alignment. Without it no job brings keys together.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct AlignTerms {
    /// The levels that a job may ask for, ascending.
    #[n(1)]
    pub levels: Vec<AlignLevel>,
    /// The root keys of those who may learn of keys or of their number.
    #[n(2)]
    pub learners: Vec<NodeId>,
    /// Distinct keys that each list must have.
    #[n(3)]
    pub keys_min: u64,
    /// Whether the lists must be padded to one public size.
    #[n(4)]
    pub padded: bool,
    /// Days that what was aligned may be used.
    #[n(5)]
    pub keep_days: u32,
    /// How often the same owners may bring lists together, and how these may change; not limited when absent.
    #[n(6)]
    pub repeat: Option<RepeatTerms>,
}

/// The most days over which a contract may limit repeated alignments: how long a node remembers its lists.
pub const REPEAT_DAYS_MAX: u32 = 366;

/// How often lists may be brought together again. Every owner's node holds it for the lists that it offers itself, over every
/// job among the same owners, whatever its contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct RepeatTerms {
    /// Alignments and counts in any `days` days.
    #[n(1)]
    pub runs: u32,
    /// The days, at most [`REPEAT_DAYS_MAX`].
    #[n(2)]
    pub days: u32,
    /// A list is the same as an earlier one of those days, or differs from it by so many keys: what two answers tell
    /// together is about a group and not about one person.
    #[n(3)]
    pub change_min: u64,
}

impl RepeatTerms {
    fn is_sound(&self) -> bool {
        self.runs > 0 && (1..=REPEAT_DAYS_MAX).contains(&self.days) && self.change_min >= ALIGN_KEYS_MIN
    }
}

impl AlignTerms {
    /// Whether the terms can be kept to.
    pub(crate) fn is_sound(&self) -> bool {
        !self.levels.is_empty()
            && self.levels.windows(2).all(|pair| matches!(pair, [a, b] if a < b))
            && !self.learners.is_empty()
            && self.keys_min >= ALIGN_KEYS_MIN
            && (1..=ALIGN_KEEP_DAYS_MAX).contains(&self.keep_days)
            && self.repeat.is_none_or(|r| r.is_sound())
    }
}

/// What a job says about the lists that it brings together, for the decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlignFacts {
    /// What is revealed.
    pub level: AlignLevel,
    /// The root keys of those who learn it.
    pub learners: Vec<NodeId>,
    /// Distinct keys that each list must have.
    pub keys_min: u64,
    /// The size to which the lists are padded, if they are.
    pub padded: Option<u64>,
    /// Days that what was aligned may be used.
    pub keep_days: u32,
}

/// Where an aligned dataset version comes from. Nothing in it is derived from a key.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Aligned {
    /// The job that aligned it.
    #[n(1)]
    pub job: JobId,
    /// The root keys of the job's owners of data, ascending.
    #[n(2)]
    pub parties: Vec<NodeId>,
    /// What was revealed.
    #[n(3)]
    pub level: AlignLevel,
    /// The version whose rows these are.
    #[n(4)]
    pub base: DatasetVersionId,
    /// From then on no job may use it.
    #[n(5)]
    pub expires: UnixMillis,
}

/// An alignment is one that the contract allows.
pub(crate) fn check(terms: &Contract, asked: Option<&AlignFacts>) -> Result<(), Fault> {
    let Some(asked) = asked else { return Ok(()) };
    let refuse = |what: String| Err(Fault::new(Code::RefusedAlignment, what));
    let Some(allowed) = &terms.alignment else {
        return refuse(format!("contract `{}` has no terms of alignment", terms.name));
    };
    if !allowed.levels.contains(&asked.level) {
        let words: Vec<&str> = allowed.levels.iter().map(|l| l.word()).collect();
        return refuse(format!("level `{}`; the contract allows {}", asked.level.word(), words.join(", ")));
    }
    if let Some(stranger) = asked.learners.iter().find(|l| !allowed.learners.contains(l)) {
        let named = terms.parties.iter().find(|p| p.root == *stranger).map_or("?", |p| p.name.as_str());
        return refuse(format!("{named} ({}) may not learn of keys", stranger.short()));
    }
    if asked.keys_min < allowed.keys_min {
        return refuse(format!("lists of {} keys; the contract wants {}", asked.keys_min, allowed.keys_min));
    }
    if allowed.padded && asked.padded.is_none() {
        return refuse("the lists are not padded, and the contract wants that".into());
    }
    if asked.keep_days > allowed.keep_days {
        return refuse(format!("kept {} days; the contract allows {}", asked.keep_days, allowed.keep_days));
    }
    Ok(())
}

/// A dataset version that was aligned is still to be used, and for what it may be.
pub(crate) fn check_source(source: Option<&Aligned>, now: UnixMillis) -> Result<(), Fault> {
    let Some(source) = source else { return Ok(()) };
    if now >= source.expires {
        let what = format!("the alignment of job {} was good until {}", source.job.short(), source.expires);
        return Err(Fault::new(Code::RefusedDataset, what));
    }
    // A kind that shows anything of single rows beside the ids would tell which of them match.
    if source.level == AlignLevel::Spine {
        let what = "an alignment by ids that nobody can match feeds computations on its shares alone";
        return Err(Fault::new(Code::RefusedDataset, what));
    }
    Ok(())
}
