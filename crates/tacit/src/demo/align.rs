//! `tacit demo align`: a bank and a telecom find the customers that they have in common, whose names and birth dates each wrote
//! in its own way; they make ids for the customers of either, and learn of none whether the other has it; over these ids they
//! learn how their columns go together; and three count what all have, also by what the third's customers bought. Each keeps
//! its own rows, and a job that wants to show too much is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tacit_types::Fault;

use super::Play;
use super::credit::OWNERS;
use super::people::Person;
use super::pooled;
use super::stage::Stage;
use crate::output::bytes;

/// The demonstration.
pub const PLAY: Play = Play {
    play: |stage| Demo { stage }.play(),
    to_try: &[
        ("broker", "job list"),
        ("bank", "data list"),
        ("telecom", "data show customers-aligned"),
        ("broker", "contract show common"),
        ("broker", "receipt list"),
        ("telecom", "node egress"),
    ],
};

/// Who asks for the alignment, and learns that it was done: an operator, without a node.
const RECIPIENT: &str = "broker";
/// Who has customers.
const NODES: [&str; 3] = ["bank", "telecom", "shop"];

/// Who deals randomness for what is computed on the ids of the other two.
const DEALER: &str = "shop";
/// Columns that go into sums over the ids, with ranges that their values do not reach.
const SUMMED: [[(&str, u32); 2]; 2] = [[("age", 100), ("duration", 100)], [("residence", 10), ("employment", 10)]];

/// What the shop's customers bought, by its column `purpose`.
const PURPOSES: [&str; 3] = ["car", "goods", "business"];

struct Demo<'a> {
    stage: &'a mut Stage,
}

/// One owner's table, and the customers in it.
struct Table {
    csv: String,
    /// Whose row each is; `None` where name or birth date are missing.
    rows: Vec<Option<String>>,
    customers: BTreeSet<String>,
}

/// The customers of an owner: each leaves others out, and each writes them in its own way.
fn table(owner: usize) -> Table {
    let (source, leaves_out) = (OWNERS[owner].table, [5, 7, 11][owner]);
    let mut lines = source.lines();
    let columns = lines.next().unwrap_or_default().split_once(',').unwrap_or_default().1;
    let mut csv = format!("name,birth,{columns}\n");
    let (mut rows, mut customers) = (Vec::new(), BTreeSet::new());
    for (i, line) in lines.enumerate().filter(|(i, _)| i % leaves_out != 0) {
        let (id, rest) = line.split_once(',').unwrap_or((line, ""));
        let (name, birth) = Person::of(id).written(owner, i);
        csv.push_str(&format!("{name},{birth},{rest}\n"));
        rows.push(Some(id.to_owned()));
        customers.insert(id.to_owned());
        // A row without a name or a date, and one that is there twice: the one never matches, the other is one customer.
        if i % 50 == 1 {
            let (name_left, birth_left) = if i % 100 == 1 { ("", &*birth) } else { (&*name, "") };
            csv.push_str(&format!("{name_left},{birth_left},{rest}\n{name},{birth},{rest}\n"));
            rows.extend([None, Some(id.to_owned())]);
        }
    }
    Table { csv, rows, customers }
}

/// The key, as every job here has it: what a person is called and when they were born.
const KEY: &str = "\n[params.key]\nbirth = [\"nfkc/1\", \"trim/1\", \"date/1\"]\n\
    name = [\"nfkc/1\", \"trim/1\", \"fold/1\"]\n";

