//! What a job that brings keys together is signed over, and how a person writes it.

use core::ops::RangeInclusive;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tacit_governance::align::ALIGN_KEEP_DAYS_MAX;
use tacit_governance::{AlignLevel, ColumnKind};
use tacit_psi::schema::{KEY_COLUMNS_MAX, STEPS_MAX};
use tacit_psi::{KeyColumn, Schema, Step};
use tacit_types::limits::COLUMN_NAME_BYTES_MAX;
use tacit_types::{Code, Fault, NodeId};

use crate::kind::{Draft, Parts};
use crate::stats::groups::{GroupBy, WrittenGroups, WrittenValue};

/// Distinct keys of one list.
pub const ALIGN_KEYS_MAX: u64 = 1 << 24;
/// Bytes of the name of a step.
pub const STEP_NAME_BYTES_MAX: usize = 32;
/// Owners of one count.
pub const MATCH_OWNERS_MAX: usize = tacit_psi::ring::RING_PARTIES_MAX;
/// Groups of one count that have a value; one more takes what has none of them.
pub const MATCH_GROUPS_MAX: usize = tacit_psi::groups::RING_GROUPS_MAX - 1;
/// Days that an alignment may be used where the job does not say.
const KEEP_DAYS: u32 = 30;

/// How two lists are brought together; see `docs/protocols/psi.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum AlignMode {
    /// Each key is masked by every party.
    #[n(0)]
    DoubleMask,
    /// One party evaluates a keyed function on the other's blinded keys.
    #[n(1)]
    Oprf,
}

impl AlignMode {
    const WORDS: [(&'static str, AlignMode); 2] = [("double_mask", AlignMode::DoubleMask), ("keyed", AlignMode::Oprf)];
}

/// One column of a key, under the name that all owners use for it.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct KeyPart {
    /// The agreed name.
    #[n(1)]
    pub name: String,
    /// The names of the steps that make its values comparable, in order, each with its version.
    #[n(2)]
    pub steps: Vec<String>,
}

/// The columns of one owner that make its keys.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct OwnerKey {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// Its columns, in the order of the key's.
    #[n(2)]
    pub columns: Vec<String>,
}

/// Groups of one owner's rows, for each of which a number of keys is counted.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct KeyGroups {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// Its column, and the values that make a group each.
    #[n(2)]
    pub by: GroupBy,
}

/// The signed parameters of `align/v1` and `match-count/v1`.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct AlignParams {
    /// What is revealed.
    #[n(1)]
    pub level: AlignLevel,
    /// By which means.
    #[n(2)]
    pub mode: AlignMode,
    /// The one owner that learns, where one does.
    #[n(3)]
    pub learner: Option<NodeId>,
    /// The key, ascending by name.
    #[n(4)]
    pub key: Vec<KeyPart>,
    /// The owners, ascending by their root keys.
    #[n(5)]
    pub owners: Vec<OwnerKey>,
    /// Distinct keys that each list must have before it is padded.
    #[n(6)]
    pub keys_min: u64,
    /// The size to which each list is padded; the sizes are what they are when absent.
    #[n(7)]
    pub size: Option<u64>,
    /// Days that what is aligned may be used; 0 where nothing is kept.
    #[n(8)]
    pub keep_days: u32,
    /// A count below this is not told to the recipient.
    #[n(9)]
    pub count_min: Option<u64>,
    /// Of a count: the groups for each of which is counted.
    #[n(10)]
    pub group: Option<KeyGroups>,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(Code::RefusedParameters, what.into()))
}

/// The schema of a key.
///
/// # Errors
/// `refused.parameters` for columns or steps that make none.
pub fn schema(key: &[KeyPart]) -> Result<Schema, Fault> {
    let refused = |f: Fault| Fault::new(Code::RefusedParameters, format!("key: {}", f.what));
    let column = |part: &KeyPart| -> Result<KeyColumn, Fault> {
        let steps = part.steps.iter().map(|s| Step::parse(s)).collect::<Result<_, _>>()?;
        Ok(KeyColumn { name: part.name.clone(), steps })
    };
    let columns = key.iter().map(column).collect::<Result<_, _>>().map_err(refused)?;
    Schema::new(columns).map_err(refused)
}

