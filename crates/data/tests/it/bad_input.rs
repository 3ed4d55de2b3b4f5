//! Every malformed input has one clear code, and says where.

use std::fs::OpenOptions;
use std::time::{Duration, Instant};

use arrow::array::{Float64Array, Int64Array, ListArray, StringArray, UInt64Array};
use arrow::datatypes::Int32Type;
use tacit_data::{Limits, Source};
use tacit_types::limits::PREDICATE_NODES_MAX;
use tacit_types::query::Compare;
use tacit_types::{Code, Fault, Literal, Predicate};

use crate::helpers::*;

async fn refused(bytes: impl AsRef<[u8]>) -> Fault {
    let (_folder, path) = file("t.csv", bytes);
    inspect(&path, &[]).await.unwrap_err()
}

#[tokio::test]
async fn an_absent_file() {
    for name in ["/absent/t.csv", "/absent/t.parquet"] {
        let fault = inspect(name.as_ref(), &[]).await.unwrap_err();
        assert_eq!(fault.code, Code::DataFileAbsent);
        assert!(fault.what.contains(name), "{fault}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder.csv");
    std::fs::create_dir(&path).unwrap();
    assert_eq!(inspect(&path, &[]).await.unwrap_err().code, Code::DataFileAbsent);
    assert_eq!(inspect("/dev/zero.csv".as_ref(), &[]).await.unwrap_err().code, Code::DataFileAbsent);
}

#[tokio::test]
async fn a_device_behind_a_link_is_not_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_eq!(inspect(&path, &[]).await.unwrap_err().code, Code::DataFileAbsent);
}

#[tokio::test]
async fn an_empty_csv_or_a_header_alone() {
    for text in ["", "\n\n", "a,b", "a,b\n\n\n"] {
        assert_eq!(refused(text).await.code, Code::DataEmpty, "{text:?}");
    }
}

#[tokio::test]
async fn a_header_with_two_equal_an_empty_or_an_endless_name() {
    let fault = refused("a,b,a\n1,2,3\n").await;
    assert_eq!(fault.code, Code::DataHeaderDuplicate);
    assert!(fault.what.contains("column 3 is again \"a\""), "{fault}");
    assert_eq!(refused("a,,c\n1,2,3\n").await.code, Code::DataHeaderMalformed);
    assert_eq!(refused(format!("{}\n1\n", "n".repeat(129))).await.code, Code::DataHeaderMalformed);
    let (_folder, path) = file("t.csv", format!("{}\n1\n", "n".repeat(128)));
    assert!(inspect(&path, &[]).await.is_ok());
}

#[tokio::test]
async fn a_ragged_row() {
    let fault = refused("a,b\n1,2\n3\n").await;
    assert_eq!(fault.code, Code::DataRowRagged);
    assert!(fault.what.contains("t.csv: row 2, line 3: 1 fields; the header has 2"), "{fault}");
}

#[tokio::test]
async fn a_wrong_type_after_many_right_ones() {
    let text: String = (0..20_000).map(|i| if i == 19_000 { "1,abc\n".into() } else { format!("{i},{i}\n") }).collect();
    let text = format!("id,amount\n{text}");
    let fault = refused(&text).await;
    assert_eq!(fault.code, Code::DataValueType);
    assert!(fault.what.contains("row 19001, line 19002, column \"amount\""), "{fault}");
    let (_folder, path) = file("t.csv", &text);
    let inspection = inspect(&path, &["amount"]).await.unwrap();
    assert_eq!(inspection.columns[1].kind, tacit_data::Kind::Text);
    assert_eq!(inspect(&path, &["amout"]).await.unwrap_err().code, Code::DataColumnUnknown);
}

#[tokio::test]
async fn nan_infinity_and_too_wide_numbers() {
    for bad in ["NaN", "inf", "-inf", "1e400"] {
        let fault = refused(format!("a,b\n1,1.5\n2,{bad}\n")).await;
        assert_eq!(fault.code, Code::DataValueNotFinite, "{bad}");
        assert!(fault.what.contains("row 2, line 3, column \"b\""), "{fault}");
    }
    assert_eq!(refused("a\n1\n9223372036854775808\n").await.code, Code::DataValueType);
}

#[tokio::test]
async fn text_that_is_not_utf8() {
    let fault = refused(b"a,b\n1,caf\xe9\n").await;
    assert_eq!(fault.code, Code::DataNotUtf8);
    assert!(fault.what.contains("row 1, line 2: field 2, byte 4"), "{fault}");
}

