//! What owners bring together in one run: kind, level, lists with repeats, gaps and spellings, and what a plain join of them
//! gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tacit_crypto::{Secret, SigningKey};
use tacit_governance::{ColumnKind, MatchesShown, ProviderRef, Shown};
use tacit_jobs::align::{KEPT_BYTES, KeyPart};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::{Draft, Parts, Plan};
use tacit_types::{Column, Columns, DatasetVersionId, NodeId, Values};

use crate::dice::Dice;

pub const ALIGN: &str = "align/v1";
pub const COUNT: &str = "match-count/v1";
pub const LOOKUP: &str = "lookup/v1";
/// The job's floor of rows.
pub const FLOOR: u64 = 3;
/// Distinct keys below which a list is refused.
pub const KEYS_MIN: u64 = 5;
/// The size that lists are padded to where they are, and queries of a search.
const PADDED: u64 = 64;
/// Distinct keys of a list at the most.
const KEYS_MAX: u64 = 60;
const NAMES: [&str; 3] = ["bank", "telecom", "grocer"];
/// The groups of a count that have a value.
const REGIONS: [&str; 3] = ["north", "south", "west"];
/// How far apart the numbers of a run and of its twin are.
const ELSEWHERE: u64 = 1_000_000;

/// The value of a key in each column, in the form that the agreed steps give.
pub type Plain = Vec<String>;

/// A row: what its owner has written in each column, the key that it means, and where its customer is.
#[derive(Clone)]
pub struct Row {
    pub written: Vec<Option<String>>,
    pub key: Option<Plain>,
    pub region: Option<&'static str>,
}

/// Owners in the order of seats, and what they agreed on.
pub struct Case {
    pub kind: &'static str,
    pub written: Value,
    pub keys: Vec<Arc<SigningKey>>,
    pub lists: Vec<Vec<Row>>,
    /// Keys of others, or queries, that an owner's contract allows in all.
    pub budget: u64,
    /// What each owner's contracts let a receipt show of lists and matches.
    pub shown: Vec<Shown>,
    /// All have admitted it under one contract.
    pub sole: bool,
    /// The first numbers of the lists, and where a run's twin has them.
    shift: u64,
}

impl Case {
    /// Draws owners and lists. A twin has as many other keys: of those that match as many, where the level tells how many.
    pub fn draw(dice: &mut Dice, twin: bool) -> Self {
        let (kind, mut written, owners) = draw_kind(dice);
        let columns = if dice.chance(300) { 2 } else { 1 };
        written["keys_min"] = json!(KEYS_MIN);
        written["key"] = match columns {
            1 => json!({"id": ["nfkc/1", "trim/1", "fold/1"]}),
            _ => json!({"id": ["nfkc/1", "trim/1", "fold/1"], "year": ["digits/1"]}),
        };
        let mut keys: Vec<SigningKey> =
            (0..owners).map(|_| SigningKey::from_seed(&Secret::new(dice.bytes()))).collect();
        keys.sort_by_key(SigningKey::id);
        let budget = if dice.chance(600) { u64::MAX } else { dice.between(1, 3) * PADDED };
        let of_key = |key: &SigningKey| {
            let [one, other, ..] = key.id().0;
            Shown { matches: MatchesShown::ALL[usize::from(one % 3)], each_list: other % 4 > 0 }
        };
        let shown = keys.iter().map(of_key).collect();
        let mut case = Self {
            kind,
            written,
            keys: keys.into_iter().map(Arc::new).collect(),
            lists: Vec::new(),
            budget,
            shown,
            sole: false,
            shift: if twin { ELSEWHERE } else { 0 },
        };
        let ranges = ranges(dice, owners, twin && !case.tells_how_many());
        case.lists = ranges.into_iter().map(|range| case.list(dice, range, columns)).collect();
        case
    }

    /// Whether somebody learns how many keys match, or which: then a twin must have as many.
    fn tells_how_many(&self) -> bool {
        !(self.kind == LOOKUP || self.written["level"] == "receiver")
    }

    /// Whether what is sent depends on more than sizes: each half of the keys is a list of its own.
    pub fn splits_keys(&self) -> bool {
        self.written["level"] == "both" && self.written["mode"] == "keyed"
    }