impl AlignParams {
    /// Checks everything that rests on the job's parts and on nothing but the parameters.
    ///
    /// # Errors
    /// `refused.parameters` naming the field.
    pub fn check(&self, parts: &Parts<'_>) -> Result<(), Fault> {
        let named = |n: &String| !n.is_empty() && n.len() <= COLUMN_NAME_BYTES_MAX;
        let sound = |p: &KeyPart| {
            named(&p.name) && p.steps.len() <= STEPS_MAX && p.steps.iter().all(|s| s.len() <= STEP_NAME_BYTES_MAX)
        };
        if !(1..=KEY_COLUMNS_MAX).contains(&self.key.len()) || !self.key.iter().all(sound) {
            return wrong(format!("key: 1 to {KEY_COLUMNS_MAX} columns of {STEPS_MAX} steps at the most"));
        }
        if !self.key.windows(2).all(|pair| matches!(pair, [a, b] if a.name < b.name)) {
            return wrong("key: the columns do not ascend");
        }
        schema(&self.key)?;
        self.check_owners(parts)?;
        let most = self.size.unwrap_or(ALIGN_KEYS_MAX);
        if most > ALIGN_KEYS_MAX || self.keys_min == 0 || self.keys_min > most {
            return wrong(format!("keys_min: {} of 1 to {most}; lists of {ALIGN_KEYS_MAX} at the most", self.keys_min));
        }
        let keeps = self.level != AlignLevel::Count;
        if keeps != (1..=ALIGN_KEEP_DAYS_MAX).contains(&self.keep_days) || (!keeps && self.keep_days != 0) {
            return wrong(format!("keep_days: 1 to {ALIGN_KEEP_DAYS_MAX}"));
        }
        if keeps && self.count_min.is_some() {
            return wrong("count_min: with a count alone");
        }
        match &self.group {
            Some(_) if keeps => wrong("group: with a count alone"),
            Some(group) => self.check_group(group),
            None => Ok(()),
        }
    }

    fn check_group(&self, group: &KeyGroups) -> Result<(), Fault> {
        if !self.owners.iter().any(|o| o.owner == group.owner) {
            return wrong("group: its owner has no keys in the job");
        }
        if group.by.column.is_empty() || group.by.column.len() > COLUMN_NAME_BYTES_MAX {
            return wrong("group: a column name is empty or too long");
        }
        group.by.check("group", MATCH_GROUPS_MAX)?;
        let all = self.size.unwrap_or(0).saturating_mul(self.groups() as u64);
        if all > ALIGN_KEYS_MAX {
            return wrong(format!(
                "size: each group is padded to it, and together they have {all} of {ALIGN_KEYS_MAX} keys"
            ));
        }
        Ok(())
    }

    fn check_owners(&self, parts: &Parts<'_>) -> Result<(), Fault> {
        let providers: BTreeSet<NodeId> = parts.providers.iter().map(|p| p.owner).collect();
        if !self.owners.iter().map(|o| &o.owner).eq(providers.iter()) {
            return wrong("the owners of the keys are not the job's providers");
        }
        let fits = |o: &OwnerKey| {
            let distinct: BTreeSet<&String> = o.columns.iter().collect();
            distinct.len() == self.key.len()
                && o.columns.len() == self.key.len()
                && o.columns.iter().all(|c| !c.is_empty() && c.len() <= COLUMN_NAME_BYTES_MAX)
        };
        if !self.owners.iter().all(fits) {
            return wrong("columns: one of each owner for each column of the key");
        }
        let one = matches!(self.level, AlignLevel::Receiver | AlignLevel::Count);
        if one != self.learner.is_some() || self.learner.is_some_and(|l| !providers.contains(&l)) {
            return wrong("`receiver`, or `collector` of a count, names the one owner that learns, where one does");
        }
        if self.mode == AlignMode::Oprf && !matches!(self.level, AlignLevel::Receiver | AlignLevel::Both) {
            return wrong("mode: `keyed` can only reveal the set; counts and spines are of `double_mask`");
        }
        Ok(())
    }

    /// An owner's columns.
    pub fn columns(&self, owner: &NodeId) -> Option<&[String]> {
        self.owners.iter().find(|o| o.owner == *owner).map(|o| o.columns.as_slice())
    }