impl Demo<'_> {
    fn play(&mut self) -> Result<Value, Fault> {
        let tables: Vec<Table> = (0..NODES.len()).map(table).collect();
        self.enrol(&tables)?;
        self.agree()?;
        let aligned = self.align(&tables)?;
        let spine = self.spine(&tables)?;
        let across = self.across(&tables, &spine)?;
        let counted = self.count(&tables)?;
        self.stage.chapter("A job that would tell the telecom alone is refused: the contract says both or neither.");
        let job = format!(
            "kind = \"align/v1\"\ncontract = \"common\"\n[params]\nlevel = \"receiver\"\nreceiver = \"telecom\"\n\
             mode = \"double_mask\"\nkeys_min = 50\n{KEY}"
        );
        let refused = self.stage.refused(RECIPIENT, "too-much.toml", &job)?;
        let receipts = self.stage.verify(RECIPIENT, "organisations")?;
        let egress = self.stage.egress(&NODES)?;
        let seconds = self.stage.seconds();
        let sound = aligned["as_joined"] == json!(true)
            && spine["as_joined"] == json!(true)
            && across["as_joined"] == json!(true)
            && counted["keys"] == counted["expected"]
            && counted["groups"] == counted["expected_groups"]
            && refused["code"] == json!("refused.alignment")
            && Stage::verified(&receipts);
        self.stage.chapter(if sound { "All of it held." } else { "Something did not hold: see above." });
        Ok(json!({
            "aligned": aligned, "spine": spine, "across": across, "counted": counted, "refused": [refused], "receipts": receipts, "egress": egress,
            "seconds": seconds, "sound": sound,
        }))
    }

    fn enrol(&mut self, tables: &[Table]) -> Result<(), Fault> {
        self.stage.chapter(
            "A coordinator; a bank, a telecom and a shop that have customers in common and write names and dates in \
             their own ways; a broker. Each is a process with its own keys and database.",
        );
        self.stage.coordinate()?;
        NODES.iter().try_for_each(|name| self.stage.join(name, "node"))?;
        self.stage.join(RECIPIENT, "operator")?;
        self.stage.chapter(
            "Each registers its rows in place. Name and birth date may align, the shop's `purpose` may make groups, two \
             columns each of bank and telecom may go into sums, and nothing may leave.",
        );
        for (i, (name, table)) in NODES.iter().zip(tables).enumerate() {
            let file = self.stage.world.write(&format!("{name}.csv"), &table.csv)?.display().to_string();
            let levels = ["--level", "name=align_key", "--level", "birth=align_key"];
            let args =
                [&["data", "add", "customers", &file, "--text", "name", "--text", "birth"][..], &levels].concat();
            let summed = SUMMED.get(i).into_iter().flatten().map(|(column, _)| format!("{column}=after_aggregate"));
            let more: Vec<String> = summed.chain((i == 2).then(|| "purpose=after_group_by".to_owned())).collect();
            let more: Vec<&str> = more.iter().flat_map(|level| ["--level", level]).collect();
            let added = self.stage.world.run(name, &[&args[..], &more].concat())?;
            let keys = table.csv.lines().skip(1).filter_map(|line| {
                let mut fields = line.split(',');
                Some(format!("`{}`, `{}`", fields.next()?, fields.next()?))
            });
            let written: Vec<String> = keys.take(2).collect();
            self.stage.say(format!(
                "    {} rows, of {} and so on; others learn only: at most {}",
                added["rows"],
                written.join("; "),
                added["row_bucket"]
            ));
            self.stage.world.daemon(name, &["node", "run"])?;
        }
        Ok(())
    }

    fn agree(&mut self) -> Result<(), Fault> {
        self.stage.chapter(
            "Contracts say who may learn what: both the customers in common; both ids for the customers of either, and not \
             which they share; or all three a number alone.",
        );
        for (name, kind, level, owners) in [
            ("common", "align/v1", "both", &NODES[..2]),
            ("ids", "align/v1", "spine", &NODES[..2]),
            ("number", "match-count/v1", "count", &NODES[..]),
        ] {
            let mut text = format!(
                "name = \"{name}\"\npurpose = \"customers in common\"\nkinds = [\"{kind}\"]\ndemander = \"{RECIPIENT}\"\n\
                 quota_jobs = 3\nvalid_days = 30\n[cohort]\nrows = 10\ncontributors = 2\n\
                 [alignment]\nlevels = [\"{level}\"]\nkeys_min = 50\nkeep_days = 30\n"
            );
            for owner in owners {
                text.push_str(&format!("[[datasets]]\nowner = \"{owner}\"\ndataset = \"customers\"\n"));
            }
            self.stage.agree(RECIPIENT, name, &text, owners)?;
        }
        Ok(())
    }

    fn submit(&self, file: &str, text: &str) -> Result<Value, Fault> {
        let path = self.stage.world.write(file, text)?.display().to_string();
        self.stage.world.run(RECIPIENT, &["job", "submit", &path, "--watch"])
    }

    /// The version that an alignment of a level left at an owner.
    fn version(&self, owner: &str, level: &str) -> Result<Value, Fault> {
        let listed = self.stage.world.run(owner, &["data", "list"])?;
        let mut all = listed.as_array().into_iter().flatten();
        Ok(all
            .find(|d| d["name"] == "customers-aligned" && d["aligned"]["level"] == level)
            .cloned()
            .unwrap_or_default())
    }

    /// What each of the two saw of the other in a job: what came to it, and what all attest was opened.
    fn saw(&self, done: &Value) -> Result<Value, Fault> {
        let mut all = Vec::new();
        for (i, name) in NODES.iter().take(2).enumerate() {
            let other = NODES[1 - i];
            let sent = self.stage.world.run(other, &["node", "egress"])?;
            let points = sent.as_array().into_iter().flatten();
            let points = points.filter(|row| row["job"] == done["id"] && row["kind"] == "masked points");
            let points: u64 = points.filter_map(|row| row["bytes"].as_u64()).sum();
            self.stage
                .say(format!("    {name} saw {} of masked points of the {other}, no name and no date", bytes(points)));
            all.push(json!({"node": name, "of": other, "masked_points": points}));
        }
        let receipt = self.stage.world.run(RECIPIENT, &["receipt", "show", &done["receipt"].to_string()])?;
        for opened in receipt["disclosures"].as_array().into_iter().flatten() {
            let text = |field: &str| opened[field].as_str().unwrap_or_default();
            let to = if text("to") == "parties" { "both" } else { "the recipient" };
            self.stage.say(format!(
                "    opened, as both attest: {}, to {}, at most {}",
                text("what"),
                to,
                opened["at_most"]
            ));
        }
        Ok(json!({"nodes": all, "opened": receipt["disclosures"]}))
    }

    fn align(&mut self, tables: &[Table]) -> Result<Value, Fault> {
        self.stage.chapter("The bank and the telecom align: masked points cross, and each keeps its own rows.");
        let job = format!(
            "kind = \"align/v1\"\ncontract = \"common\"\n[params]\nlevel = \"both\"\nmode = \"double_mask\"\n\
             keys_min = 50\n{KEY}"
        );
        let done = self.submit("align.toml", &job)?;
        let [bank, telecom, ..] = tables else { return Ok(Value::Null) };
        let common: BTreeSet<&String> = bank.customers.intersection(&telecom.customers).collect();
        self.stage.say(format!("    a join in one place finds {} customers in common", common.len()));
        let mut found = Vec::new();
        let mut as_joined = true;
        for (name, table) in NODES.iter().zip(tables).take(2) {
            let version = self.version(name, "both")?;
            let expected = table.rows.iter().flatten().filter(|id| common.contains(id)).count();
            as_joined &= version["rows"] == json!(expected);
            let rows = table.rows.len();
            self.stage.say(format!(
                "    {name}: customers-aligned has {} of {rows} rows, some customers twice; a join in one place: {expected}",
                version["rows"]
            ));
            found.push(json!({"owner": name, "rows": version["rows"], "of": rows, "expected": expected}));
        }
        let saw = self.saw(&done)?;
        Ok(json!({"job": done["id"], "receipt": done["receipt"], "customers": common.len(), "found": found,
            "as_joined": as_joined, "saw": saw}))
    }

    fn spine(&mut self, tables: &[Table]) -> Result<Value, Fault> {
        self.stage.chapter(
            "The same two make a pseudorandom spine: one id for each customer of either, the same at both. It feeds what \
             computes on shares alone, and nobody learns which customers the other has.",
        );
        let job = format!("kind = \"align/v1\"\ncontract = \"ids\"\n[params]\nlevel = \"spine\"\nkeys_min = 50\n{KEY}");
        let done = self.submit("spine.toml", &job)?;
        let [bank, telecom, ..] = tables else { return Ok(Value::Null) };
        let union = bank.customers.union(&telecom.customers).count();
        let mut found = Vec::new();
        let mut as_joined = true;
        for (name, table) in NODES.iter().zip(tables).take(2) {
            let version = self.version(name, "spine")?;
            // Every row with a key has an id, whoever else has its customer.
            let expected = table.rows.iter().flatten().count();
            as_joined &= version["rows"] == json!(expected);
            self.stage
                .say(format!("    {name}: {} rows with ids, of {union} ids; with a key: {expected}", version["rows"]));
            found.push(json!({"owner": name, "rows": version["rows"], "expected": expected}));
        }
        let saw = self.saw(&done)?;
        Ok(json!({"job": done["id"], "receipt": done["receipt"], "ids": union, "found": found, "as_joined": as_joined,
            "saw": saw}))
    }

    fn across(&mut self, tables: &[Table], spine: &Value) -> Result<Value, Fault> {
        self.stage.chapter(
            "Over these ids: how do columns of the bank go together with columns of the telecom, among the customers that both \
             have? The shop deals the randomness, and neither owner learns over whom.",
        );
        let mut text = format!(
            "name = \"across\"\npurpose = \"customers in common\"\nkinds = [\"cross-stats/v1\"]\ndemander = \"{RECIPIENT}\"\n\
             quota_jobs = 3\nvalid_days = 30\ndealers = [\"{DEALER}\"]\n[cohort]\nrows = 10\ncontributors = 2\n"
        );
        let mut job = format!(
            "kind = \"cross-stats/v1\"\ncontract = \"across\"\ndealer = \"{DEALER}\"\n[params]\nalignment = {}\nrows = 2048\n",
            spine["job"]
        );
        for (owner, columns) in NODES.iter().zip(SUMMED) {
            let version = &self.version(owner, "spine")?["version"];
            text.push_str(&format!(
                "[[datasets]]\nowner = \"{owner}\"\ndataset = \"customers-aligned\"\nversion = {version}\n"
            ));
            job.push_str(&format!("[params.columns.{owner}]\n"));
            columns.iter().for_each(|(column, most)| job.push_str(&format!("{column} = [\"0\", \"{most}\"]\n")));
        }
        self.stage.agree(RECIPIENT, "across", &text, &[NODES[0], NODES[1], DEALER])?;
        let done = self.submit("across.toml", &job)?;
        let result = &done["result"];
        let customers = joined(tables);
        let mut as_joined = result["rows"] == json!(customers.len());
        self.stage.say(format!(
            "    {} customers with one complete row at each; a join in one place: {}",
            result["rows"],
            customers.len()
        ));
        let of = |name: &Value| -> Vec<f64> {
            let place = SUMMED.iter().flatten().position(|(column, _)| name == *column).unwrap_or_default();
            customers.iter().filter_map(|values| values.get(place).copied()).collect()
        };
        let mut pairs = Vec::new();
        for pair in result["pairs"].as_array().into_iter().flatten() {
            let [x, y] = [0, 1].map(|i| of(&pair["columns"][i]));
            let expected = pooled::correlation(&x, &y);
            let found = pair["correlation"].as_f64();
            as_joined &= found.is_some_and(|found| (found - expected).abs() < 1e-6);
            let name = |i: usize| pair["columns"][i].as_str().unwrap_or_default().to_owned();
            self.stage.say(format!(
                "    {:10} with {:12} correlation {:+.9}   pooled {expected:+.9}",
                name(0),
                name(1),
                found.unwrap_or(f64::NAN)
            ));
            pairs.push(json!({"columns": pair["columns"], "correlation": found, "pooled": expected}));
        }
        as_joined &= pairs.len() == 4;
        Ok(
            json!({"job": done["id"], "receipt": done["receipt"], "customers": result["rows"], "expected": customers.len(),
            "pairs": pairs, "as_joined": as_joined}),
        )
    }

    fn count(&mut self, tables: &[Table]) -> Result<Value, Fault> {
        self.stage.chapter(
            "All three count the customers that all have, and how many of them bought what at the shop, padded to 1024 each; \
             nobody learns which.",
        );
        let job = format!(
            "kind = \"match-count/v1\"\ncontract = \"number\"\n[params]\ncollector = \"shop\"\nkeys_min = 50\nsize = 1024\n\
             group = {{ provider = \"shop\", column = \"purpose\", values = {PURPOSES:?} }}\n{KEY}"
        );
        let done = self.submit("count.toml", &job)?;
        let all = tables.iter().map(|t| t.customers.clone()).reduce(|a, b| a.intersection(&b).cloned().collect());
        let all = all.unwrap_or_default();
        let (result, expected) = (&done["result"], all.len());
        self.stage.say(format!("    {} customers; a join in one place: {expected}", result["keys"]));
        let groups: BTreeMap<String, Value> = result["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|group| (group["group"].as_str().unwrap_or_default().to_owned(), group["keys"].clone()))
            .collect();
        let expected_groups = bought(&all);
        for (group, keys) in &groups {
            let joined = expected_groups.get(group).copied().unwrap_or_default();
            self.stage.say(format!("    {group}: {keys}; a join in one place: {joined}"));
        }
        Ok(json!({
            "job": done["id"], "receipt": done["receipt"], "keys": result["keys"], "expected": expected, "groups": groups,
            "expected_groups": expected_groups,
        }))
    }
}

