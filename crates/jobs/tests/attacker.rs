//! A reader who solves: every table of whole numbers that fits what a job released is listed, and no set of rows may
//! have one size in all of them if that size is below the floor.
//!
//! Rows are told apart by what the tables can tell apart: their group, whether they have a value, the bin. Suppressed
//! cells are unknowns. What the reader may infer from a cell being suppressed is not used.

use serde_json::{Value, json};
use tacit_governance::{Cohort, ColumnKind};
use tacit_jobs::{ColumnKinds, Plan};
use tacit_types::{Column, Columns, Values};

mod world;
use world::World;

const FLOOR: Cohort = Cohort { rows: 3, contributors: 2 };
/// Tables drawn for each job.
const DRAWS: u64 = 24;

/// Numbers that look random and are the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A row: a group, and three columns that may be empty.
type Row = (&'static str, [Option<i64>; 3]);

const NAMES: [&str; 3] = ["u", "v", "w"];

fn columns(rows: &[Row]) -> Columns {
    let group = Values::Text(rows.iter().map(|r| r.0.to_owned()).collect());
    let mut columns = vec![Column { name: "g".into(), values: group, valid: None }];
    for (i, name) in NAMES.iter().enumerate() {
        columns.push(Column {
            name: (*name).into(),
            values: Values::Int(rows.iter().map(|r| r.1[i].unwrap_or(0)).collect()),
            valid: Some(rows.iter().map(|r| r.1[i].is_some()).collect()),
        });
    }
    Columns { rows: rows.len(), columns }
}

fn plan(params: Value) -> Box<dyn Plan> {
    let mut kinds = ColumnKinds::from([("g".to_owned(), ColumnKind::Text)]);
    kinds.extend(NAMES.map(|name| (name.to_owned(), ColumnKind::Int)));
    let kind = tacit_jobs::kind("stats/v1").unwrap();
    kind.plan(&kind.params(params, &kinds).unwrap(), &tacit_jobs::Parts::default()).unwrap()
}

/// What a job released: how much each row adds to a number, and the number.
struct Equation {
    weights: Vec<i64>,
    value: i64,
}

/// The sets of rows, as masks of atoms, whose size is the same in every solution, with that size.
fn determined(atoms: usize, equations: &[Equation]) -> Vec<(u32, i64)> {
    let mut solver = Solver { atoms, equations, table: vec![0; atoms], first: None, sets: Vec::new() };
    solver.go(0, &vec![0; equations.len()]);
    let first = solver.first.expect("the true table is a solution");
    solver.sets.iter().map(|set| (*set, size(&first, *set))).collect()
}

fn size(table: &[i64], set: u32) -> i64 {
    table.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, n)| n).sum()
}

struct Solver<'a> {
    atoms: usize,
    equations: &'a [Equation],
    table: Vec<i64>,
    first: Option<Vec<i64>>,
    /// Sets that had one size so far.
    sets: Vec<u32>,
}

impl Solver<'_> {
    /// Fills the table from `at` on. The first equation counts all rows.
    fn go(&mut self, at: usize, so_far: &[i64]) {
        if at == self.atoms {
            if self.equations.iter().zip(so_far).all(|(e, sum)| e.value == *sum) {
                self.found();
            }
            return;
        }
        let mut sums = so_far.to_vec();
        loop {
            self.go(at + 1, &sums);
            self.table[at] += 1;
            let mut over = false;
            for (sum, e) in sums.iter_mut().zip(self.equations) {
                *sum += e.weights[at];
                over |= *sum > e.value && e.weights.iter().all(|w| *w >= 0);
            }
            if over {
                break;
            }
        }
        self.table[at] = 0;
    }

    fn found(&mut self) {
        match &self.first {
            None => {
                self.first = Some(self.table.clone());
                self.sets = (1..1u32 << self.atoms).collect();
            }
            Some(first) => self.sets.retain(|set| size(first, *set) == size(&self.table, *set)),
        }
    }
}

fn isolated(sets: &[(u32, i64)]) -> Vec<(u32, i64)> {
    sets.iter().copied().filter(|(_, n)| *n > 0 && *n < FLOOR.rows as i64).collect()
}