    /// Who learns of keys, or of their number.
    pub fn learners(&self) -> Vec<NodeId> {
        match self.learner {
            Some(one) => vec![one],
            None => self.owners.iter().map(|o| o.owner).collect(),
        }
    }

    /// Groups that are counted, the one for all other values among them; 0 where none are.
    pub fn groups(&self) -> usize {
        self.group.as_ref().map_or(0, |g| g.by.values.len() + 1)
    }

    /// The groups of an owner's own rows.
    pub fn group_of(&self, owner: &NodeId) -> Option<&GroupBy> {
        self.group.as_ref().filter(|g| g.owner == *owner).map(|g| &g.by)
    }

    /// Distinct keys that an owner may offer, padding and groups with them.
    pub fn offers(&self, owner: &NodeId) -> RangeInclusive<u64> {
        let lists = self.group_of(owner).map_or(1, |_| self.groups() as u64);
        match self.size.map(|size| size.saturating_mul(lists)) {
            Some(size) => size..=size,
            None => self.keys_min..=ALIGN_KEYS_MAX,
        }
    }

    /// Distinct keys that a list may have at the most.
    pub fn keys_max(&self) -> u64 {
        self.size.unwrap_or(ALIGN_KEYS_MAX)
    }
}

/// What a person writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// `receiver`, `both` or `spine`.
    pub level: Option<String>,
    /// `double_mask` or `keyed`.
    pub mode: Option<String>,
    /// Who learns, at level `receiver`.
    pub receiver: Option<String>,
    /// Who counts.
    pub collector: Option<String>,
    /// Who asks a cache.
    pub asker: Option<String>,
    /// How often.
    pub queries: Option<u64>,
    /// Days after which the cache's key is replaced.
    pub epoch_days: Option<u32>,
    /// By agreed name, the steps.
    pub key: BTreeMap<String, Vec<String>>,
    /// By owner and agreed name, the owner's column; of the same name when absent.
    #[serde(default)]
    pub columns: BTreeMap<String, BTreeMap<String, String>>,
    pub keys_min: u64,
    pub size: Option<u64>,
    pub keep_days: Option<u32>,
    pub count_min: Option<u64>,
    /// Whose rows make groups.
    pub group: Option<WrittenKeyGroups>,
}

/// Groups as a person writes them.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenKeyGroups {
    pub provider: String,
    pub column: String,
    pub values: Vec<WrittenValue>,
}

impl WrittenKeyGroups {
    fn read(self, draft: &Draft) -> Result<KeyGroups, Fault> {
        let Some(provider) = draft.providers.iter().find(|p| p.name == self.provider) else {
            return wrong(format!("group: `{}` is not a provider of the contract", self.provider));
        };
        if !provider.columns.contains_key(&self.column) {
            let what = format!("`{}` of {}", self.column, self.provider);
            return Err(Fault::new(Code::DataColumnUnknown, what));
        }
        let by = WrittenGroups { column: self.column, values: self.values }.read("group", &provider.columns)?;
        Ok(KeyGroups { owner: provider.owner, by })
    }
}

pub(super) fn read(written: serde_json::Value) -> Result<Written, Fault> {
    serde_json::from_value(written).map_err(|e| Fault::new(Code::RefusedParameters, format!("params: {e}")))
}

impl Written {
    /// Whether anything is written that is of a search in a cache.
    pub fn searches(&self) -> bool {
        self.asker.is_some() || self.queries.is_some() || self.epoch_days.is_some()
    }

