//! Reviews of algorithms (算法审查): the program's own implementation of a kind, run over the kind's test vectors with fixed
//! seeds. A reviewer signs what came out; an owner's node runs the same vectors of its own build and compares.
//!
//! The vectors are part of the program. What is hashed of one is the vector itself and everything that follows from it: the bytes that are
//! signed, what may be opened, what is touched, and for a run the opened result and each seat's counts.

mod bench;
mod vectors;

use std::sync::OnceLock;

use tacit_crypto::{Transcript, sha256};
use tacit_governance::orders::VectorRun;
use tacit_types::{Code, Fault, Hash};

pub use vectors::{OWNER, Roles, Vectors, Writing};

/// The test vectors of each kind, in the order of the catalogue.
const FILES: [(&str, &str); crate::CATALOG.len()] = [
    ("stats/v1", include_str!("../../../../tests/vectors/jobs/stats-v1.json")),
    ("count/v1", include_str!("../../../../tests/vectors/jobs/count-v1.json")),
    ("score-linear/v1", include_str!("../../../../tests/vectors/jobs/score-linear-v1.json")),
    ("score-trees/v1", include_str!("../../../../tests/vectors/jobs/score-trees-v1.json")),
    ("score-network/v1", include_str!("../../../../tests/vectors/jobs/score-network-v1.json")),
    ("verify/v1", include_str!("../../../../tests/vectors/jobs/verify-v1.json")),
    ("align/v1", include_str!("../../../../tests/vectors/jobs/align-v1.json")),
    ("match-count/v1", include_str!("../../../../tests/vectors/jobs/match-count-v1.json")),
    ("lookup/v1", include_str!("../../../../tests/vectors/jobs/lookup-v1.json")),
    ("cross-stats/v1", include_str!("../../../../tests/vectors/jobs/cross-stats-v1.json")),
];

/// What came out of a kind's test vectors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reviewed {
    /// The hash of the file of vectors.
    pub vectors: Hash,
    /// Each vector with the hash of what it gave, in the order of the file.
    pub runs: Vec<VectorRun>,
}

/// The test vectors of a kind as this build has them.
///
/// # Errors
/// `refused.kind` for a kind that this version does not have; `internal` for a file that cannot be read.
pub fn vectors(kind: &str) -> Result<Vectors, Fault> {
    let known = crate::kind(kind)?;
    let file = FILES.iter().find(|(id, _)| *id == known.id()).map(|(_, text)| *text);
    let read = file.and_then(|text| serde_json::from_str(text).ok());
    read.ok_or_else(|| Fault::new(Code::Internal, format!("the test vectors of `{}`", known.id())))
}

/// Runs a kind over its test vectors.
///
/// # Errors
/// Those of [`vectors`]; `internal` naming the vector that the program does not get through.
pub fn run(kind: &str) -> Result<Reviewed, Fault> {
    let all = vectors(kind)?;
    let text = FILES.iter().find(|(id, _)| *id == all.kind).map(|(_, text)| *text).unwrap_or_default();
    over(&all, text)
}

/// What came out of each kind's vectors in this process.
static DONE: [OnceLock<Vec<VectorRun>>; FILES.len()] = [const { OnceLock::new() }; FILES.len()];

fn done(kind: &str) -> Option<&'static OnceLock<Vec<VectorRun>>> {
    DONE.get(FILES.iter().position(|(id, _)| *id == kind)?)
}

/// What this build gives of a kind's vectors, run once in a process, since a build gives the same each time: nothing where it does
/// not get through them, so that no review of them holds.
pub fn runs(kind: &str) -> Vec<VectorRun> {
    let run = || run(kind).map(|reviewed| reviewed.runs).unwrap_or_default();
    done(kind).map(|done| done.get_or_init(run).clone()).unwrap_or_default()
}

/// Whether [`runs`] has nothing to run for a kind.
pub fn is_run(kind: &str) -> bool {
    done(kind).is_none_or(|done| done.get().is_some())
}

/// What [`runs`] gave, for a decision, which waits for nothing: as of one that does not get through while they were not run.
pub fn given(kind: &str) -> Vec<VectorRun> {
    done(kind).and_then(OnceLock::get).cloned().unwrap_or_default()
}

fn over(vectors: &Vectors, text: &str) -> Result<Reviewed, Fault> {
    let named = |name: &str| {
        let name = name.to_owned();
        move |fault: Fault| Fault::new(Code::Internal, format!("test vector `{name}`: {fault}"))
    };
    let mut runs = Vec::new();
    for case in &vectors.cases {
        let given = vectors.written(case).map_err(named(&case.name))?;
        runs.push(VectorRun { name: case.name.clone(), result: digest(&vectors.kind, case, &given) });
    }
    for run in &vectors.runs {
        let given = bench::run(&vectors.kind, run).map_err(named(&run.name))?;
        runs.push(VectorRun { name: run.name.clone(), result: digest(&vectors.kind, run, &given) });
    }
    Ok(Reviewed { vectors: sha256(text.as_bytes()), runs })
}