    fn list(&self, dice: &mut Dice, numbers: core::ops::Range<u64>, columns: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        for number in numbers {
            let copies = if dice.chance(150) { dice.between(2, 3) } else { 1 };
            rows.extend((0..copies).map(|_| row(dice, number + self.shift, columns)));
        }
        for _ in 0..dice.below(3) {
            let mut gap = row(dice, ELSEWHERE * 2, columns);
            gap.key = None;
            gap.written[dice.below(columns as u64) as usize] = dice.chance(500).then(|| "  ".to_owned());
            let at = dice.below(rows.len() as u64 + 1) as usize;
            rows.insert(at, gap);
        }
        rows
    }

    /// Gives an owner another key in one of its rows.
    pub fn change(&mut self, seat: usize, dice: &mut Dice) {
        let columns = self.columns();
        let number = ELSEWHERE * 3 + dice.below(1000) + self.shift;
        let at = self.lists[seat].iter().position(|r| r.key.is_some()).unwrap_or(0);
        self.lists[seat][at] = row(dice, number, columns);
    }

    fn columns(&self) -> usize {
        self.written["key"].as_object().map_or(1, serde_json::Map::len)
    }

    pub fn seats(&self) -> usize {
        self.keys.len()
    }

    pub fn owners(&self) -> Vec<NodeId> {
        self.keys.iter().map(|k| k.id()).collect()
    }

    pub fn describe(&self) -> String {
        let sizes: Vec<usize> = (0..self.seats()).map(|seat| self.plain(seat).len()).collect();
        format!("{} {}, keys {sizes:?}, {} in common", self.kind, self.written, self.joined().len())
    }

    /// How a run is named where ends are counted.
    pub fn word(&self) -> String {
        match self.kind {
            ALIGN if self.seats() > 2 => "star".into(),
            ALIGN => self.written["level"].as_str().unwrap_or_default().into(),
            COUNT if self.groups() > 0 => "groups".into(),
            COUNT => "count".into(),
            _ => "search".into(),
        }
    }