/// What tells the rows of a job apart.
struct Scene {
    job: Value,
    /// Whether groups differ.
    groups: bool,
    /// For each column the values that rows are drawn from, and so told apart by; `None` is empty.
    values: [&'static [Option<i64>]; 3],
    rows_max: u64,
}

impl Scene {
    fn atoms(&self) -> Vec<Row> {
        let groups: &[&'static str] = if self.groups { &["a", "z"] } else { &["z"] };
        let mut atoms = Vec::new();
        for g in groups {
            for u in self.values[0] {
                for v in self.values[1] {
                    atoms.extend(self.values[2].iter().map(|w| (*g, [*u, *v, *w])));
                }
            }
        }
        atoms
    }

    /// Rows for three parties. Some atoms are rare, as they are in life.
    fn draw(&self, d: &mut Draw) -> Vec<Vec<Row>> {
        let atoms = self.atoms();
        let usual: Vec<Row> = (0..1 + d.below(3)).map(|_| atoms[d.below(atoms.len() as u64) as usize]).collect();
        let mut parties = vec![Vec::new(); 3];
        for _ in 0..6 + d.below(self.rows_max - 5) {
            let rare = d.below(3) == 0;
            let row = if rare {
                atoms[d.below(atoms.len() as u64) as usize]
            } else {
                usual[d.below(usual.len() as u64) as usize]
            };
            parties[d.below(3) as usize].push(row);
        }
        parties
    }

    /// Runs the job; gives the equations of its counts, or nothing when there are too few rows for any.
    fn release(&self, parties: &[Vec<Row>]) -> Option<Vec<Equation>> {
        let mut world = World::new(3);
        world.floor = FLOOR;
        let plan = plan(self.job.clone());
        let batches: Vec<Vec<Columns>> = parties.iter().map(|p| vec![columns(p)]).collect();
        let json = world.open(plan.as_ref(), &world.run(plan.as_ref(), &batches, None));
        json["rows"][0]["rows"].as_i64()?;
        let counts = self.read(&json);
        let truth: Vec<i64> =
            self.atoms().iter().map(|a| parties.iter().flatten().filter(|r| *r == a).count() as i64).collect();
        for e in &counts {
            let value: i64 = e.weights.iter().zip(&truth).map(|(w, n)| w * n).sum();
            assert_eq!(value, e.value, "an equation was read wrongly: {json}");
        }
        Some(counts)
    }

    fn read(&self, json: &Value) -> Vec<Equation> {
        let atoms = self.atoms();
        let equation = |value: &Value, weight: &dyn Fn(&Row) -> i64| {
            value.as_i64().map(|value| Equation { weights: atoms.iter().map(weight).collect(), value })
        };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let column = |value: &Value| NAMES.iter().position(|n| value == n).unwrap();
        let mut counts = Vec::new();
        for group in list(&json["rows"]) {
            counts.extend(equation(&group["rows"], &|r| i64::from(in_group(r, &group["group"]))));
        }
        for measure in list(&json["measures"]) {
            let c = column(&measure["column"]);
            for group in list(&measure["groups"]) {
                let valued = |r: &Row| r.1[c].filter(|_| in_group(r, &group["group"]));
                counts.extend(equation(&group["count"], &|r| i64::from(valued(r).is_some())));
            }
        }
        for histogram in list(&json["histograms"]) {
            let c = column(&histogram["column"]);
            // Edges 0, 1, 2, 3: below, one value a bin but for the last with two, above.
            for (bin, entry) in list(&histogram["bins"]).iter().enumerate() {
                let within = |x: i64| match bin {
                    0 => x < 0,
                    1 | 2 => x == bin as i64 - 1,
                    3 => x == 2 || x == 3,
                    _ => x > 3,
                };
                counts.extend(equation(&entry["count"], &|r| i64::from(r.1[c].is_some_and(within))));
            }
        }
        let matrix = &json["matrix"];
        let among: Vec<usize> = list(&matrix["columns"]).iter().map(column).collect();
        counts.extend(equation(&matrix["rows"], &|r| i64::from(among.iter().all(|c| r.1[*c].is_some()))));
        counts
    }

    /// How many of the drawn tables released something beside the rows, and the sets that counts alone isolate.
    fn attack(&self, seed: u64) -> (usize, Vec<(u64, u32, i64)>) {
        let (mut told, mut found) = (0, Vec::new());
        for draw in 0..DRAWS {
            let parties = self.draw(&mut Draw(seed * 1000 + draw));
            let Some(counts) = self.release(&parties) else { continue };
            told += usize::from(counts.len() > 1);
            let sets = isolated(&determined(self.atoms().len(), &counts));
            found.extend(sets.into_iter().map(|(set, n)| (draw, set, n)));
        }
        (told, found)
    }
}

fn in_group(row: &Row, group: &Value) -> bool {
    match group.as_str() {
        Some("all") => true,
        Some("(other)") => row.0 == "z",
        other => other == Some(row.0),
    }
}

const NOTHING: &[Option<i64>] = &[None];
const MAYBE: &[Option<i64>] = &[None, Some(1)];

fn measure(column: &str, statistics: &[&str]) -> Value {
    json!({"column": column, "statistics": statistics, "bound": "9"})
}

fn edges(column: &str) -> Value {
    json!({"column": column, "edges": ["0", "1", "2", "3"]})
}

/// The solver itself: two margins of a table of two by two do not fix it, unless one of them is empty.
#[test]
fn the_solver_solves() {
    let all = |value| Equation { weights: vec![1, 1, 1, 1], value };
    let left = |value| Equation { weights: vec![1, 1, 0, 0], value };
    let top = |value| Equation { weights: vec![1, 0, 1, 0], value };
    let sets = determined(4, &[all(10), left(4), top(6)]);
    let mut sizes: Vec<(u32, i64)> = vec![(0b0011, 4), (0b1100, 6), (0b0101, 6), (0b1010, 4), (0b1111, 10)];
    sizes.sort_unstable();
    assert_eq!(sets, sizes);
    assert_eq!(isolated(&determined(4, &[all(10), left(0), top(8)])).len(), 4, "of two rows, with any empty ones");
}

/// Groups, rows without a value in each, and bins of the same column.
#[test]
fn counts_by_group_beside_a_histogram_isolate_nobody() {
    let scene = Scene {
        job: json!({
            "group_by": {"column": "g", "values": ["a"]}, "measures": [measure("u", &["count"])],
            "histograms": [edges("u")],
        }),
        groups: true,
        values: [&[None, Some(0), Some(1), Some(2)], NOTHING, NOTHING],
        rows_max: 14,
    };
    let (told, found) = scene.attack(1);
    assert!(told > 10 && found.is_empty(), "{told} told something: {found:?}");
}

/// Two measures by groups and a histogram of a third column.
#[test]
fn several_tables_over_the_same_rows_isolate_nobody() {
    let scene = Scene {
        job: json!({
            "group_by": {"column": "g", "values": ["a"]},
            "measures": [measure("u", &["count"]), measure("v", &["count", "mean"])],
            "histograms": [edges("w")],
        }),
        groups: true,
        values: [MAYBE, MAYBE, &[Some(0), Some(2)]],
        rows_max: 10,
    };
    let mut scene_small = scene;
    scene_small.values[2] = &[Some(0)];
    let (told, found) = scene_small.attack(2);
    assert!(told > 10 && found.is_empty(), "{told} told something: {found:?}");
    scene_small.values = [MAYBE, &[Some(1)], &[Some(0), Some(2)]];
    let (told, found) = scene_small.attack(3);
    assert!(told > 10 && found.is_empty(), "{told} told something: {found:?}");
}

/// The matrix leaves out rows that measures and histograms of its columns count.
#[test]
fn a_matrix_beside_its_columns_isolates_nobody() {
    let mut scene = Scene {
        job: json!({
            "measures": [measure("u", &["count", "mean"]), measure("v", &["count"])],
            "matrix": {"columns": ["u", "v"]},
        }),
        groups: false,
        values: [MAYBE, MAYBE, NOTHING],
        rows_max: 24,
    };
    let (told, found) = scene.attack(4);
    assert!(told > 10 && found.is_empty(), "{told} told something: {found:?}");
    scene.job = json!({
        "measures": [measure("u", &["mean", "count"]), measure("v", &["count"]), measure("w", &["count"])],
        "matrix": {"columns": ["u", "v", "w"]},
    });
    scene.values = [MAYBE; 3];
    scene.rows_max = 16;
    let (told, found) = scene.attack(5);
    assert!(told > 5 && found.is_empty(), "{told} told something: {found:?}");
}

/// Why a histogram and a sum of one column are no job: here every bin is at the floor, and the sum tells how the rows of
/// one bin are spread over the two values that it may hold.
#[test]
fn a_histogram_beside_a_sum_would_isolate() {
    let values = [0i64, 1, 2, 3];
    let bin = |within: &dyn Fn(i64) -> bool, value| Equation {
        weights: values.iter().map(|v| i64::from(within(*v))).collect(),
        value,
    };
    let bins = || vec![bin(&|_| true, 14), bin(&|v| v == 0, 5), bin(&|v| v == 1, 5), bin(&|v| v > 1, 4)];
    assert!(isolated(&determined(4, &bins())).is_empty());
    let mut with_the_sum = bins();
    with_the_sum.push(Equation { weights: values.to_vec(), value: 14 });
    assert!(isolated(&determined(4, &with_the_sum)).contains(&(0b1000, 1)), "one row holds the value 3");
    let job = json!({"measures": [measure("u", &["sum"])], "histograms": [edges("u")]});
    let kinds = ColumnKinds::from([("u".to_owned(), ColumnKind::Int)]);
    let refused = tacit_jobs::kind("stats/v1").unwrap().params(job, &kinds);
    assert_eq!(refused.unwrap_err().code, tacit_types::Code::RefusedParameters);
}