/// The hash of a vector and of what it gave.
fn digest<T: serde::Serialize>(kind: &str, vector: &T, given: &serde_json::Value) -> Hash {
    let vector = serde_json::to_value(vector).unwrap_or_default();
    let [vector, given] = [&vector, given].map(plain);
    Transcript::new("tacit-review/1").bytes(kind.as_bytes()).bytes(vector.as_bytes()).bytes(given.as_bytes()).finish()
}

/// JSON without a choice: names in order, no spaces.
fn plain(value: &serde_json::Value) -> String {
    use serde_json::Value;
    let text = |text: &str| Value::from(text).to_string();
    match value {
        Value::Object(map) => {
            let sorted: std::collections::BTreeMap<_, _> = map.iter().collect();
            let all: Vec<String> = sorted.into_iter().map(|(k, v)| format!("{}:{}", text(k), plain(v))).collect();
            format!("{{{}}}", all.join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tacit_governance::orders::VECTOR_RUNS_MAX;

    /// Whoever changes what a kind signs, opens, touches or computes changes these, and with them every review.
    #[test]
    fn each_kind_gets_through_its_vectors_and_gives_the_same_each_time() {
        for kind in crate::CATALOG {
            let all = vectors(kind.id()).unwrap();
            assert_eq!(all.kind, kind.id());
            let first = run(kind.id()).unwrap();
            assert_eq!(first.runs.len(), all.cases.len() + all.runs.len());
            let names: std::collections::BTreeSet<&str> = first.runs.iter().map(|run| run.name.as_str()).collect();
            assert_eq!(names.len(), first.runs.len(), "{}: a name twice", kind.id());
            let text = FILES.iter().find(|(id, _)| *id == kind.id()).unwrap().1;
            assert_eq!(over(&all, text).unwrap(), first);
            assert!(first.runs.len() <= VECTOR_RUNS_MAX, "{}: a review of all can be signed", kind.id());
            assert!(!is_run(kind.id()) && given(kind.id()).is_empty(), "nothing was run for a decision");
            assert_eq!((runs(kind.id()), is_run(kind.id()), given(kind.id())), (first.runs.clone(), true, first.runs));
        }
        assert!(is_run("none/v1"));
        assert_eq!(run("none/v1").unwrap_err().code, Code::RefusedKind);
        assert!(runs("none/v1").is_empty());
    }

    /// What is computed is what is written down beside the vector: a result by hand, not by this program.
    #[test]
    fn runs_give_what_their_vectors_expect() {
        let mut seen = 0;
        for kind in crate::CATALOG {
            for vector in &vectors(kind.id()).unwrap().runs {
                let given = bench::run(kind.id(), vector).unwrap();
                for (path, expected) in &vector.expected {
                    let found = given["result"].pointer(path).unwrap_or_else(|| panic!("{path}: {given}"));
                    let same = match (found.as_f64(), expected.as_f64()) {
                        (Some(a), Some(b)) => (a - b).abs() < 1e-6,
                        _ => found == expected,
                    };
                    assert!(same, "{} {path}: {found}, not {expected}: {given}", vector.name);
                    seen += 1;
                }
                assert!(!vector.expected.is_empty(), "{} expects nothing", vector.name);
            }
        }
        assert!(seen > 10, "{seen}");
    }

    /// A vector whose rows, or whose written job, are others has another hash; its result as well.
    #[test]
    fn another_row_another_word_or_another_result_is_another_hash() {
        let all = vectors("count/v1").unwrap();
        let hash = |vectors: &Vectors| over(vectors, "").unwrap().runs.last().unwrap().result;
        let mut changed = serde_json::to_value(&all).unwrap();
        let last = changed["runs"].as_array().unwrap().len() - 1;
        changed["runs"][last]["owners"][0]["columns"]["age"]["int"][0] = json!(77);
        let changed: Vectors = serde_json::from_value(changed).unwrap();
        assert_ne!(hash(&changed), hash(&all));
        let case = &all.cases[0];
        let given = all.written(case).unwrap();
        let mut other = given.clone();
        other["params"] = json!("a1");
        assert_ne!(digest("count/v1", case, &given), digest("count/v1", case, &other));
        assert_ne!(digest("count/v1", case, &given), digest("count/v2", case, &given));
        assert_eq!(plain(&json!({"b": [1, "x\n"], "a": null})), r#"{"a":null,"b":[1,"x\n"]}"#);
    }
}
