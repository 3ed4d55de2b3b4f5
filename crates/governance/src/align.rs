//! Bringing lists of keys together: what a contract allows of it, what a job says of it, and where an aligned dataset
//! version comes from.

use tacit_types::{Code, DatasetVersionId, Fault, Hash, JobId, NodeId, UnixMillis};

use crate::contract::{Contract, SignedContract};
use crate::job::{JobSpec, ProviderRef};
use crate::model::is_false;

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

/// What a receipt shows of how many keys match, where both parties learn it. Whoever reads the log sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum MatchesShown {
    /// Nothing.
    #[n(0)]
    #[default]
    Never,
    /// The power of two that is not below it.
    #[n(1)]
    Bucket,
    /// The number.
    #[n(2)]
    Exact,
}

impl MatchesShown {
    /// Every form, from what shows least to what shows most.
    pub const ALL: [MatchesShown; 3] = [MatchesShown::Never, MatchesShown::Bucket, MatchesShown::Exact];

    /// The word used in files and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            MatchesShown::Never => "never",
            MatchesShown::Bucket => "bucket",
            MatchesShown::Exact => "exact",
        }
    }

    /// The form of that word.
    ///
    /// # Errors
    /// `args.invalid` for another word.
    pub fn parse(word: &str) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|shown| shown.word() == word).ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            Fault::new(Code::ArgsInvalid, format!("matches_in_receipt `{word}`: one of {words}"))
        })
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that the derive asks for")]
    fn is_never(&self) -> bool {
        *self == MatchesShown::Never
    }
}

/// What a receipt shows of the lists that a job brings together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shown {
    /// How many keys match, where both parties learn it.
    pub matches: MatchesShown,
    /// How many keys each party offers; the sum of all where it does not.
    pub each_list: bool,
}

impl Shown {
    /// Of the number that says it, the bit for lists.
    const EACH_LIST: u8 = 4;

    /// What the receipt of a job may show, as far as the owner goes that admitted it under a contract with these terms.
    pub fn under(terms: Option<&AlignTerms>) -> Self {
        terms.map_or_else(Self::default, |t| Self { matches: t.matches, each_list: t.each_list })
    }

    /// What the receipt of a job may show, for who plans it: the least that the contracts which it names allow, as far as they are known here.
    pub fn allowed(spec: &JobSpec, known: &[SignedContract]) -> Self {
        let named = known.iter().filter(|contract| spec.contracts.contains(&contract.id()));
        named.map(|contract| Self::under(contract.body().alignment.as_ref())).reduce(Self::least).unwrap_or_default()
    }

    /// What both show.
    pub fn least(self, other: Self) -> Self {
        Self { matches: self.matches.min(other.matches), each_list: self.each_list && other.each_list }
    }

    /// The number by which nodes tell each other of it.
    pub fn number(self) -> u8 {
        self.matches as u8 | if self.each_list { Self::EACH_LIST } else { 0 }
    }

    /// What that number says; nothing of another.
    pub fn of_number(number: u8) -> Option<Self> {
        let each_list = number & Self::EACH_LIST != 0;
        let mut all = MatchesShown::ALL.into_iter().map(|matches| Self { matches, each_list });
        all.find(|shown| shown.number() == number)
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
    /// How often the same owners may bring lists together, and how these may change; [`RepeatTerms::unsaid`] when absent.
    #[n(6)]
    pub repeat: Option<RepeatTerms>,
    /// What may be searched in a cache of an owner's keys; nothing when absent.
    #[n(7)]
    pub lookup: Option<LookupTerms>,
    /// What a receipt shows of the number of matches that both learn. A contract without it shows nothing.
    #[n(8)]
    #[cbor(default, skip_if = "MatchesShown::is_never")]
    pub matches: MatchesShown,
    /// Whether a receipt shows how many keys each party offers. A contract without it shows the sum of all.
    #[n(9)]
    #[cbor(default, skip_if = "is_false")]
    pub each_list: bool,
    /// The root keys of owners who may be the recipient of sums over ids into which columns of their own go. Whoever chooses
    /// such a column learns by the sums which of its keys the other owner has.
    #[n(10)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub recipients_with_columns: Vec<NodeId>,
}

/// What who asks may search in another owner's cache. The holder's node holds the numbers of queries for its own list, over
/// every job of the same asker, whatever its contract, and counts them before it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct LookupTerms {
    /// Queries of one job at the most.
    #[n(1)]
    pub per_job: u64,
    /// Queries of one asker in any `days` days.
    #[n(2)]
    pub queries: u64,
    /// The days, at most [`REPEAT_DAYS_MAX`].
    #[n(3)]
    pub days: u32,
    /// Days after which a cache's key is replaced, at most [`REPEAT_DAYS_MAX`].
    #[n(4)]
    pub epoch_days: u32,
}

impl LookupTerms {
    fn is_sound(&self) -> bool {
        let days = 1..=REPEAT_DAYS_MAX;
        (1..=self.queries).contains(&self.per_job) && days.contains(&self.days) && days.contains(&self.epoch_days)
    }
}

/// The most days over which a contract may limit repeated alignments: how long a node remembers its lists.
pub const REPEAT_DAYS_MAX: u32 = 366;

