//! What a job reveals, in a sentence for people: the names of disclosures in plain words.

use tacit_types::Lang;

use crate::checked::{CHECKED_NOISY_RESULT, CHECKED_RESULT, NOISY_RESULT};
use crate::score::VERIFIED_RESULT;

/// A name, and what it says in English and in Chinese.
const WORDS: &[(&str, &str, &str)] = &[
    ("result", "the result, and nothing of a single owner's rows beside it", "结果；此外不含任何一方的单行数据"),
    (CHECKED_RESULT, "the result, which every node has checked for itself", "结果，已由各节点自行核验"),
    (NOISY_RESULT, "the result with noise that hides every single row", "带噪声的结果，任何单行均被掩盖"),
    (
        CHECKED_NOISY_RESULT,
        "the result with noise that hides every single row; every node has checked it",
        "带噪声的结果，任何单行均被掩盖，并由各节点核验",
    ),
    (VERIFIED_RESULT, "the scores; who had computed wrong would have been found", "评分结果；计算有误者会被发现"),
    (
        "counts",
        "how many rows, and of how many owners, stand in each group: the floor is held over them",
        "各组合计的行数与参与方数，用于执行下限",
    ),
    (
        "quantile_search",
        "how many rows of all owners lie within each step of a quantile's search",
        "分位数查找各步的合计行数",
    ),
    ("sizes of the lists", "how long each owner's list of keys is", "各所有者键列表的长度"),
    (
        "sizes of the lists and of the groups",
        "how long each owner's list of keys is, and how many keys stand in each group of one",
        "各所有者键列表的长度，及其中一方各分组的键数",
    ),
    (
        "which of its keys each other owner has, to the receiver",
        "to the receiver alone: which of its keys each other owner has too",
        "仅接收方得知：其键中哪些也为其他所有者持有",
    ),
    (
        "which of its keys the other has, to the receiver",
        "to the receiver alone: which of its keys the other has too",
        "仅接收方得知：其键中哪些也为对方持有",
    ),
    (
        "which of its keys the other has, to both",
        "to both owners: which of its keys the other has too",
        "双方均得知：各自的键中哪些也为对方持有",
    ),
    (
        "ids of the union, and how many match",
        "ids of all keys that nobody can match to a key, and how many are common to all",
        "并集的编号（无法对应到键）及共有键的数量",
    ),
    (
        "number of matched keys, to the collector",
        "to the collector alone: how many keys are common",
        "仅收集方得知：共有键的数量",
    ),
    (
        "how many keys any of the owners have in common, to the collector",
        "to the collector alone: how many keys any of the owners have in common",
        "仅收集方得知：任意所有者之间共有键的数量",
    ),
    (
        "how many keys any of the owners have in common in each group, to the collector",
        "to the collector alone: how many keys any of the owners have in common, in each group of one owner's rows",
        "仅收集方得知：按其中一方的分组，任意所有者之间共有键的数量",
    ),
    (
        "which of the queries the holder has, to who asks",
        "to who asks alone: which of its queries the holder has",
        "仅查询方得知：其查询中哪些为持有方所有",
    ),
];

/// What a disclosure of that name says; the name itself where no words stand for it.
pub fn plain(what: &str, lang: Lang) -> &str {
    let found = WORDS.iter().find(|(name, _, _)| *name == what);
    found.map_or(what, |(_, en, zh)| match lang {
        Lang::En => en,
        Lang::Zh => zh,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name that the source of a kind gives a disclosure stands in the table, so that a new one is noticed.
    #[test]
    fn every_disclosure_has_words_in_both_languages() {
        let sources = [
            include_str!("align/count.rs"),
            include_str!("align/joint.rs"),
            include_str!("align/lookup.rs"),
            include_str!("count.rs"),
            include_str!("stats/mod.rs"),
            include_str!("score/plan.rs"),
            include_str!("checked.rs"),
        ];
        let mut found = 0;
        for (name, en, zh) in WORDS {
            assert!(sources.iter().any(|s| s.contains(&format!("\"{name}\""))), "`{name}` is no disclosure");
            assert!(en.is_ascii() && !zh.is_ascii(), "{name}");
            assert_eq!((plain(name, Lang::En), plain(name, Lang::Zh)), (*en, *zh));
        }
        for named in sources.iter().flat_map(|s| s.split("what: \"").skip(1)).filter_map(|rest| rest.split('"').next())
        {
            assert!(WORDS.iter().any(|(name, _, _)| *name == named), "`{named}` has no words");
            found += 1;
        }
        assert!(found >= 4, "{found} names in the sources");
        assert_eq!(plain("something new", Lang::Zh), "something new");
    }
}
