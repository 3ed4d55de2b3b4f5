//! A small job from its submission to the opened result: a coordinator and three nodes as processes
//! on loopback, one operator connection, one job after the other.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use serde::Serialize;
use tacit_benches::case::median;
use tacit_governance::ColumnKind;
use tacit_tests::craft::{self, Offer};
use tacit_tests::program::program;
use tacit_tests::{Wire, World};
use tacit_types::Fault;

#[derive(Parser)]
struct Arguments {
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// A third of the jobs.
    #[arg(long)]
    quick: bool,
}

const OWNERS: [&str; 3] = ["a", "b", "c"];
const TABLE: &str = "n,g\n1,x\n2,y\n3,x\n4,y\n5,x\n";
/// Jobs whose time is not counted: connections and caches settle.
const WARM_UP: u64 = 3;
/// What the time between submission and end is divided into, by the timeline's words: each phase ends
/// with the last entry of its word.
const PHASES: [&str; 5] = ["admitted", "running", "finished", "attested", "receipted"];

/// What was measured, in seconds.
#[derive(Serialize)]
struct Case {
    case: String,
    parties: usize,
    samples: usize,
    /// The median, as in the other benches.
    seconds: f64,
    p50: f64,
    p90: f64,
    /// Median of each phase by the coordinator's timeline.
    phases: BTreeMap<&'static str, f64>,
    program: String,
    note: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let samples = if arguments.quick { 10 } else { 30 };
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), "after_compare,after_aggregate,after_group_by");
    world.agree("bench", &OWNERS, 10_000, "");
    let offer = Offer::of(&world, "bench", &[("n", ColumnKind::Int), ("g", ColumnKind::Text)]);
    let wire = match Wire::open(&world.home("lab")) {
        Ok(wire) => wire,
        Err(fault) => return failed(&fault),
    };
    let count = serde_json::json!({"filter": "n >= 2"});
    let sums = serde_json::json!({"measures": [{"column": "n", "statistics": ["count", "sum", "mean", "variance"]}]});
    for (kind, params) in [("count/v1", count), ("stats/v1", sums)] {
        match measure(&wire, &offer, kind, &params, samples) {
            Ok(case) => print(&case, arguments.json),
            Err(fault) => return failed(&fault),
        }
    }
    ExitCode::SUCCESS
}

fn failed(fault: &Fault) -> ExitCode {
    eprintln!("{fault}");
    ExitCode::FAILURE
}

fn measure(wire: &Wire, offer: &Offer, kind: &str, params: &serde_json::Value, samples: u64) -> Result<Case, Fault> {
    let (key, recipient) = (wire.key(), wire.seal().public());
    let (mut seconds, mut phases): (Vec<f64>, BTreeMap<&'static str, Vec<f64>>) = Default::default();
    for nonce in 0..samples + WARM_UP {
        let begun = Instant::now();
        let job = craft::sign(&key, &offer.spec(kind, params.clone(), recipient, nonce));
        let id = wire.submit(&job)?;
        let view = wire.ended(id)?;
        wire.result(id)?;
        let took = begun.elapsed().as_secs_f64();
        if nonce < WARM_UP {
            continue;
        }
        seconds.push(took);
        let mut before = view.submitted_at.0;
        for phase in PHASES {
            let last = view.timeline.iter().rev().find(|e| e.what == phase).map_or(before, |e| e.at.0);
            phases.entry(phase).or_default().push(last.saturating_sub(before) as f64 / 1e3);
            before = last;
        }
        let rest = took - before.saturating_sub(view.submitted_at.0) as f64 / 1e3;
        phases.entry("released and opened").or_default().push(rest.max(0.0));
    }
    seconds.sort_by(f64::total_cmp);
    let p90 = seconds.get(seconds.len() * 9 / 10).copied().unwrap_or_default();
    let p50 = median(seconds.clone());
    Ok(Case {
        case: format!("end_to_end_{}", kind.replace("/v1", "")),
        parties: OWNERS.len(),
        samples: seconds.len(),
        seconds: p50,
        p50,
        p90,
        phases: phases.into_iter().map(|(phase, values)| (phase, median(values))).collect(),
        program: program("tacit").display().to_string(),
        note: "signing, submission, three nodes, cosigned receipt, opened result; all on this machine".into(),
    })
}

fn print(case: &Case, json: bool) {
    if json {
        return println!("{}", serde_json::to_string(case).unwrap_or_default());
    }
    println!(
        "{:24} p50 {:.0} ms, p90 {:.0} ms, {} jobs of {} parties",
        case.case,
        case.p50 * 1e3,
        case.p90 * 1e3,
        case.samples,
        case.parties
    );
    for (phase, seconds) in &case.phases {
        println!("    {phase:20} {:6.0} ms", seconds * 1e3);
    }
    println!("    with {}", case.program);
}