/// Alignments and counts in [`REPEAT_DAYS_MAX`] days under a contract that says nothing of repetition: one a week.
pub const REPEAT_RUNS_UNSAID: u32 = 52;

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
    /// Distinct keys that the other owners may bring in all in those days, each attempt's counted: what somebody who changes
    /// its own list can ask about. Not limited when absent.
    #[n(4)]
    pub keys: Option<u64>,
}

impl RepeatTerms {
    /// What holds where a contract says nothing of repetition: over as long as a node remembers lists, one alignment or count a
    /// week, and a list is the same as an earlier one or differs from it by as many keys as a list must have. A contract that
    /// wants more says so.
    pub fn unsaid(keys_min: u64) -> Self {
        Self { runs: REPEAT_RUNS_UNSAID, days: REPEAT_DAYS_MAX, change_min: keys_min, keys: None }
    }

    fn is_sound(&self) -> bool {
        self.runs > 0
            && (1..=REPEAT_DAYS_MAX).contains(&self.days)
            && self.change_min >= ALIGN_KEYS_MIN
            && self.keys.is_none_or(|keys| keys >= ALIGN_KEYS_MIN)
    }
}

impl AlignTerms {
    /// How often the same owners may bring lists together, and how these may change: as it is said, or as it holds unsaid.
    /// Searches in a cache have limits of their own, and are held to what is said alone.
    pub fn repeats(&self, searches: bool) -> Option<RepeatTerms> {
        self.repeat.or_else(|| (!searches).then(|| RepeatTerms::unsaid(self.keys_min)))
    }

    /// Whether the terms can be kept to.
    pub(crate) fn is_sound(&self) -> bool {
        !self.levels.is_empty()
            && self.levels.windows(2).all(|pair| matches!(pair, [a, b] if a < b))
            && !self.learners.is_empty()
            && self.keys_min >= ALIGN_KEYS_MIN
            && (1..=ALIGN_KEEP_DAYS_MAX).contains(&self.keep_days)
            && self.repeat.is_none_or(|r| r.is_sound())
            && self.lookup.is_none_or(|l| l.is_sound())
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
    /// The search in a cache, where it is one.
    pub lookup: Option<LookupFacts>,
}

/// What a job says about the cache that it searches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupFacts {
    /// Who asks.
    pub asker: NodeId,
    /// Queries, neither more nor fewer.
    pub queries: u64,
    /// Days after which the cache's key is replaced.
    pub epoch_days: u32,
    /// Whose lists are searched, by whom and in which form: the caches of a series follow on each other.
    pub series: Hash,
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
    let Some(search) = &asked.lookup else { return Ok(()) };
    let Some(most) = &allowed.lookup else {
        return refuse(format!("contract `{}` has no terms of searches in a cache", terms.name));
    };
    if search.queries > most.per_job {
        return refuse(format!("{} queries; the contract allows {} in a job", search.queries, most.per_job));
    }
    if search.epoch_days > most.epoch_days {
        let what = format!("a cache of {} days; the contract allows {}", search.epoch_days, most.epoch_days);
        return refuse(what);
    }
    Ok(())
}

/// What a job's rows may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Feeds {
    /// Rows that an owner may look at one by one, with what else its node knows of them.
    #[default]
    Rows,
    /// Rows by the ids of one alignment, of which nobody knows which are the others' too: they are computed on as shares and
    /// in no other way.
    Shares {
        /// The job that made the ids.
        alignment: JobId,
    },
    /// The keys that one alignment found, each a row: all owners of rows know them, and in which order.
    Found {
        /// The job that found them.
        alignment: JobId,
    },
}

/// A dataset version is still to be used, if it was aligned, and for what it may be.
pub(crate) fn check_source(
    source: Option<&Aligned>,
    feeds: Feeds,
    providers: &[ProviderRef],
    now: UnixMillis,
) -> Result<(), Fault> {
    let refuse = |what: String| Err(Fault::new(Code::RefusedDataset, what));
    if let Some(source) = source.filter(|source| now >= source.expires) {
        return refuse(format!("the alignment of job {} was good until {}", source.job.short(), source.expires));
    }
    let spine = source.filter(|source| source.level == AlignLevel::Spine);
    match (feeds, spine) {
        // A kind that shows anything of single rows beside the ids would tell which of them match.
        (Feeds::Rows, Some(_)) => {
            refuse("an alignment by ids that nobody can match feeds computations on its shares alone".into())
        }
        (Feeds::Rows, None) => Ok(()),
        (Feeds::Found { alignment }, _) => {
            let found = source.filter(|source| source.job == alignment && source.level == AlignLevel::Both);
            match found {
                Some(found) if providers.iter().all(|p| found.parties.contains(&p.owner)) => Ok(()),
                Some(_) => refuse(format!("a provider is none of those who aligned in job {}", alignment.short())),
                None => refuse(format!(
                    "the job's rows are the keys that alignment {} has shown to both its owners, and this version has others",
                    alignment.short()
                )),
            }
        }
        (Feeds::Shares { alignment }, Some(spine)) if spine.job == alignment => {
            let mut owners: Vec<NodeId> = providers.iter().map(|p| p.owner).collect();
            owners.sort_unstable();
            // Ids that others have too would be matched with rows that these have not agreed to.
            if owners == spine.parties {
                return Ok(());
            }
            refuse(format!("the providers are not those who aligned in job {}", alignment.short()))
        }
        (Feeds::Shares { alignment }, _) => refuse(format!(
            "the job computes on the ids of alignment {}, and this version is none of it",
            alignment.short()
        )),
    }
}
