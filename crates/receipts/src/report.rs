//! What a verification found, in a form for people and for programs.

use serde::Serialize;
use tacit_types::{Code, Lang};

use crate::bundle::Trust;
use crate::keys::ShownPartyKey;
use crate::papers::Use;
use crate::rotation::ShownKey;

/// Findings that a report lists; the rest are counted.
pub const FINDINGS_MAX: usize = 10_000;
/// Notices that a report lists; the rest are counted.
pub const NOTICES_MAX: usize = 1_000;

/// What was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every leaf: omissions and duplicates would show.
    WholeLog,
    /// Some leaves with proofs: nothing is known of the others.
    SingleLeaves,
}

/// Where the keys came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustSource {
    /// The verifier brought them.
    Pinned,
    /// They came with the evidence, and prove nothing about who signed.
    FromBundle,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The leaf where it shows; none for the log as a whole.
    pub leaf: Option<u64>,
    /// The stable code.
    pub code: Code,
    /// Who or what: names, numbers, times.
    pub what: String,
}

impl Finding {
    /// One sentence, and what to do.
    pub fn sentence(&self, lang: Lang) -> String {
        let place = match (self.leaf, lang) {
            (Some(leaf), Lang::En) => format!("leaf {leaf}: "),
            (Some(leaf), Lang::Zh) => format!("条目 {leaf}："),
            (None, Lang::En) => "the log: ".into(),
            (None, Lang::Zh) => "日志：".into(),
        };
        let (open, close) = if lang == Lang::Zh { ("（", "）") } else { (" (", ")") };
        format!("{place}{}{open}{}{close} [{}]", self.code.title(lang), self.what, self.code)
    }
}

/// Something that a reader must know and that is not wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// The keys came with the evidence.
    Unpinned,
    /// The bundle's own keys differ from the verifier's.
    TrustDiffers,
    /// The trust file asks for no witness.
    NoWitness,
    /// Only single leaves were verified.
    Single,
    /// The log continues another one, which was not read.
    Continues,
    /// The log's list of keys differs from the trust file's.
    KeysDiffer {
        /// The leaf.
        leaf: u64,
    },
    /// Leaves of a type that this version does not check.
    Unchecked {
        /// The type.
        kind: String,
        /// How many.
        count: u64,
    },
    /// Signature lines that are of no trusted key, or do not verify.
    LinesIgnored {
        /// How many.
        count: u64,
    },
    /// Attestations beside the log that no receipt names.
    BesideUnused {
        /// How many.
        count: u64,
    },
    /// Papers that are of no use in the bundle.
    PapersUnused {
        /// How many.
        count: u64,
    },
    /// Receipts of attempts without a result that a party which was away has not attested.
    Unattested {
        /// How many.
        count: u64,
    },
    /// A receipt with usage lines on which observers differ, as each of them has signed: nothing is billed for these until
    /// a ruling.
    LinesDisputed {
        /// The receipt.
        leaf: u64,
        /// How many lines.
        count: u64,
    },
    /// Links whose ends have signed different things.
    LinksDisputed {
        /// The receipt's leaf.
        leaf: u64,
        /// How many.
        count: u64,
    },
    /// A case whose answer or decision is overdue by a witness's clock.
    CaseOverdue {
        /// The leaf that opened it.
        leaf: u64,
        /// When it was due.
        due: String,
    },
    /// A promise that is not due yet by a witness's clock.
    PromisePending {
        /// The digest of its record, shortened.
        usage: String,
    },
}

