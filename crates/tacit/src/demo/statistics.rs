//! `tacit demo`: joint statistics of hospitals, a refused job, and a killed node.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_types::{Code, Fault};

use super::Play;
use super::pooled::{self, Pool};
use super::stage::Stage;

const TABLES: [(&str, &str); 4] = [
    ("hospital-a", include_str!("../../../../examples/data/hospital-a.csv")),
    ("hospital-b", include_str!("../../../../examples/data/hospital-b.csv")),
    ("hospital-c", include_str!("../../../../examples/data/hospital-c.csv")),
    ("hospital-d", include_str!("../../../../examples/data/hospital-d.csv")),
];

/// Columns that the hospitals offer for statistics; the others stay closed.
const OFFERED: [&str; 6] =
    ["mean_radius", "mean_texture", "mean_perimeter", "mean_area", "mean_smoothness", "mean_symmetry"];

const PURPOSE: &str = "quality of breast cancer screening";

/// Rows that a number must rest on, as the contracts say.
const FLOOR_ROWS: u64 = 10;

/// Tries at killing a node while a job runs, before the demo gives up.
const KILL_TRIES: usize = 3;

/// The demonstration.
pub const PLAY: Play = Play {
    play: |stage| Demo { stage, jobs: Vec::new() }.play(),
    to_try: &[
        ("institute", "job list"),
        ("hospital-a", "contract show screening-3"),
        ("institute", "receipt list"),
        ("hospital-b", "node egress"),
        ("hospital-c", "doctor"),
    ],
};

struct Demo<'a> {
    stage: &'a mut Stage,
    jobs: Vec<Value>,
}

