//! Parameters: every limit one past it, overflow at plan time, and what people write wrongly.

use serde_json::{Value, json};
use tacit_governance::ColumnKind;
use tacit_jobs::stats::params::{EDGES_MAX, GROUPS_MAX, ITEMS_MAX, StatsParams};
use tacit_jobs::{ColumnKinds, Parts, kind};
use tacit_types::Code;

fn kinds() -> ColumnKinds {
    let mut kinds: ColumnKinds = (0..200).map(|i| (format!("c{i}"), ColumnKind::Int)).collect();
    kinds.insert("x".into(), ColumnKind::Float);
    kinds.insert("t".into(), ColumnKind::Text);
    kinds
}

fn stats(params: Value) -> Result<Vec<u8>, Code> {
    kind("stats/v1").unwrap().params(params, &kinds()).map_err(|f| f.code)
}

fn measure(column: &str) -> Value {
    json!({"column": column, "statistics": ["mean", "variance"], "bound": "100"})
}

#[test]
fn limits_hold_one_past_each() {
    let measures = |n: usize| json!({"measures": (0..n).map(|i| measure(&format!("c{i}"))).collect::<Vec<_>>()});
    assert!(stats(measures(ITEMS_MAX)).is_ok());
    assert_eq!(stats(measures(ITEMS_MAX + 1)), Err(Code::RefusedParameters));
    let groups =
        |n: usize| json!({"group_by": {"column": "t", "values": (0..n).map(|i| i.to_string()).collect::<Vec<_>>()}});
    assert!(stats(groups(GROUPS_MAX)).is_ok());
    assert_eq!(stats(groups(GROUPS_MAX + 1)), Err(Code::RefusedParameters));
    let edges =
        |n: usize| json!({"histograms": [{"column": "x", "edges": (0..n).map(|i| i.to_string()).collect::<Vec<_>>()}]});
    assert!(stats(edges(EDGES_MAX)).is_ok());
    assert_eq!(stats(edges(EDGES_MAX + 1)), Err(Code::RefusedParameters));
    let matrix = |n: usize| json!({"matrix": {"columns": (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>()}});
    assert!(stats(matrix(ITEMS_MAX)).is_ok());
    assert_eq!(stats(matrix(ITEMS_MAX + 1)), Err(Code::RefusedParameters));
    assert_eq!(stats(matrix(1)), Err(Code::RefusedParameters));
    // 1,025 cells times 64 measures of four words is within the limit of cells; nothing larger can be written.
    let mut most = groups(GROUPS_MAX);
    most["measures"] = measures(ITEMS_MAX)["measures"].clone();
    assert!(stats(most).is_ok());
}

#[test]
fn sums_that_could_overflow_are_refused_when_planned() {
    let job = |bound: &str, rows: u64| {
        stats(
            json!({"measures": [{"column": "c0", "statistics": ["sum", "variance"], "bound": bound}], "rows_max": rows}),
        )
    };
    // 2 bits of magnitude and 1 of row count for each: 126 - 10 seats - 30 rows leaves 43 bits.
    assert!(job(&((1u64 << 43) - 1).to_string(), 1 << 30).is_ok());
    assert_eq!(job(&(1u64 << 43).to_string(), 1 << 30), Err(Code::RefusedOverflow));
    assert!(job(&(1u64 << 43).to_string(), 1 << 20).is_ok());
    assert_eq!(job("1", (1 << 30) + 1), Err(Code::RefusedParameters));
    assert_eq!(job("1", 0), Err(Code::RefusedParameters));
    // A smaller bound leaves more digits after the binary point.
    let fraction = |bound: &str| {
        let bytes = stats(json!({"measures": [{"column": "x", "statistics": ["sum"], "bound": bound}]})).unwrap();
        let params: StatsParams = tacit_crypto::cbor::decode(&bytes).unwrap();
        params.fraction_bits(&params.measures[0].value).unwrap()
    };
    assert_eq!((fraction("1000"), fraction("16777216"), fraction("1073741824")), (36, 21, 15));
}

#[test]
fn what_people_write_wrongly_is_named() {
    let cases = [
        (json!({}), Code::RefusedParameters),
        (json!({"measure": []}), Code::RefusedParameters),
        (json!({"measures": [measure("ghost")]}), Code::DataColumnUnknown),
        (json!({"measures": [measure("t")]}), Code::DataColumnType),
        (json!({"measures": [{"column": "x", "statistics": []}]}), Code::RefusedParameters),
        // A default bound would round small real numbers away.
        (json!({"measures": [{"column": "x", "statistics": ["sum"]}]}), Code::RefusedParameters),
        (json!({"matrix": {"columns": ["c0", "x"]}}), Code::RefusedParameters),
        (json!({"measures": [{"column": "x", "statistics": ["median"]}]}), Code::RefusedParameters),
        (json!({"measures": [{"column": "x", "statistics": ["sum"], "bound": "-5"}]}), Code::RefusedParameters),
        (json!({"measures": [{"column": "x", "statistics": ["sum"], "bound": 1.5}]}), Code::RefusedParameters),
        (json!({"group_by": {"column": "c0", "values": ["a"]}}), Code::DataColumnType),
        (json!({"group_by": {"column": "t", "values": ["a", "a"]}}), Code::RefusedParameters),
        (json!({"histograms": [{"column": "x", "edges": ["1", "1"]}]}), Code::RefusedParameters),
        (json!({"histograms": [{"column": "x", "edges": ["1"]}]}), Code::RefusedParameters),
        (
            json!({"quantiles": [{"column": "x", "probabilities": ["1"], "low": "0", "high": "1"}]}),
            Code::RefusedParameters,
        ),
        (
            json!({"quantiles": [{"column": "x", "probabilities": ["0.0000001"], "low": "0", "high": "1"}]}),
            Code::RefusedParameters,
        ),
        (
            json!({"quantiles": [{"column": "x", "probabilities": ["0.5"], "low": "1", "high": "1"}]}),
            Code::RefusedParameters,
        ),
        (json!({"matrix": {"columns": ["x", "x"], "bound": "9"}}), Code::RefusedParameters),
        (json!({"measures": [measure("x")], "filter": "ghost = 1"}), Code::DataColumnUnknown),
        (json!({"measures": [measure("x")], "filter": "x ="}), Code::RefusedParameters),
    ];
    for (params, code) in cases {
        assert_eq!(stats(params.clone()), Err(code), "{params}");
    }
}

/// Two tables over one column cut it in different places, and the rows between two cuts may be one person.
#[test]
fn tables_that_could_be_subtracted_are_refused() {
    let histogram = |column: &str, edge: &str| json!({"column": column, "edges": ["0", edge, "100"]});
    let quantile = |p: &str| json!({"column": "x", "probabilities": [p], "low": "0", "high": "9"});
    let groups = json!({"column": "c0", "values": [1, 2, 3]});
    let bounded = |bound: &str| json!({"column": "c1", "statistics": ["sum"], "bound": bound});
    for params in [
        json!({"histograms": [histogram("x", "50"), histogram("c1", "5"), histogram("x", "51")]}),
        json!({"quantiles": [quantile("0.5"), quantile("0.500001")]}),
        json!({"group_by": groups, "histograms": [histogram("c0", "2")]}),
        json!({"group_by": groups, "quantiles": [{"column": "c0", "probabilities": ["0.5"], "low": "0", "high": "9"}]}),
        json!({"group_by": groups, "measures": [measure("c0")]}),
        json!({"group_by": groups, "matrix": {"columns": ["c0", "c1"]}}),
        // Clamped at two bounds, two sums of one column differ by the rows beyond the lower one.
        json!({"measures": [bounded("99"), bounded("100")]}),
        json!({"measures": [bounded("99")], "matrix": {"columns": ["c1", "x"], "bound": "100"}}),
        // The bins give the values; a sum tells how many rows hold each.
        json!({"measures": [measure("x")], "histograms": [histogram("x", "50")]}),
        json!({"group_by": groups, "measures": [measure("x")], "histograms": [histogram("x", "50")]}),
        json!({"matrix": {"columns": ["c1", "x"], "bound": "9"}, "histograms": [histogram("x", "50")]}),
    ] {
        assert_eq!(stats(params.clone()), Err(Code::RefusedParameters), "{params}");
    }
    let apart = json!({
        "group_by": groups, "measures": [measure("c1")], "matrix": {"columns": ["c1", "c2"]},
        "histograms": [histogram("x", "50")], "quantiles": [quantile("0.5")],
    });
    assert!(stats(apart).is_ok());
    let same = json!({"measures": [bounded("99")], "matrix": {"columns": ["c1", "x"], "bound": "99.0"}});
    assert!(stats(same).is_ok());
    // A matrix without a bound takes that of the measure.
    let params = stats(json!({"measures": [bounded("99")], "matrix": {"columns": ["c1", "c2"]}})).unwrap();
    let params: StatsParams = tacit_crypto::cbor::decode(&params).unwrap();
    assert_eq!(params.matrix.unwrap().values[0].bound.to_string(), "99");
    let counted = json!({"column": "x", "statistics": ["count"]});
    assert!(stats(json!({"group_by": groups, "measures": [counted], "histograms": [histogram("x", "50")]})).is_ok());
}

#[test]
fn a_node_checks_what_a_tool_signed() {
    let good = stats(json!({"measures": [measure("x")], "quantiles": [{"column": "x", "probabilities": ["0.5"], "low": "-3", "high": "2"}]})).unwrap();
    let kind = kind("stats/v1").unwrap();
    assert!(kind.plan(&good, &Parts::default()).is_ok());
    for i in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[i] ^= 1 << bit;
            // Another valid job, or a refusal; never a panic, and never two encodings of one job.
            if let Err(fault) = kind.plan(&bytes, &Parts::default()) {
                assert!(fault.code.text().starts_with("refused."), "{fault}");
            }
        }
        assert!(kind.plan(&good[..i], &Parts::default()).is_err());
    }
    assert!(kind.plan(&[good.as_slice(), &[0]].concat(), &Parts::default()).is_err());
    assert_eq!(tacit_jobs::kind("stats/v9").map(|_| ()).unwrap_err().code, Code::RefusedKind);
}
