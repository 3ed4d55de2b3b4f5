//! What one pass over a source tells, and what of it may leave.

use arrow::array::{BooleanArray, Date32Array, Decimal128Array, Float32Array, Int32Array, StringArray};
use tacit_data::inspect::Range;
use tacit_data::{ColumnDef, Kind, Options, Source, Sources};

use crate::helpers::*;

const CSV: &str = "id,Age,score,note,postcode\n1,41,0.5,\"x, y\",01234\n2,,-3,,09999\n3,7,2e2,z,00001\n";

#[tokio::test]
async fn kinds_ranges_and_counts_are_those_of_the_file() {
    let (_folder, path) = file("t.csv", CSV);
    let i = inspect(&path, &["postcode"]).await.unwrap();
    let kinds: Vec<_> = i.columns.iter().map(|c| (c.name.as_str(), c.kind, c.nullable)).collect();
    assert_eq!(
        kinds,
        [
            ("id", Kind::Int, false),
            ("Age", Kind::Int, true),
            ("score", Kind::Float, false),
            ("note", Kind::Text, true),
            ("postcode", Kind::Text, false)
        ]
    );
    assert_eq!(i.columns[1].range, Some(Range::Int { min: 7, max: 41 }));
    assert_eq!(i.columns[2].range, Some(Range::Float { min: -3.0, max: 200.0 }));
    assert_eq!((i.rows, i.row_bucket(), i.bytes), (3, 4, Some(CSV.len() as u64)));
}

#[tokio::test]
async fn only_names_kinds_a_bucket_and_a_hash_may_leave() {
    let (_folder, path) = file("t.csv", CSV);
    let public = inspect(&path, &[]).await.unwrap().public();
    let json = serde_json::to_value(&public).unwrap();
    let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["columns", "commitment", "row_bucket"]);
    assert_eq!(json["columns"][0], serde_json::json!({"name": "id", "kind": "int"}));
    assert_eq!(json["row_bucket"], 4);
}

#[tokio::test]
async fn the_bucket_is_the_next_power_of_two() {
    for (rows, bucket) in [(1, 1), (2, 2), (3, 4), (1024, 1024), (1025, 2048)] {
        let (_folder, path) = file("t.csv", format!("a\n{}", "1\n".repeat(rows)));
        assert_eq!(inspect(&path, &[]).await.unwrap().row_bucket(), bucket);
    }
}

#[tokio::test]
async fn the_commitment_follows_content_and_salt_and_not_the_way_of_writing() {
    let of = async |text: &str, salt: [u8; 32]| {
        let (_folder, path) = file("t.csv", text);
        let source = Source::parse(path.to_str().unwrap()).unwrap();
        let options = Options { text_columns: vec![], salt };
        tacit_data::inspect(&source, &options, &Sources::default()).await.unwrap().commitment
    };
    let base = of("a,b\n1,x\n2,y\n", SALT).await;
    assert_eq!(base, of("\u{feff}a,b\r\n\"1\",x\r\n\r\n2,\"y\"", SALT).await);
    for other in ["a,b\n1,x\n2,z\n", "a,c\n1,x\n2,y\n", "a,b\n2,y\n1,x\n", "a,b\n1,x\n", "a,b\n1,x\n2,\n"] {
        assert_ne!(base, of(other, SALT).await, "{other}");
    }
    assert_ne!(base, of("a,b\n1,x\n2,y\n", [8; 32]).await);
}

#[tokio::test]
async fn every_parquet_type_has_its_kind_in_a_run_too() {
    let days = Date32Array::from(vec![Some(0), None, Some(19_782)]);
    let money = Decimal128Array::from(vec![Some(12_345), Some(-1), None]).with_precision_and_scale(10, 2).unwrap();
    let town: arrow::array::DictionaryArray<arrow::datatypes::Int8Type> = ["x", "y", "x"].into_iter().collect();
    let (_folder, path) = parquet(vec![
        ("day", array(days)),
        ("paid", array(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("money", array(money)),
        ("small", array(Float32Array::from(vec![0.5, -0.0, 3.0]))),
        ("n", array(Int32Array::from(vec![1, 2, 3]))),
        ("town", array(town)),
        ("note", array(StringArray::from(vec![Some(""), None, Some("é")]))),
    ]);
    let dataset = open(&path, &[]).await.unwrap();
    let expected: Vec<ColumnDef> = [
        ("day", Kind::Text),
        ("paid", Kind::Int),
        ("money", Kind::Float),
        ("small", Kind::Float),
        ("n", Kind::Int),
        ("town", Kind::Text),
        ("note", Kind::Text),
    ]
    .map(|(n, k)| ColumnDef::new(n, k))
    .into();
    assert_eq!(dataset.columns("claims").unwrap(), expected);
    // The order of the query is not that of the file.
    let q = query("data", &["town", "day", "paid", "money", "small", "n", "note"], None);
    assert_eq!(
        rows(&run(&dataset, &q).await.ok().unwrap()),
        [
            ["x", "1970-01-01", "1", "123.45", "0.5", "1", ""],
            ["y", "NULL", "0", "-0.01", "0.0", "2", "NULL"],
            ["x", "2024-02-29", "NULL", "NULL", "3.0", "3", "é"]
        ]
    );
}

#[tokio::test]
async fn a_node_can_spawn_an_inspection_and_a_run() {
    let (_folder, path) = file("t.csv", "a\n4\n5\n");
    let source = Source::parse(path.to_str().unwrap()).unwrap();
    let sum = tokio::spawn(async move {
        let dataset = open_source(source, &[], &Sources::default()).await?;
        let batches = run(&dataset, &query("claims", &["a"], None)).await?;
        Ok::<_, tacit_types::Fault>(rows(&batches).iter().map(|r| r[0].parse::<i64>().unwrap()).sum::<i64>())
    });
    assert_eq!(sum.await.unwrap().unwrap(), 9);
}