#[tokio::test]
async fn a_line_of_a_gibibyte_is_given_up_at_once() {
    let (_folder, path) = file("t.csv", "a,b\n1,2\n3,");
    OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
    let begun = Instant::now();
    let fault = inspect(&path, &[]).await.unwrap_err();
    assert_eq!(fault.code, Code::DataLineTooLong);
    assert!(fault.what.contains("row 2, line 3"), "{fault}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_quote_that_is_never_closed() {
    assert_eq!(refused("a,b\n1,\"2\n3,4\n").await.code, Code::DataFileMalformed);
}

#[tokio::test]
async fn parquet_that_is_cut_garbage_or_empty() {
    let ids: Vec<i64> = (0..50_000).map(|i| i * 7919 % 65_521).collect();
    let (_folder, path) = parquet(vec![("id", array(Int64Array::from(ids)))]);
    let whole = std::fs::read(&path).unwrap();
    let code = async |bytes: &[u8]| {
        let (_folder, path) = file("t.parquet", bytes);
        inspect(&path, &[]).await.map(|i| i.rows).map_err(|f| f.code)
    };
    assert_eq!(code(&whole).await, Ok(50_000));
    assert_eq!(code(b"").await, Err(Code::DataEmpty));
    for cut in [3, 11, 100, whole.len() / 2, whole.len() - 1] {
        assert_eq!(code(&whole[..cut]).await, Err(Code::DataFileMalformed), "{cut}");
    }
    assert_eq!(code(&[b"PAR1".as_slice(), &[0xff; 4096], b"PAR1"].concat()).await, Err(Code::DataFileMalformed));
    assert_eq!(code(b"a,b\n1,2\n1,2\n1,2\n").await, Err(Code::DataFileMalformed));
    // The footer is whole and the pages are not.
    let mut hollow = whole.clone();
    hollow[4..whole.len() / 2].fill(0xaa);
    assert_eq!(code(&hollow).await, Err(Code::DataFileMalformed));
}

#[tokio::test]
async fn parquet_with_any_byte_changed_is_read_or_refused_but_ends_nothing() {
    let texts: StringArray = (0..200).map(|i| Some(format!("t{}", i % 17))).collect();
    let ids = Int64Array::from_iter((0..200).map(|i| (i % 5 != 0).then_some(i)));
    let (_folder, path) = parquet(vec![("id", array(ids)), ("t", array(texts))]);
    let whole = std::fs::read(&path).unwrap();
    let mut random = Random(0x5eed_1234_abcd_0001);
    for _ in 0..150 {
        let mut bytes = whole.clone();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        let (_folder, path) = file("t.parquet", &bytes);
        if let Err(fault) = inspect(&path, &[]).await {
            assert!(fault.code.text().starts_with("data."), "byte {at}: {fault}");
        }
    }
}

#[tokio::test]
async fn parquet_values_and_types_that_no_kind_holds() {
    let code = async |columns| {
        let (_folder, path) = parquet(columns);
        inspect(&path, &[]).await.unwrap_err()
    };
    let fault = code(vec![("x", array(Float64Array::from(vec![1.0, f64::NAN])))]).await;
    assert_eq!(fault.code, Code::DataValueNotFinite);
    assert!(fault.what.contains("row 2, column \"x\""), "{fault}");
    assert_eq!(code(vec![("x", array(UInt64Array::from(vec![u64::MAX])))]).await.code, Code::DataValueType);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1)])]);
    assert_eq!(code(vec![("x", array(lists))]).await.code, Code::DataColumnType);
    assert_eq!(code(vec![("x", array(Int64Array::from(Vec::<i64>::new())))]).await.code, Code::DataEmpty);
    assert_eq!(code(vec![("", array(Int64Array::from(vec![1])))]).await.code, Code::DataHeaderMalformed);
}