/// The values of the columns in [`SUMMED`], of each customer who has one complete row at the bank and one at the telecom.
fn joined(tables: &[Table]) -> Vec<Vec<f64>> {
    let of = |(table, columns): (&Table, [(&str, u32); 2])| -> BTreeMap<String, Vec<[f64; 2]>> {
        let mut lines = table.csv.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let mut all: BTreeMap<String, Vec<[f64; 2]>> = BTreeMap::new();
        for (line, id) in lines.zip(&table.rows) {
            let fields: Vec<&str> = line.split(',').collect();
            let value = |(column, _): (&str, u32)| {
                let place = names.iter().position(|n| *n == column)?;
                fields.get(place)?.parse().ok()
            };
            if let (Some(id), [Some(a), Some(b)]) = (id, columns.map(value)) {
                all.entry(id.clone()).or_default().push([a, b]);
            }
        }
        all
    };
    let [bank, telecom] = [0, 1].map(|i| tables.get(i).map(|table| of((table, SUMMED[i]))).unwrap_or_default());
    let both = bank.iter().filter_map(|(id, rows)| match (&rows[..], telecom.get(id).map(Vec::as_slice)) {
        ([a], Some([b])) => Some([*a, *b].concat()),
        _ => None,
    });
    both.collect()
}

/// How many of these customers bought what at the shop.
fn bought(customers: &BTreeSet<String>) -> BTreeMap<String, usize> {
    let mut groups: BTreeMap<String, usize> =
        PURPOSES.iter().chain(&["(other)"]).map(|g| ((*g).to_owned(), 0)).collect();
    let rows =
        OWNERS[2].table.lines().skip(1).filter_map(|line| Some((line.split_once(',')?.0, line.rsplit_once(',')?.1)));
    for (_, purpose) in rows.filter(|(id, _)| customers.contains(*id)) {
        let group = if PURPOSES.contains(&purpose) { purpose } else { "(other)" };
        *groups.entry(group.to_owned()).or_default() += 1;
    }
    groups
}