    pub fn plan(&self) -> Box<dyn Plan> {
        let names = if self.columns() == 1 { &["id"][..] } else { &["id", "year"] };
        let columns: BTreeMap<String, ColumnKind> =
            names.iter().chain(&["region"]).map(|name| ((*name).to_owned(), ColumnKind::Text)).collect();
        let provider = |(i, key): (usize, &Arc<SigningKey>)| DraftProvider {
            name: NAMES[i].into(),
            owner: key.id(),
            columns: columns.clone(),
        };
        let draft = Draft { providers: self.keys.iter().enumerate().map(provider).collect(), ..Draft::default() };
        let kind = tacit_jobs::kind(self.kind).expect("why: it is in the catalogue");
        let params = kind.draft(self.written.clone(), &draft).expect("why: sound parameters");
        let refer = |owner: NodeId| ProviderRef { owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers: Vec<ProviderRef> = self.owners().into_iter().map(refer).collect();
        let parts = Parts { providers: &providers, ..Parts::default() };
        kind.plan(&params, &parts).expect("why: sound parameters")
    }

    /// The rows of an owner, in batches as a source gives them.
    pub fn batches(&self, seat: usize) -> Vec<Columns> {
        let names = if self.columns() == 1 { &["id"][..] } else { &["id", "year"] };
        let column = |rows: &[Row], i: usize| Column {
            name: names[i].into(),
            values: Values::Text(rows.iter().map(|r| r.written[i].clone().unwrap_or_default()).collect()),
            valid: Some(rows.iter().map(|r| r.written[i].is_some()).collect()),
        };
        let region = |rows: &[Row]| Column {
            name: "region".into(),
            values: Values::Text(rows.iter().map(|r| r.region.unwrap_or("north").to_owned()).collect()),
            valid: Some(rows.iter().map(|r| r.region.is_some()).collect()),
        };
        let batch = |rows: &[Row]| {
            let more = self.is_grouped(seat).then(|| region(rows));
            Columns { rows: rows.len(), columns: (0..names.len()).map(|i| column(rows, i)).chain(more).collect() }
        };
        self.lists[seat].chunks(25).map(batch).collect()
    }

    /// The distinct keys of an owner.
    pub fn plain(&self, seat: usize) -> BTreeSet<Plain> {
        self.lists[seat].iter().filter_map(|row| row.key.clone()).collect()
    }

    /// Keys that an owner offers, with what it is padded by.
    pub fn offered(&self, seat: usize) -> u64 {
        let padded = if self.kind == LOOKUP { None } else { self.written["size"].as_u64() };
        let queries = (self.kind == LOOKUP && self.learns(seat)).then_some(PADDED);
        let lists = if self.is_grouped(seat) { self.groups() as u64 } else { 1 };
        padded.map(|size| size * lists).or(queries).unwrap_or(self.plain(seat).len() as u64)
    }

    /// Groups of a count, 0 where it has none.
    pub fn groups(&self) -> usize {
        if self.written["group"].is_null() { 0 } else { REGIONS.len() + 1 }
    }

    fn is_grouped(&self, seat: usize) -> bool {
        self.written["group"]["provider"].as_str() == Some(NAMES[seat])
    }

    /// A plain group-by of the join: each key in the first of its rows' groups, and groups of too few keys in the last.
    pub fn grouped(&self) -> Vec<u64> {
        let Some(seat) = (0..self.seats()).find(|seat| self.is_grouped(*seat)) else { return Vec::new() };
        let number = |row: &Row| REGIONS.iter().position(|r| row.region == Some(*r)).unwrap_or(REGIONS.len());
        let mut groups = vec![BTreeSet::new(); REGIONS.len() + 1];
        for key in self.plain(seat) {
            let rows = self.lists[seat].iter().filter(|row| row.key.as_ref() == Some(&key));
            groups[rows.map(number).min().unwrap_or(REGIONS.len())].insert(key);
        }
        loop {
            let few = |keys: &BTreeSet<Plain>| (1..KEYS_MIN as usize).contains(&keys.len());
            let least = (0..REGIONS.len()).filter(|g| !groups[*g].is_empty()).min_by_key(|g| groups[*g].len());
            let Some(group) = least.filter(|g| few(&groups[*g]) || few(&groups[REGIONS.len()])) else { break };
            let moved = std::mem::take(&mut groups[group]);
            groups[REGIONS.len()].extend(moved);
        }
        let joined = self.joined();
        groups.iter().map(|keys| keys.intersection(&joined).count() as u64).collect()
    }

    /// A plain join: the keys that all have.
    pub fn joined(&self) -> BTreeSet<Plain> {
        let lists = (0..self.seats()).map(|seat| self.plain(seat));
        lists.reduce(|a, b| a.intersection(&b).cloned().collect()).unwrap_or_default()
    }

    /// The agreed key, and the columns of it, which all owners call alike.
    pub fn key_parts(&self) -> (Vec<KeyPart>, Vec<String>) {
        let parts: BTreeMap<String, Vec<String>> =
            serde_json::from_value(self.written["key"].clone()).unwrap_or_default();
        let names = parts.keys().cloned().collect();
        (parts.into_iter().map(|(name, steps)| KeyPart { name, steps }).collect(), names)
    }

    /// What is kept of a key.
    pub fn kept(&self, key: &Plain) -> Vec<u8> {
        let (parts, _) = self.key_parts();
        let schema = tacit_jobs::align::params::schema(&parts).expect("why: sound parameters");
        let whole = schema.key(key.iter().map(|part| Some(part.as_str()))).expect("why: every column has a value");
        whole[..KEPT_BYTES].to_vec()
    }

    /// What a receipt shows of each owner's list: its length or that of all together, or the queries.
    pub fn given(&self) -> Vec<u64> {
        let lists: Vec<u64> = (0..self.seats()).map(|seat| self.offered(seat)).collect();
        let all = if self.kind == LOOKUP { PADDED } else { lists.iter().sum() };
        if self.gives_each() { lists } else { vec![all; self.seats()] }
    }

    /// Whether a receipt shows the length of each list.
    pub fn gives_each(&self) -> bool {
        self.kind != LOOKUP && self.shown.iter().all(|shown| shown.each_list)
    }

    /// What a receipt shows of the number of matches.
    pub fn metered(&self) -> u64 {
        let matches = self.joined().len() as u64;
        let both = self.kind == ALIGN && self.written["receiver"].is_null();
        match self.shown.iter().map(|shown| shown.matches).min() {
            Some(MatchesShown::Exact) if both && matches >= FLOOR => matches,
            // Written here again: the least power of two that is not below it.
            Some(MatchesShown::Bucket) if both && matches >= FLOOR => {
                (0..64).map(|bit| 1 << bit).find(|power| *power >= matches).unwrap_or(u64::MAX)
            }
            _ => 0,
        }
    }

    /// Who keeps something.
    pub fn learns(&self, seat: usize) -> bool {
        let one = self.written["receiver"].as_str().or(self.written["asker"].as_str());
        self.kind != COUNT && one.is_none_or(|name| NAMES.get(seat) == Some(&name))
    }

    /// Who answers queries, in a search.
    pub fn holds(&self, seat: usize) -> bool {
        self.kind == LOOKUP && !self.learns(seat)
    }

    /// Whether a list is too short to be brought.
    pub fn is_short(&self, seat: usize) -> bool {
        (self.plain(seat).len() as u64) < KEYS_MIN
    }
}

fn draw_kind(dice: &mut Dice) -> (&'static str, Value, usize) {
    let name = |dice: &mut Dice, owners: u64| NAMES[dice.below(owners) as usize];
    let padded = |dice: &mut Dice, mut written: Value| {
        if dice.chance(350) {
            written["size"] = json!(PADDED);
        }
        written
    };
    match dice.below(11) {
        0 | 1 => (ALIGN, padded(dice, json!({"level": "both", "mode": "double_mask"})), 2),
        2 => (ALIGN, padded(dice, json!({"level": "both", "mode": "keyed"})), 2),
        3 | 4 => {
            let (one, mode) = (name(dice, 2), *dice.pick(&["keyed", "double_mask"]));
            (ALIGN, padded(dice, json!({"level": "receiver", "receiver": one, "mode": mode})), 2)
        }
        5 => (ALIGN, padded(dice, json!({"level": "spine"})), 2),
        6 => {
            let (one, mode) = (name(dice, 3), *dice.pick(&["keyed", "double_mask"]));
            (ALIGN, padded(dice, json!({"level": "receiver", "receiver": one, "mode": mode})), 3)
        }
        7 | 8 => {
            let owners = dice.between(2, 3);
            let mut written = json!({"collector": name(dice, owners), "count_min": dice.between(1, 8)});
            if dice.chance(500) {
                written["group"] = json!({"provider": name(dice, owners), "column": "region", "values": REGIONS});
            }
            (COUNT, padded(dice, written), owners as usize)
        }
        _ => (LOOKUP, json!({"asker": name(dice, 2), "queries": PADDED}), 2),
    }
}

/// The numbers that each owner has: none, one, some or all of the smaller list in common. `apart` moves the second by some.
fn ranges(dice: &mut Dice, owners: usize, apart: bool) -> Vec<core::ops::Range<u64>> {
    let size = |dice: &mut Dice| if dice.chance(40) { KEYS_MIN - 1 } else { dice.between(KEYS_MIN, KEYS_MAX) };
    let (a, b) = (size(dice), size(dice));
    let least = a.min(b);
    let common = *dice.pick(&[0, 1, least / 2, least / 2, least]);
    let moved = if apart { 2 } else { 0 };
    let mut all = vec![1000..1000 + a, 1000 + a - common + moved..1000 + a - common + b + moved];
    if owners > 2 {
        // Around the end of the first list, so that some are in all three.
        let (from, keys) = (1000 + a - dice.below(a), size(dice));
        all.push(from..from + keys);
    }
    all
}

fn row(dice: &mut Dice, number: u64, columns: usize) -> Row {
    let year = 1900 + number % 100;
    let wide = |text: &str| -> String {
        let widen = |c: char| char::from_u32(c as u32 + 0xfee0).filter(|_| c.is_ascii_graphic()).unwrap_or(c);
        text.chars().map(widen).collect()
    };
    let id = format!("id-{number}");
    let written = match dice.below(5) {
        0 => format!(" ID-{number}\t"),
        1 => wide(&id),
        2 => format!("Id-{}", wide(&number.to_string())),
        _ => id.clone(),
    };
    let years = match dice.below(3) {
        0 => format!("{}-{:02}", year / 100, year % 100),
        1 => format!("year {year}"),
        _ => year.to_string(),
    };
    let key: Plain = [id, year.to_string()].into_iter().take(columns).collect();
    let region = match dice.below(8) {
        0..4 => Some(REGIONS[0]),
        4 | 5 => Some(REGIONS[1]),
        6 => Some(*dice.pick(&[REGIONS[2], "elsewhere"])),
        _ => None,
    };
    Row { written: [written, years].into_iter().take(columns).map(Some).collect(), key: Some(key), region }
}