impl Demo<'_> {
    fn play(&mut self) -> Result<Value, Fault> {
        self.enrol()?;
        self.register_data(3)?;
        self.sign_contract("screening-3", 3)?;
        self.three_jobs()?;
        let refused = self.refused_job()?;
        self.lose_a_node()?;
        let receipts = self.stage.verify("institute", "hospitals")?;
        let egress = self.stage.egress(&TABLES.map(|(name, _)| name))?;
        let seconds = self.stage.seconds();
        let exact = self.jobs.iter().all(|j| {
            let error = j["max_relative_error"].as_f64();
            j["state"] == json!("succeeded") && error.is_some_and(|e| e <= 1e-6) && j["compared"] != json!(0)
        });
        let sound = exact && refused["state"] == json!("refused") && Stage::verified(&receipts);
        self.stage.chapter(if sound { "All of it held." } else { "Something did not hold: see above." });
        Ok(json!({
            "jobs": self.jobs, "refused": [refused], "receipts": receipts, "egress": egress,
            "seconds": seconds, "sound": sound,
        }))
    }

    fn enrol(&mut self) -> Result<(), Fault> {
        self.stage.chapter("A coordinator and three hospitals, each a process with its own keys and database.");
        self.stage.coordinate()?;
        for (name, _) in TABLES.iter().take(3) {
            self.stage.join(name, "node")?;
        }
        self.stage.join("institute", "operator")
    }

    fn register_data(&mut self, hospitals: usize) -> Result<(), Fault> {
        self.stage.chapter("Each registers its own rows in place (569 real biopsies in all) and says what may leave.");
        for (name, table) in TABLES.iter().take(hospitals) {
            self.open_hospital(name, table)?;
        }
        Ok(())
    }

    fn open_hospital(&mut self, name: &str, table: &str) -> Result<(), Fault> {
        let file = self.stage.world.write(&format!("{name}.csv"), table)?;
        let levels: Vec<String> = OFFERED.iter().map(|c| format!("{c}=after_aggregate,after_compare")).collect();
        let file = file.display().to_string();
        let mut args =
            vec!["data", "add", "biopsies", file.as_str(), "--level", "diagnosis=after_group_by,after_compare"];
        for level in &levels {
            args.extend(["--level", level.as_str()]);
        }
        let added = self.stage.world.run(name, &args)?;
        self.stage.say(format!("    {} rows; others learn only: at most {}", added["rows"], added["row_bucket"]));
        self.stage.world.daemon(name, &["node", "run"])
    }

    fn sign_contract(&mut self, contract: &str, hospitals: usize) -> Result<(), Fault> {
        self.stage
            .chapter("A contract: who, which columns, for what, how often. In force when every owner has signed it.");
        let mut text = format!(
            "name = \"{contract}\"\npurpose = \"{PURPOSE}\"\nkinds = [\"stats/v1\", \"count/v1\"]\n\
             demander = \"institute\"\nquota_jobs = 20\nvalid_days = 30\n\n[cohort]\nrows = {FLOOR_ROWS}\ncontributors = 2\n"
        );
        for (name, _) in TABLES.iter().take(hospitals) {
            text.push_str(&format!("\n[[datasets]]\nowner = \"{name}\"\ndataset = \"biopsies\"\n"));
        }
        let signers: Vec<&str> = TABLES.iter().take(hospitals).map(|t| t.0).collect();
        self.stage.agree("institute", contract, &text, &signers)
    }

    fn three_jobs(&mut self) -> Result<(), Fault> {
        let pool = Pool::new(&TABLES.iter().take(3).map(|t| t.1).collect::<Vec<_>>());
        let columns = ["mean_radius", "mean_area", "mean_texture"];
        self.stage.chapter("Job 1: means and variances by diagnosis. Beside each: what pooling the rows would give.");
        let mut text = job_file("stats/v1", "screening-3");
        for column in columns {
            text.push_str(&format!(
                "[[params.measures]]\ncolumn = \"{column}\"\nstatistics = [\"count\", \"sum\", \"mean\", \"variance\", \"stddev\"]\nbound = \"4096\"\n"
            ));
        }
        text.push_str("[params.group_by]\ncolumn = \"diagnosis\"\nvalues = [\"malignant\", \"benign\"]\n");
        let pooled = pool.measures(
            &columns,
            &["count", "sum", "mean", "variance", "stddev"],
            Some(("diagnosis", &["malignant", "benign"])),
        );
        self.job("job-1.toml", &text, pooled)?;
        self.stage.chapter("Job 2: a histogram and quartiles.");
        let text = job_file("stats/v1", "screening-3")
            + "[[params.histograms]]\ncolumn = \"mean_radius\"\nedges = [\"6\", \"10\", \"14\", \"18\", \"22\", \"30\"]\n\
               [[params.quantiles]]\ncolumn = \"mean_area\"\nprobabilities = [\"0.25\", \"0.5\", \"0.75\"]\nlow = \"0\"\nhigh = \"4096\"\n";
        let pooled = json!({
            "histograms": pool.histogram("mean_radius", &[6.0, 10.0, 14.0, 18.0, 22.0, 30.0], FLOOR_ROWS),
            "quantiles": pool.quantiles("mean_area", &[0.25, 0.5, 0.75]),
        });
        self.job("job-2.toml", &text, pooled)?;
        self.stage.chapter("Job 3: a correlation matrix.");
        let text = job_file("stats/v1", "screening-3")
            + "[params.matrix]\ncolumns = [\"mean_radius\", \"mean_texture\", \"mean_smoothness\"]\ncorrelation = true\nbound = \"4096\"\n";
        let pooled = json!({"matrix": pool.matrix(&["mean_radius", "mean_texture", "mean_smoothness"])});
        self.job("job-3.toml", &text, pooled)
    }

    fn job(&mut self, file: &str, text: &str, pooled: Value) -> Result<(), Fault> {
        let path = self.stage.world.write(file, text)?;
        let done =
            self.stage.world.run_soon("institute", &["job", "submit", &path.display().to_string(), "--watch"])?;
        self.take_job(done, pooled);
        Ok(())
    }

    fn take_job(&mut self, done: Value, pooled: Value) {
        let (error, numbers) = pooled::compare(&pooled, &done["result"]);
        self.show(&done["result"], &pooled);
        self.stage.say(format!(
            "    {} numbers equal the pooled ones; largest relative difference {error:.1e}; {} ms; receipt at leaf {}",
            numbers, done["elapsed_ms"], done["receipt"]
        ));
        self.jobs.push(json!({
            "compared": numbers, "id": done["id"], "kind": done["kind"], "state": done["state"], "result": done["result"], "pooled": pooled,
            "max_relative_error": error, "receipt": done["receipt"], "elapsed_ms": done["elapsed_ms"],
        }));
    }

    /// A few numbers beside the pooled ones.
    fn show(&self, result: &Value, pooled: &Value) {
        let line = |label: String, joint: &Value, pooled: &Value| {
            self.stage.say(format!("    {label:<34} {:>22}   pooled {:>22}", short(joint), short(pooled)));
        };
        for (m, measure) in pooled["measures"].as_array().into_iter().flatten().enumerate() {
            for (g, group) in measure["groups"].as_array().into_iter().flatten().enumerate() {
                let joint = &result["measures"][m]["groups"][g];
                let label = format!(
                    "{} mean, {}",
                    measure["column"].as_str().unwrap_or(""),
                    group["group"].as_str().unwrap_or("")
                );
                line(label, &joint["mean"], &group["mean"]);
            }
        }
        for (i, q) in pooled["quantiles"].as_array().into_iter().flatten().enumerate() {
            line(
                format!("{} at {}", q["column"].as_str().unwrap_or(""), q["probability"]),
                &result["quantiles"][i]["value"],
                &q["value"],
            );
        }
        if let Some(rows) = pooled["matrix"]["correlation"].as_array() {
            for i in 1..rows.len() {
                let label = format!("correlation of columns {} and {}", 1, i + 1);
                line(label, &result["matrix"]["correlation"][0][i], &rows[0][i]);
            }
        }
    }

    fn refused_job(&mut self) -> Result<Value, Fault> {
        self.stage.chapter(
            "Job 4 asks for a column that no hospital offers. The nodes refuse; the refusal is receipted too.",
        );
        let text = job_file("stats/v1", "screening-3")
            + "[[params.measures]]\ncolumn = \"worst_area\"\nstatistics = [\"mean\"]\nbound = \"8192\"\n";
        self.stage.refused("institute", "job-4.toml", &text)
    }

    fn lose_a_node(&mut self) -> Result<(), Fault> {
        self.stage
            .chapter("A fourth hospital joins. Its node is killed while a job runs; the others finish without it.");
        let (name, table) = TABLES[3];
        self.stage.join(name, "node")?;
        self.open_hospital(name, table)?;
        self.sign_contract("screening-4", 4)?;
        let mut text = job_file("stats/v1", "screening-4");
        text.push_str(
            "[[params.measures]]\ncolumn = \"mean_radius\"\nstatistics = [\"count\", \"mean\"]\nbound = \"4096\"\n",
        );
        for column in &OFFERED[..4] {
            text.push_str(&format!(
                "[[params.quantiles]]\ncolumn = \"{column}\"\nprobabilities = [\"0.25\", \"0.5\", \"0.75\"]\nlow = \"0\"\nhigh = \"4096\"\n"
            ));
        }
        let path = self.stage.world.write("job-5.toml", &text)?.display().to_string();
        for _ in 0..KILL_TRIES {
            let submitted = self.stage.world.run_soon("institute", &["job", "submit", &path])?;
            let id = submitted["id"].as_str().unwrap_or_default().to_owned();
            let Some(killed) = self.kill_in_time(&id)? else {
                self.stage.say("    the job was faster than the kill; again");
                continue;
            };
            self.stage.say(format!("    killed {killed} (SIGKILL)"));
            let (done, _) = self.stage.world.try_run("institute", &["job", "watch", &id])?;
            if done["state"] != json!("succeeded") {
                // Lost after its last vote, a node takes its part of the key with it: no result, by design.
                self.stage.say(format!("    the job ended with {}: {killed} was lost too late; again", done["code"]));
                self.stage.world.daemon(killed, &["node", "run"])?;
                continue;
            }
            let opened = self.stage.world.run("institute", &["job", "result", &id])?;
            let parties = &opened["result"]["parties"];
            self.stage.say(format!("    {parties} of 4 hospitals are in the result"));
            if *parties != json!(3) {
                self.stage.say(format!("    {killed} had given all that it had to give; again"));
                self.stage.world.daemon(killed, &["node", "run"])?;
                continue;
            }
            let tables: Vec<&str> = TABLES.iter().filter(|t| t.0 != killed).map(|t| t.1).collect();
            let pool = Pool::new(&tables);
            let mut pooled = pool.measures(&["mean_radius"], &["count", "mean"], None);
            let quantiles: Vec<Value> = OFFERED[..4]
                .iter()
                .flat_map(|c| pool.quantiles(c, &[0.25, 0.5, 0.75]).as_array().cloned().unwrap_or_default())
                .collect();
            pooled["quantiles"] = Value::Array(quantiles);
            let mut job = opened;
            job["elapsed_ms"] = done["elapsed_ms"].clone();
            self.take_job(job, pooled);
            return Ok(());
        }
        Err(Fault::new(Code::Internal, "the node could not be killed while a job ran"))
    }

    /// Kills a node's process once a job is past its first joint sum, and gives its name. The node
    /// that adds for all is left alone: without it an attempt has no end. `None` when the job ended
    /// first. The nodes' own logs say how far they are at once; asking would take longer than a round.
    fn kill_in_time(&mut self, id: &str) -> Result<Option<&'static str>, Fault> {
        let begun = Instant::now();
        let mut asked = begun;
        while begun.elapsed() < Duration::from_secs(20) {
            for (name, _) in [TABLES[3], TABLES[2]] {
                if under_way(&self.stage.world.logged(name), id) {
                    self.stage.world.kill(name)?;
                    return Ok(Some(name));
                }
            }
            if asked.elapsed() > Duration::from_millis(500) {
                let view = self.stage.world.run("institute", &["job", "show", id])?;
                if view["receipt"].is_number() || view["state"] == json!("settling") {
                    return Ok(None);
                }
                asked = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(None)
    }
}

