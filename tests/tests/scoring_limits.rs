//! The limit on different keys, through the programs: each owner's node counts a key once in a period, in spite of kill -9,
//! and keeps no key.

mod private;

use std::time::{Duration, Instant};

use private::{HEAD, Private, keys, table};
use serde_json::json;
use tacit_engine::Terminal;
use tacit_jobs::session;
use tacit_tests::Wire;
use tacit_tests::world::shown;
use tacit_types::Code;

const KEYS: usize = 9_000;
const MORE: usize = 1_000;

#[test]
fn a_recipient_asks_about_so_many_different_keys_in_a_period_and_no_crash_forgets_one() {
    let limit = KEYS + MORE;
    let terms = format!("rows = 1000000\nprecision = \"score\"\ndistinct = {{ keys = {limit}, days = 7 }}");
    let mut private = Private::new(vec![table("telecom", 3, limit + 10, 1)], "bank", &terms);
    let all = keys(limit + 10);
    let contract = private.world.run("lab", &["contract", "show", "credit"]).ok();
    assert_eq!(contract["scoring"]["distinct"], json!({"keys": limit, "days": 7}), "{contract}");

    // More than a period has: the tool says so before a key leaves, whatever it is asked.
    let file = private.job(HEAD, &all, "");
    for command in ["plan", "submit"] {
        let what = private.world.run("lab", &["job", command, &shown(&file)]).fails("refused.distinct");
        assert!(what.contains(&format!("{} different keys", limit + 10)), "{what}");
    }
    // The node is killed in the middle of a job whose keys it has counted.
    let id = private.begin(&all[..KEYS], "output = \"decision\"\nthreshold = \"0\"");
    let wire = Wire::open(&private.world.home("lab")).unwrap();
    let begun = Instant::now();
    loop {
        let view = wire.job(id).unwrap();
        assert!(view.terminal.is_none() && begun.elapsed() < Duration::from_secs(60), "{view:?}");
        if view.step.is_some_and(|step| session::phase_name(step) == "compute") {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    private.world.kill("telecom");
    let view = wire.ended(id).unwrap();
    assert!(matches!(view.terminal, Some(Terminal::Failed { code: Code::JobPeerLost, .. })), "{view:?}");
    private.world.start("telecom");
    private.world.wait_there("lab", private.nodes.len());

    // They are counted, and once: the rest of the period goes, with keys of before and some twice.
    let mut rest = all[KEYS - 100..limit].to_vec();
    rest.extend_from_slice(&all[limit - 50..limit]);
    let done = private.submit(&rest, "").ok();
    private.check(&done, &rest, |key| private.plain(key));
    private.world.kill("telecom");
    private.world.start("telecom");
    private.world.wait_there("lab", private.nodes.len());
    let one_more = [all[0].clone(), all[limit].clone()];
    let refused = private.submit(&one_more, "");
    let said = &refused.json;
    assert_eq!((&said["code"], &said["party"]), (&json!("refused.distinct"), &json!("telecom")), "{said}");
    let reason = said["reason"].as_str().unwrap();
    assert!(reason.contains("more different keys than are left in this period: 0 of 10000 until 20"));
    assert_eq!(refused.status, 3, "{said}");
    let again = private.submit(&all[..20], "").ok();
    private.check(&again, &all[..20], |key| private.plain(key));

    // No key is on the owner's disk but in its own table.
    assert_eq!(private.world.stop("telecom"), 0);
    for file in std::fs::read_dir(private.world.home("telecom")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(8).any(|w| w == all[7].as_bytes()), "{}", path.display());
        }
    }
}