impl Notice {
    /// One sentence.
    pub fn sentence(&self, lang: Lang) -> String {
        let (en, zh) = match self {
            Notice::Unpinned => (
                "TRUST: FROM BUNDLE, UNPINNED. The keys came with the evidence: this shows that the file holds together, not who signed it. Bring a trust file with --trust.".into(),
                "信任：来自证据包，未固定。密钥随证据一同提供：只能表明文件自洽，不能表明由谁签署。请用 --trust 提供信任文件。".into(),
            ),
            Notice::TrustDiffers => (
                "the bundle's own list of keys differs from the trust file; the trust file was used".into(),
                "证据包自带的密钥列表与信任文件不同；已采用信任文件".into(),
            ),
            Notice::NoWitness => (
                "the trust file asks for no witness: a split view cannot be ruled out".into(),
                "信任文件未要求见证方：无法排除分叉视图".into(),
            ),
            Notice::Single => (
                "single leaves were verified: omissions and duplicates elsewhere in the log cannot show".into(),
                "仅验证了单个条目：无法发现日志其他位置的遗漏或重复".into(),
            ),
            Notice::Continues => (
                "the log continues another one that was not read: chains of attestations, duplicates, money and cases over the change are not checked; read both with --after".into(),
                "本日志延续了另一份未读取的日志：跨越变更的证明链、重复、资金与案件均未核查；请用 --after 一并读取".into(),
            ),
            Notice::KeysDiffer { leaf } => (
                format!("leaf {leaf}: the log's list of keys differs from the trust file; the trust file was used"),
                format!("条目 {leaf}：日志的密钥列表与信任文件不同；已采用信任文件"),
            ),
            Notice::Unchecked { kind, count } => (
                format!("{count} leaves of type {kind}: only their signature was checked"),
                format!("{count} 个类型为 {kind} 的条目：仅验证了签名"),
            ),
            Notice::LinesIgnored { count } => (
                format!("{count} signature lines of a checkpoint count for nothing: no trusted key, or not valid"),
                format!("检查点中有 {count} 行签名不计入：密钥不受信任或签名无效"),
            ),
            Notice::BesideUnused { count } => (
                format!("{count} attestations in the bundle are named by no receipt"),
                format!("证据包中有 {count} 份证明未被任何凭证引用"),
            ),
            Notice::PapersUnused { count } => (
                format!("{count} papers in the bundle belong to no receipt in it; they were not looked at"),
                format!("证据包中有 {count} 份文件与其中的凭证无关，未予审查"),
            ),
            Notice::Unattested { count } => (
                format!("{count} receipts of attempts without a result lack the attestation of a party that was away"),
                format!("{count} 份无结果尝试的凭证缺少当时不在线的一方的证明"),
            ),
            Notice::LinesDisputed { leaf, count } => (
                format!("leaf {leaf}: observers counted different numbers in {count} usage lines, and signed so; these are not billed until a ruling"),
                format!("条目 {leaf}：{count} 个用量行的计数方所计数量不一，各方均已如此签署；裁定前不计费"),
            ),
            Notice::LinksDisputed { leaf, count } => (
                format!("leaf {leaf}: the two ends of {count} links signed different things of what went over them"),
                format!("条目 {leaf}：{count} 条链路的两端所签署的传输内容不一致"),
            ),
            Notice::CaseOverdue { leaf, due } => (
                format!("the case of leaf {leaf} was to be answered or decided by {due}"),
                format!("条目 {leaf} 的案件应于 {due} 前答复或裁定"),
            ),
            Notice::PromisePending { usage } => (
                format!("the receipt of record {usage} was promised and is not due yet"),
                format!("记录 {usage} 的凭证已获承诺，尚未到期"),
            ),
        };
        if lang == Lang::Zh { zh } else { en }
    }
}

/// The result of a verification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// What was verified.
    pub scope: Scope,
    /// Where the keys came from.
    pub trust: TrustSource,
    /// SHA-256 of the trust file in hex, to be compared by another channel.
    pub trust_fingerprint: String,
    /// The log's origin; of several logs that follow each other, the last one's.
    pub origin: String,
    /// Logs before that one which were read: origin, size and root of each, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Leaves of the checkpoint.
    pub size: u64,
    /// The checkpoint's root in hex; empty when the log did not sign it.
    pub root: String,
    /// The log's keys, oldest first: the pinned one, and those that changes lead to from it.
    pub log_keys: Vec<ShownKey>,
    /// The keys of parties and witnesses that have had more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub party_keys: Vec<ShownPartyKey>,
    /// Witnesses that count, with the times they gave.
    pub cosigned: Vec<String>,
    /// Leaves that were read.
    pub leaves: u64,
    /// Receipts among them.
    pub receipts: u64,
    /// Receipts without a fault of their own.
    pub valid: u64,
    /// What is wrong, by leaf.
    pub faults: Vec<Finding>,
    /// Faults beyond [`FINDINGS_MAX`].
    pub omitted: u64,
    /// What a reader must know.
    pub notices: Vec<Notice>,
    /// Notices beyond [`NOTICES_MAX`].
    pub notices_omitted: u64,
    /// What the papers of the bundle say of its uses. Left out when it has no papers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<Use>,
}