#[tokio::test]
async fn a_query_for_what_is_not_there() {
    let (_folder, path) = file("t.csv", "id,town\n1,x\n2,y\n");
    let dataset = open(&path, &[]).await.unwrap();
    let code = async |q| run(&dataset, &q).await.err().unwrap();
    let compare = |column: &str, value| Predicate::Compare { column: column.into(), op: Compare::Eq, value };
    let fault = code(query("data", &["id", "Town"], None)).await;
    assert_eq!(fault.code, Code::DataColumnUnknown);
    assert!(fault.what.contains("\"Town\""), "{fault}");
    assert_eq!(code(query("other", &["id"], None)).await.code, Code::DataUnknown);
    assert_eq!(code(query("data", &["id", "id"], None)).await.code, Code::ArgsInvalid);
    let unknown = compare("age", Literal::Int(1));
    assert_eq!(code(query("data", &["id"], Some(unknown.clone()))).await.code, Code::DataColumnUnknown);
    for wrong in [compare("town", Literal::Int(1)), compare("id", Literal::Text("1".into()))] {
        assert_eq!(code(query("data", &["id"], Some(wrong))).await.code, Code::DataColumnType);
    }
    let wide = Predicate::And(vec![compare("id", Literal::Int(1)); PREDICATE_NODES_MAX]);
    assert_eq!(code(query("data", &["id"], Some(wide))).await.code, Code::DataTooLarge);
    let all = query("data", &["id"], None);
    let consent = run_with(&dataset, &all, Some(&unknown), &Limits::default()).await.err().unwrap();
    assert_eq!(consent.code, Code::DataColumnUnknown);
    assert!(consent.what.contains("consent"), "{consent}");
}

#[tokio::test]
async fn a_source_that_changed_after_it_was_registered() {
    let (_folder, path) = file("t.csv", "id,amount\n1,2\n");
    let dataset = open(&path, &[]).await.unwrap();
    let amount = query("data", &["amount"], None);
    dataset.check().await.unwrap();
    for (text, checked, ran) in [
        ("amount,more,id\n7,x,1\n", None, None),
        ("id,sum\n1,2\n", Some(Code::DataChanged), Some(Code::DataChanged)),
        ("id,amount\n1,x\n", None, Some(Code::DataValueType)),
        ("id,amount\n1,2.5\n", None, Some(Code::DataValueType)),
        ("id,amount\n1,2,3\n", None, Some(Code::DataRowRagged)),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(dataset.check().await.err().map(|f| f.code), checked, "{text}");
        let outcome = run(&dataset, &amount).await;
        if ran.is_none() {
            assert_eq!(rows(outcome.as_ref().ok().unwrap()), [["7"]]);
        }
        assert_eq!(outcome.err().map(|f| f.code), ran, "{text}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(dataset.check().await.unwrap_err().code, Code::DataFileAbsent);
    assert_eq!(run(&dataset, &amount).await.err().unwrap().code, Code::DataFileAbsent);
}

#[tokio::test]
async fn a_parquet_column_that_changed_its_type() {
    let (_folder, path) = parquet(vec![("x", array(Int64Array::from(vec![1])))]);
    let dataset = open(&path, &[]).await.unwrap();
    dataset.check().await.unwrap();
    write_parquet(&path, vec![("x", array(StringArray::from(vec!["1"])))]);
    assert_eq!(dataset.check().await.unwrap_err().code, Code::DataChanged);
}

#[tokio::test]
async fn the_row_cap_holds_one_past_it_and_a_caller_may_stop() {
    let text: String = (0..10_000).map(|i| format!("{i}\n")).collect();
    let (_folder, path) = file("t.csv", format!("id\n{text}"));
    let dataset = open(&path, &[]).await.unwrap();
    let all = query("data", &["id"], None);
    let capped = async |rows_max| run_with(&dataset, &all, None, &Limits { rows_max, ..Limits::default() }).await;
    assert_eq!(capped(10_000).await.ok().unwrap().1.rows_kept, 10_000);
    assert_eq!(capped(9_999).await.err().unwrap().code, Code::DataTooLarge);
    let stop = |_| Err(Fault::new(Code::JobCancelled, "stop"));
    assert_eq!(dataset.run(&all, None, &Limits::default(), stop).await.unwrap_err().code, Code::JobCancelled);
}

#[test]
fn a_registration_with_an_unknown_field_is_refused() {
    let source = Source::parse("/d/t.csv").unwrap();
    let text = serde_json::to_string(&source).unwrap();
    assert_eq!(text, r#"{"csv":{"path":"/d/t.csv"}}"#);
    assert!(serde_json::from_str::<Source>(r#"{"csv":{"path":"/d/t.csv","url":"x"}}"#).is_err());
    assert!(serde_json::from_str::<Source>(r#"{"http":{"url":"x"}}"#).is_err());
}