/// Whether a node's log says that it is past a job's first joint sum, and does not add for all.
fn under_way(log: &str, id: &str) -> bool {
    let job = format!("job={}", id.get(..8).unwrap_or(id));
    log.lines().any(|line| {
        let round = line.split("round=").nth(1).and_then(|r| r.split(' ').next()).and_then(|r| r.parse::<u16>().ok());
        line.contains(&job) && line.contains("aggregates=false") && round >= Some(2)
    })
}

fn job_file(kind: &str, contract: &str) -> String {
    format!("kind = \"{kind}\"\ncontract = \"{contract}\"\n")
}

fn short(value: &Value) -> String {
    match value {
        Value::Number(n) => n.as_f64().map_or_else(|| n.to_string(), |f| format!("{f:.9}")),
        Value::Null => "suppressed".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::under_way;

    #[test]
    fn a_log_tells_how_far_a_job_is() {
        let line = |job: &str, round: u16, aggregates: bool| {
            format!(
                "2026-01-01T00:00:00Z DEBUG tacit_node::runner: under way job={job} round={round} aggregates={aggregates}\n"
            )
        };
        let id = "0123456789abcdef";
        assert!(under_way(&(line("01234567", 1, false) + &line("01234567", 2, false)), id));
        assert!(!under_way(&line("01234567", 1, false), id) && !under_way(&line("01234567", 3, true), id));
        assert!(!under_way(&line("76543210", 3, false), id) && !under_way("", id));
    }
}