    /// The signed form.
    ///
    /// # Errors
    /// `refused.parameters` naming the field; `data.column_unknown`, `data.column_type`.
    pub fn params(&self, level: AlignLevel, draft: &Draft) -> Result<AlignParams, Fault> {
        let learner = self.receiver.as_ref().or(self.collector.as_ref()).or(self.asker.as_ref());
        let learner = match learner.map(|name| (name, draft.providers.iter().find(|p| p.name == *name))) {
            None => None,
            Some((_, Some(provider))) => Some(provider.owner),
            Some((name, None)) => return wrong(format!("`{name}` is not a provider of the contract")),
        };
        let mode = match (level, self.mode.as_deref()) {
            (AlignLevel::Count | AlignLevel::Spine, None) => AlignMode::DoubleMask,
            (_, None) => return wrong("mode: `double_mask` or `keyed`; there is no default, see the page of the kind"),
            (_, Some(word)) => match AlignMode::WORDS.iter().find(|(w, _)| *w == word) {
                Some((_, mode)) => *mode,
                None => return wrong(format!("mode: `{word}`; one of double_mask, keyed")),
            },
        };
        if let Some(stranger) = self.columns.keys().find(|n| !draft.providers.iter().any(|p| p.name == **n)) {
            return wrong(format!("columns: `{stranger}` is not a provider of the contract"));
        }
        let mut owners = Vec::new();
        for provider in &draft.providers {
            let own = self.columns.get(&provider.name);
            if let Some(other) = own.into_iter().flat_map(BTreeMap::keys).find(|n| !self.key.contains_key(*n)) {
                return wrong(format!("columns: `{other}` is no column of the key"));
            }
            let column = |name: &String| own.and_then(|all| all.get(name)).unwrap_or(name).clone();
            let columns: Vec<String> = self.key.keys().map(column).collect();
            for column in &columns {
                let what = format!("`{column}` of {}", provider.name);
                match provider.columns.get(column) {
                    None => return Err(Fault::new(Code::DataColumnUnknown, what)),
                    Some(ColumnKind::Float) => {
                        return Err(Fault::new(
                            Code::DataColumnType,
                            format!("{what} holds fractions, which are no key"),
                        ));
                    }
                    Some(ColumnKind::Int | ColumnKind::Text) => {}
                }
            }
            owners.push(OwnerKey { owner: provider.owner, columns });
        }
        owners.sort_by_key(|o| o.owner);
        let keep_days =
            if level == AlignLevel::Count { self.keep_days.unwrap_or(0) } else { self.keep_days.unwrap_or(KEEP_DAYS) };
        let key = self.key.iter().map(|(name, steps)| KeyPart { name: name.clone(), steps: steps.clone() }).collect();
        Ok(AlignParams {
            level,
            mode,
            learner,
            key,
            owners,
            keys_min: self.keys_min,
            size: self.size.or(self.queries),
            keep_days,
            count_min: self.count_min,
            group: self.group.clone().map(|group| group.read(draft)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tacit_governance::ProviderRef;
    use tacit_types::DatasetVersionId;

    use super::*;
    use crate::kind::DraftProvider;

    /// Parameters over so many owners, changed, and whether they are sound.
    fn sound(owners: usize, level: AlignLevel, change: impl FnOnce(&mut AlignParams)) -> bool {
        let keys: Vec<NodeId> = (1..=owners as u8).map(|n| NodeId([n; 32])).collect();
        let columns = [("id".to_owned(), ColumnKind::Text)];
        let provider =
            |owner: &NodeId| DraftProvider { name: owner.short(), owner: *owner, columns: columns.clone().into() };
        let draft = Draft { providers: keys.iter().map(provider).collect(), ..Draft::default() };
        let one = matches!(level, AlignLevel::Receiver | AlignLevel::Count).then(|| keys[0].short());
        let written = json!({"receiver": one, "mode": "double_mask", "keys_min": 10, "key": {"id": ["trim/1"]}});
        let mut params = read(written).and_then(|w| w.params(level, &draft)).unwrap();
        change(&mut params);
        let of = |owner: &NodeId| ProviderRef { owner: *owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers: Vec<ProviderRef> = keys.iter().map(of).collect();
        params.check(&Parts { providers: &providers, ..Parts::default() }).is_ok()
    }

    #[test]
    fn limits_hold_one_past_them() {
        let both = |change: fn(&mut AlignParams)| sound(2, AlignLevel::Both, change);
        assert!(both(|_| {}));
        assert!(both(|p| p.keys_min = ALIGN_KEYS_MAX) && !both(|p| p.keys_min = ALIGN_KEYS_MAX + 1));
        assert!(!both(|p| p.keys_min = 0));
        assert!(both(|p| p.size = Some(ALIGN_KEYS_MAX)) && !both(|p| p.size = Some(ALIGN_KEYS_MAX + 1)));
        assert!(both(|p| p.size = Some(10)) && !both(|p| p.size = Some(9)), "a list has room for its least");
        assert!(both(|p| p.keep_days = ALIGN_KEEP_DAYS_MAX) && !both(|p| p.keep_days = ALIGN_KEEP_DAYS_MAX + 1));
        assert!(!both(|p| p.keep_days = 0));
        assert!(!both(|p| p.key[0].steps = vec!["t".repeat(STEP_NAME_BYTES_MAX + 1)]));
        assert!(both(|p| p.key[0].steps = vec!["trim/1".into(); STEPS_MAX]));
        assert!(!both(|p| p.key[0].steps = vec!["trim/1".into(); STEPS_MAX + 1]));
    }

    #[test]
    fn groups_hold_one_past_their_limits_and_are_of_a_count() {
        let grouped = |level, values: i64, change: fn(&mut AlignParams)| {
            sound(2, level, |p| {
                let values = (0..values).map(tacit_types::Literal::Int).collect();
                p.group = Some(KeyGroups { owner: p.owners[1].owner, by: GroupBy { column: "region".into(), values } });
                change(p);
            })
        };
        let count = |values, change| grouped(AlignLevel::Count, values, change);
        let most = MATCH_GROUPS_MAX as i64;
        assert!(count(1, |_| {}) && count(most, |_| {}) && !count(most + 1, |_| {}) && !count(0, |_| {}));
        assert!(!grouped(AlignLevel::Spine, 1, |_| {}));
        assert!(
            count(3, |p| p.size = Some(ALIGN_KEYS_MAX / 4)) && !count(3, |p| p.size = Some(ALIGN_KEYS_MAX / 4 + 1))
        );
        fn of(p: &mut AlignParams) -> &mut KeyGroups {
            p.group.as_mut().unwrap()
        }
        assert!(!count(1, |p| of(p).owner = NodeId([9; 32])));
        assert!(count(1, |p| of(p).by.column = "c".repeat(COLUMN_NAME_BYTES_MAX)));
        assert!(!count(1, |p| of(p).by.column = "c".repeat(COLUMN_NAME_BYTES_MAX + 1)));
        assert!(!count(1, |p| of(p).by.column.clear()));
        assert!(!count(2, |p| of(p).by.values[1] = of(p).by.values[0].clone()), "a value twice");
    }

    #[test]
    fn each_group_of_a_padded_list_has_room_for_every_key() {
        let owners = [NodeId([1; 32]), NodeId([2; 32])];
        assert!(sound(2, AlignLevel::Count, |p| {
            let by = GroupBy { column: "region".into(), values: vec![tacit_types::Literal::Int(1)] };
            p.group = Some(KeyGroups { owner: owners[1], by });
            assert_eq!(owners.map(|o| p.offers(&o)), [10..=ALIGN_KEYS_MAX, 10..=ALIGN_KEYS_MAX]);
            p.size = Some(64);
            assert_eq!(owners.map(|o| p.offers(&o)), [64..=64, 128..=128]);
        }));
    }

    #[test]
    fn who_learns_and_by_which_means_fits_the_level() {
        for level in [AlignLevel::Receiver, AlignLevel::Count] {
            assert!(sound(2, level, |_| {}));
            assert!(!sound(2, level, |p| p.learner = None));
            assert!(!sound(2, level, |p| p.learner = Some(NodeId([9; 32]))));
        }
        for level in [AlignLevel::Both, AlignLevel::Spine] {
            assert!(!sound(2, level, |p| p.learner = Some(NodeId([1; 32]))));
        }
        for (level, keyed) in [
            (AlignLevel::Receiver, true),
            (AlignLevel::Both, true),
            (AlignLevel::Spine, false),
            (AlignLevel::Count, false),
        ] {
            assert_eq!(sound(2, level, |p| p.mode = AlignMode::Oprf), keyed, "{}", level.word());
        }
        assert!(!sound(2, AlignLevel::Both, |p| p.count_min = Some(3)));
        assert!(!sound(2, AlignLevel::Both, |p| p.owners[1].columns.push("x".into())));
        assert!(!sound(3, AlignLevel::Count, |p| p.owners.truncate(2)));
        assert!(!sound(2, AlignLevel::Both, |p| p.owners.reverse()));
    }
}
