//! The terms of alignment in a contract: how a person writes them, and how they are shown.

use serde::Deserialize;
use serde_json::{Value, json};
use tacit_governance::{AlignLevel, AlignTerms, ContractParty, LookupTerms, MatchesShown, RepeatTerms, Role, Shown};
use tacit_types::{Code, Fault, Lang, Name, NodeId};

use crate::output::Out;

/// What a person writes under `[alignment]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// What jobs may ask for: count, spine, receiver, both.
    levels: Vec<String>,
    /// Who may learn of keys; every provider when absent.
    learners: Option<Vec<Name>>,
    /// Distinct keys that each list must have.
    keys_min: u64,
    /// Whether lists must be padded to a public size.
    #[serde(default)]
    padded: bool,
    /// Days that what was aligned may be used.
    #[serde(default = "keep_days")]
    keep_days: u32,
    /// How often, and how lists may change; not limited when absent.
    repeat: Option<Repeat>,
    /// What may be searched in a cache; nothing when absent.
    lookup: Option<Lookup>,
    /// What a receipt shows of the number of matches: never, bucket, exact; never when absent.
    matches_in_receipt: Option<String>,
    /// What a receipt shows of the lists: sum, each; sum when absent.
    lists_in_receipt: Option<String>,
    /// Owners who may be the recipient of sums over ids into which their own columns go; none when absent.
    #[serde(default)]
    recipients_with_columns: Vec<Name>,
}

/// The words for what a receipt shows of lists.
const LISTS: [(&str, bool); 2] = [("sum", false), ("each", true)];

fn lists_word(each: bool) -> &'static str {
    LISTS.iter().find(|(_, shows)| *shows == each).map_or("", |(word, _)| word)
}

fn each_list(word: &str) -> Result<bool, Fault> {
    let found = LISTS.iter().find(|(known, _)| *known == word).map(|(_, each)| *each);
    found.ok_or_else(|| Fault::new(Code::ArgsInvalid, format!("lists_in_receipt `{word}`: one of sum, each")))
}

/// What a person writes under `[alignment.lookup]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookup {
    /// Queries of one job.
    per_job: u64,
    /// Queries of one asker in any so many days.
    queries: u64,
    /// The days.
    days: u32,
    /// Days after which a cache's key is replaced.
    #[serde(default = "keep_days")]
    epoch_days: u32,
}

/// What a person writes under `[alignment.repeat]`; without it holds [`RepeatTerms::unsaid`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Repeat {
    /// Alignments of the same owners in any so many days.
    runs: u32,
    /// The days.
    days: u32,
    /// Keys by which a list differs from an earlier one of those days, if it does.
    change_min: u64,
    /// Keys that the other owners may bring in all in those days; not limited when absent.
    keys: Option<u64>,
}

fn keep_days() -> u32 {
    30
}

/// The terms, over the parties of the contract.
///
/// # Errors
/// `args.invalid` for another level, or form of matches or of lists; `refused.parties` for a learner that is no provider.
pub fn terms(written: &Written, parties: &[ContractParty]) -> Result<AlignTerms, Fault> {
    let mut levels: Vec<AlignLevel> = written.levels.iter().map(|w| AlignLevel::parse(w)).collect::<Result<_, _>>()?;
    levels.sort_unstable();
    levels.dedup();
    let providers = || parties.iter().filter(|p| p.role == Role::Provider);
    let roots = |term: &str, names: &[Name]| -> Result<Vec<NodeId>, Fault> {
        let root = |name: &Name| {
            let found = providers().find(|p| p.name == *name).map(|p| p.root);
            found.ok_or_else(|| Fault::new(Code::RefusedParties, format!("alignment.{term}: `{name}` is no provider")))
        };
        names.iter().map(root).collect()
    };
    let learners = match &written.learners {
        Some(names) => roots("learners", names)?,
        None => providers().map(|p| p.root).collect(),
    };
    Ok(AlignTerms {
        levels,
        learners,
        keys_min: written.keys_min,
        padded: written.padded,
        keep_days: written.keep_days,
        repeat: written.repeat.as_ref().map(|r| RepeatTerms {
            runs: r.runs,
            days: r.days,
            change_min: r.change_min,
            keys: r.keys,
        }),
        lookup: written.lookup.as_ref().map(|l| LookupTerms {
            per_job: l.per_job,
            queries: l.queries,
            days: l.days,
            epoch_days: l.epoch_days,
        }),
        matches: written.matches_in_receipt.as_deref().map(MatchesShown::parse).transpose()?.unwrap_or_default(),
        each_list: written.lists_in_receipt.as_deref().map(each_list).transpose()?.unwrap_or_default(),
        recipients_with_columns: roots("recipients_with_columns", &written.recipients_with_columns)?,
    })
}

fn names<'a>(roots: &[NodeId], parties: &'a [ContractParty]) -> Vec<&'a str> {
    let named = parties.iter().filter(|p| p.role == Role::Provider && roots.contains(&p.root));
    named.map(|p| p.name.as_str()).collect()
}

