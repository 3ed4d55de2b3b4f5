//! What an owner says of a dataset version beside its columns: class, grade, lawful basis, registration, sharing. And the
//! table that says for each grade which products may be made of it, and under which safeguard.

use tacit_types::{Hash, NodeId, UnixMillis};

use crate::model::is_false;

/// Whose data it is about (数据分类).
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Class {
    /// Public data: 公共数据.
    #[n(0)]
    Public,
    /// Of an enterprise: 企业数据.
    #[n(1)]
    Enterprise,
    /// Personal: 个人信息. It is used by consent, by law or by contract, or where it was made anonymous.
    #[n(2)]
    Personal,
}

/// How much harm its misuse does (数据分级): 1 to 4 general (一般), 5 important (重要), 6 core (核心). Any other number is
/// unknown, and nothing is made of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Grade(#[n(0)] pub u8);

impl Grade {
    /// Important data.
    pub const IMPORTANT: Grade = Grade(5);
    /// Core data.
    pub const CORE: Grade = Grade(6);

    /// The word used in files and in JSON.
    pub const fn word(self) -> &'static str {
        match self.0 {
            1 => "general-1",
            2 => "general-2",
            3 => "general-3",
            4 => "general-4",
            5 => "important",
            6 => "core",
            _ => "unknown",
        }
    }

    /// The grade of that word.
    pub fn parse(word: &str) -> Option<Self> {
        (1..=6).map(Grade).find(|g| g.word() == word)
    }
}

/// What a job makes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Product {
    /// Sums and counts over a cohort.
    Aggregate,
    /// Yes or no of single rows.
    Decision,
    /// Bands and scores of single rows.
    Score,
    /// Scores during the job, before its receipt.
    Online,
    /// Which keys, or how many, owners have in common.
    Match,
}

impl Product {
    /// Every product.
    pub const ALL: [Product; 5] =
        [Product::Aggregate, Product::Decision, Product::Score, Product::Online, Product::Match];

    /// The word used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Product::Aggregate => "aggregate",
            Product::Decision => "decision",
            Product::Score => "score",
            Product::Online => "online",
            Product::Match => "match",
        }
    }
}

/// What holds parties to the protocol beside the masks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Guard {
    /// Who deviates is not found by the protocol itself.
    Plain,
    /// Sums are checked, or scores verified: who deviates is found.
    Checked,
}

/// Least guard under which a product may be made of a grade; rows by grade, columns in the order of [`Product::ALL`].
/// No product leaves the domain but by a metered job with a receipt, so that needs no column.
const MATRIX: [(Grade, [Option<Guard>; 5]); 6] = {
    use Guard::{Checked, Plain};
    [
        (Grade(1), [Some(Plain), Some(Plain), Some(Plain), Some(Plain), Some(Plain)]),
        (Grade(2), [Some(Plain), Some(Plain), Some(Plain), Some(Plain), Some(Plain)]),
        (Grade(3), [Some(Plain), Some(Plain), Some(Plain), Some(Checked), Some(Plain)]),
        (Grade(4), [Some(Plain), Some(Checked), Some(Checked), None, None]),
        (Grade::IMPORTANT, [Some(Checked), Some(Checked), None, None, None]),
        (Grade::CORE, [None, None, None, None, None]),
    ]
};

/// Whether a product may be made of a grade under a guard. Of an unknown grade nothing is.
pub fn may(grade: Grade, product: Product, guard: Guard) -> bool {
    let row = MATRIX.iter().find(|(g, _)| *g == grade);
    let cell = row.and_then(|(_, cells)| Product::ALL.iter().zip(cells).find(|(p, _)| **p == product));
    cell.and_then(|(_, least)| *least).is_some_and(|least| guard >= least)
}

/// On what ground personal data is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum BasisKind {
    /// Consent of each person, as the owner's consent rule finds it row by row.
    #[n(0)]
    Consent,
    /// Separate consent (單獨同意), for a purpose and named recipients.
    #[n(1)]
    SeparateConsent,
    /// A law (法定事由).
    #[n(2)]
    Statutory,
    /// A contract with the person.
    #[n(3)]
    Contract,
    /// None is needed: it was made anonymous (匿名化).
    #[n(4)]
    Anonymised,
}

impl BasisKind {
    /// Every ground.
    pub const ALL: [BasisKind; 5] = [
        BasisKind::Consent,
        BasisKind::SeparateConsent,
        BasisKind::Statutory,
        BasisKind::Contract,
        BasisKind::Anonymised,
    ];

    /// The word used in files and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            BasisKind::Consent => "consent",
            BasisKind::SeparateConsent => "separate-consent",
            BasisKind::Statutory => "statutory",
            BasisKind::Contract => "contract",
            BasisKind::Anonymised => "anonymised",
        }
    }
}

/// A ground with its document.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Basis {
    /// Which.
    #[n(1)]
    pub kind: BasisKind,
    /// The hash of the document.
    #[n(2)]
    pub document: Hash,
    /// Until when, exclusive.
    #[n(3)]
    pub until: UnixMillis,
}