impl Report {
    pub(crate) fn new(trust: &Trust, source: TrustSource, scope: Scope) -> Self {
        Self {
            scope,
            trust: source,
            trust_fingerprint: trust.fingerprint().to_string(),
            origin: trust.origin.clone(),
            after: Vec::new(),
            size: 0,
            root: String::new(),
            log_keys: Vec::new(),
            party_keys: Vec::new(),
            cosigned: Vec::new(),
            leaves: 0,
            receipts: 0,
            valid: 0,
            faults: Vec::new(),
            omitted: 0,
            notices: Vec::new(),
            notices_omitted: 0,
            uses: Vec::new(),
        }
    }

    pub(crate) fn find(&mut self, leaf: Option<u64>, code: Code, what: String) {
        if self.faults.len() < FINDINGS_MAX {
            self.faults.push(Finding { leaf, code, what });
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(notice);
        } else {
            self.notices_omitted = self.notices_omitted.saturating_add(1);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_valid(&self) -> bool {
        self.faults.is_empty() && self.omitted == 0 && self.valid == self.receipts
    }

    /// What no log can show.
    pub const fn limit(lang: Lang) -> &'static str {
        match lang {
            Lang::En => {
                "Limit: a job that all of its parties hide together is in no log, and no verification can find it."
            }
            Lang::Zh => "局限：若某作业的全部参与方共同隐瞒，则任何日志均无记录，任何验证均无法发现。",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_the_rest_is_counted() {
        let trust = Trust {
            version: 1,
            origin: "l.example/u".into(),
            coordinator: tacit_types::NodeId([0; 32]),
            log_key: String::new(),
            witnesses: Vec::new(),
            quorum: 0,
            parties: Vec::new(),
            rotations: Vec::new(),
            party_rotations: Vec::new(),
        };
        let mut report = Report::new(&trust, TrustSource::Pinned, Scope::WholeLog);
        assert!(report.is_valid());
        (0..=FINDINGS_MAX as u64).for_each(|leaf| report.find(Some(leaf), Code::LogCorrupt, String::new()));
        (0..=NOTICES_MAX as u64).for_each(|leaf| report.notice(Notice::KeysDiffer { leaf }));
        assert_eq!((report.faults.len(), report.omitted), (FINDINGS_MAX, 1));
        assert_eq!((report.notices.len(), report.notices_omitted), (NOTICES_MAX, 1));
        report.faults.clear();
        assert!(!report.is_valid());
    }

    #[test]
    fn every_notice_is_said_in_both_languages() {
        let notices = [
            Notice::Unpinned,
            Notice::TrustDiffers,
            Notice::NoWitness,
            Notice::Single,
            Notice::Continues,
            Notice::KeysDiffer { leaf: 7 },
            Notice::Unchecked { kind: "x".into(), count: 7 },
            Notice::LinesIgnored { count: 7 },
            Notice::BesideUnused { count: 7 },
            Notice::PapersUnused { count: 7 },
            Notice::Unattested { count: 7 },
            Notice::LinesDisputed { leaf: 7, count: 7 },
            Notice::LinksDisputed { leaf: 7, count: 7 },
            Notice::CaseOverdue { leaf: 7, due: "7".into() },
            Notice::PromisePending { usage: "7".into() },
        ];
        for notice in notices {
            assert!(notice.sentence(Lang::En).is_ascii(), "{notice:?}");
            assert!(notice.sentence(Lang::Zh).chars().any(|c| c as u32 > 0x3000), "{notice:?}");
        }
    }
}