fn words(terms: &AlignTerms) -> Vec<&'static str> {
    terms.levels.iter().map(|l| l.word()).collect()
}

/// The terms as JSON.
pub fn view(terms: &AlignTerms, parties: &[ContractParty]) -> Value {
    json!({"levels": words(terms), "learners": names(&terms.learners, parties), "keys_min": terms.keys_min,
        "padded": terms.padded, "keep_days": terms.keep_days, "matches_in_receipt": terms.matches.word(),
        "lists_in_receipt": lists_word(terms.each_list),
        "recipients_with_columns": names(&terms.recipients_with_columns, parties),
        // What holds of alignments and counts, said or not.
        "repeat": terms.repeats(false).map(|r| json!({"runs": r.runs, "days": r.days, "change_min": r.change_min,
            "keys": r.keys})),
        "lookup": terms.lookup.map(|l| json!({"per_job": l.per_job, "queries": l.queries, "days": l.days,
            "epoch_days": l.epoch_days}))})
}

/// What a receipt shows, for programs: of lists, and of matches where both learn their number.
pub fn shown_view(shown: Shown, both: bool) -> Value {
    json!({"lists": lists_word(shown.each_list), "matches": both.then(|| shown.matches.word())})
}

/// What a receipt shows, in words.
pub fn shown(out: &Out, shown: Shown, both: bool) -> String {
    let lists = if shown.each_list {
        out.say("a receipt shows how many keys each party offers", "凭证显示每一方提供的键数")
    } else {
        out.say("a receipt shows how many keys all offer together", "凭证显示各方提供的键数之和")
    };
    let stop = out.say("; ", "；");
    if both { [lists, stop, matches(out, shown.matches)].concat() } else { lists.to_owned() }
}

fn matches<'a>(out: &Out, shown: MatchesShown) -> &'a str {
    match shown {
        MatchesShown::Never => out.say("and nothing of how many match", "不显示匹配数量"),
        MatchesShown::Bucket => {
            out.say("and how many match, as the power of two not below it", "并显示匹配数量，取不小于它的 2 的幂")
        }
        MatchesShown::Exact => out.say("and how many match", "并显示确切匹配数量"),
    }
}

/// Whether both parties of an alignment at this level learn how many keys match, so that both are metered by it.
pub fn both_learn(level: AlignLevel) -> bool {
    matches!(level, AlignLevel::Both | AlignLevel::Spine)
}

/// The terms in a line.
pub fn line(out: &Out, terms: &AlignTerms, parties: &[ContractParty]) -> String {
    let padded = if terms.padded { out.say("; lists are padded", "；列表须填充") } else { "" };
    let repeat = terms.repeats(false).map_or_else(String::new, |r| match out.lang() {
        Lang::En => format!("; {} in any {} days, lists the same or {} keys apart", r.runs, r.days, r.change_min),
        Lang::Zh => format!("；任意 {} 天内至多 {} 次，键列表须相同或至少相差 {} 个键", r.days, r.runs, r.change_min),
    });
    let keys = terms.repeats(false).and_then(|r| r.keys).map_or_else(String::new, |keys| match out.lang() {
        Lang::En => format!(", {keys} keys of the others in all"),
        Lang::Zh => format!("，其他方键数合计至多 {keys}"),
    });
    let lookup = terms.lookup.map_or_else(String::new, |l| match out.lang() {
        Lang::En => format!(
            "; searches of {} queries, {} in any {} days, a cache's key for {} days",
            l.per_job, l.queries, l.days, l.epoch_days
        ),
        Lang::Zh => format!(
            "；每次检索至多 {} 个查询，任意 {} 天内至多 {} 个，缓存密钥 {} 天更换",
            l.per_job, l.days, l.queries, l.epoch_days
        ),
    });
    let with = names(&terms.recipients_with_columns, parties).join(", ");
    let with = match (with.is_empty(), out.lang()) {
        (true, _) => String::new(),
        (false, Lang::En) => {
            format!("; sums over their own columns and another's go to {with}, who can tell by them which keys match")
        }
        (false, Lang::Zh) => format!("；{with} 可接收含其自有列的联合统计，并可据此判断哪些键匹配"),
    };
    let both = terms.levels.iter().any(|level| both_learn(*level));
    let shows = Shown { matches: terms.matches, each_list: terms.each_list };
    let shown = format!("{}{}", out.say("; ", "；"), shown(out, shows, both));
    format!(
        "{}; {}: {}; {} {}; {} {}{padded}{repeat}{keys}{lookup}{with}{shown}",
        words(terms).join(", "),
        out.say("may learn", "可获知"),
        names(&terms.learners, parties).join(", "),
        out.say("keys at least", "最少键数"),
        terms.keys_min,
        out.say("days kept", "保留天数"),
        terms.keep_days,
    )
}