/// That this node has a rule which finds the rows whose persons agreed to a purpose. The rule itself stays at the node.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ConsentFor {
    /// The purpose, equal to the contract's.
    #[n(1)]
    pub purpose: String,
    /// Root keys of demanders that it names; none where consent was not given to named ones.
    #[n(2)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub recipients: Vec<NodeId>,
}

/// How a dataset was made anonymous, and what was measured.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Anonymised {
    /// The method, for people.
    #[n(1)]
    pub method: String,
    /// The k that the owner states: rows that share each combination of quasi-identifiers at the least.
    #[n(2)]
    pub k: u32,
    /// The hash of the report.
    #[n(3)]
    pub report: Hash,
    /// When it must be measured again, exclusive.
    #[n(4)]
    pub until: UnixMillis,
    /// The columns by which persons could be known, where the node has measured k over them.
    #[n(80)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub quasi: Vec<String>,
    /// The k that it has measured.
    #[n(81)]
    pub measured: Option<u32>,
}

impl Anonymised {
    /// The k that counts: the measured one where there is one, and never more than what is stated.
    pub fn k(&self) -> u32 {
        self.measured.map_or(self.k, |measured| measured.min(self.k))
    }
}

/// The least k of a dataset that counts as anonymous.
pub const ANONYMITY_K_MIN: u32 = 5;

/// Registration of the rights to it (数据产权登记).
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Registration {
    /// Its number.
    #[n(1)]
    pub number: String,
    /// Where.
    #[n(2)]
    pub registrar: String,
    /// The hash of the certificate.
    #[n(3)]
    pub certificate: Hash,
    /// Until when, exclusive.
    #[n(4)]
    pub until: UnixMillis,
}

/// Whether others may have use of it (共享属性).
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Sharing {
    /// Unconditionally (无条件共享): still only under a contract.
    #[n(0)]
    Unconditional,
    /// On the conditions of its contract (有条件共享).
    #[n(1)]
    Conditional,
    /// Withheld (不予共享).
    #[n(2)]
    Withheld,
}

impl Sharing {
    /// The word used in files and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Sharing::Unconditional => "unconditional",
            Sharing::Conditional => "conditional",
            Sharing::Withheld => "withheld",
        }
    }
}

/// What the owner says of a dataset version.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct DatasetTerms {
    /// Class.
    #[n(1)]
    pub class: Class,
    /// Grade.
    #[n(2)]
    pub grade: Grade,
    /// Sharing attribute.
    #[n(3)]
    pub sharing: Sharing,
    /// The ground on which personal data is used.
    #[n(4)]
    pub basis: Option<Basis>,
    /// Purposes for which the node has a consent rule.
    #[n(5)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub consent: Vec<ConsentFor>,
    /// How it was made anonymous.
    #[n(6)]
    pub anonymised: Option<Anonymised>,
    /// Registration.
    #[n(7)]
    pub registration: Option<Registration>,
    /// Where it lies, such as `CN-XM`.
    #[n(8)]
    pub region: Option<String>,
    /// Whether it is under export control (出口管制): nothing of it crosses a border.
    #[n(9)]
    #[cbor(default, skip_if = "is_false")]
    pub export_controlled: bool,
    /// Whether it is to be kept secret (予以保密): nothing is made of it.
    #[n(10)]
    #[cbor(default, skip_if = "is_false")]
    pub secret: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, cell by cell: `-` refused, `c` checked only, `p` plain as well.
    const CELLS: [(u8, &str); 6] = [(1, "ppppp"), (2, "ppppp"), (3, "pppcp"), (4, "pcc--"), (5, "cc---"), (6, "-----")];

    #[test]
    fn every_cell_is_as_it_is_written_and_an_unknown_grade_gives_nothing() {
        for (grade, cells) in CELLS {
            for (product, cell) in Product::ALL.into_iter().zip(cells.chars()) {
                let found = (may(Grade(grade), product, Guard::Plain), may(Grade(grade), product, Guard::Checked));
                let wanted = match cell {
                    'p' => (true, true),
                    'c' => (false, true),
                    _ => (false, false),
                };
                assert_eq!(found, wanted, "grade {grade}, {product:?}");
            }
        }
        for grade in (0..=u8::MAX).filter(|g| !(1..=6).contains(g)) {
            assert!(Product::ALL.iter().all(|p| !may(Grade(grade), *p, Guard::Checked)), "{grade}");
            assert_eq!(Grade(grade).word(), "unknown");
        }
    }

    #[test]
    fn a_higher_grade_never_gives_more() {
        for grade in 1..6 {
            for product in Product::ALL {
                for guard in [Guard::Plain, Guard::Checked] {
                    assert!(may(Grade(grade), product, guard) || !may(Grade(grade + 1), product, guard));
                }
            }
        }
        assert_eq!(Grade::parse("important"), Some(Grade::IMPORTANT));
        assert_eq!(Grade::parse("unknown"), None);
    }
}
