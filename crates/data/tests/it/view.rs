//! The owner's views: what they may be, and that consent stands beneath them.

use std::time::Duration;

use tacit_data::{Kind, Limits};
use tacit_types::query::Compare;
use tacit_types::{Code, Literal, Predicate};

use crate::helpers::*;

const CSV: &str = "id,Town,amount,consent\n1,x,10,1\n2,x,20,0\n3,y,5,1\n4,y,7,1\n5,x,1.5,1\n";

#[tokio::test]
async fn a_view_over_a_view_gives_its_columns_and_rows() {
    let (_folder, path) = file("t.csv", CSV);
    let views = [
        ("large", "SELECT id, \"Town\", amount * 2 AS twice FROM data WHERE amount > 2"),
        ("by-town", "SELECT Town, count(*) AS n, sum(twice) AS total FROM large GROUP BY Town ORDER BY Town"),
        ("joined", "WITH a AS (SELECT id FROM data) SELECT a.id, b.n FROM a JOIN \"by-town\" b ON b.n = a.id"),
    ];
    let dataset = open(&path, &views).await.unwrap();
    let kinds: Vec<_> = dataset.columns("by-town").unwrap().iter().map(|c| (c.name.as_str(), c.kind)).collect();
    assert_eq!(kinds, [("Town", Kind::Text), ("n", Kind::Int), ("total", Kind::Float)]);
    let q = query("by-town", &["n", "Town", "total"], None);
    assert_eq!(rows(&run(&dataset, &q).await.ok().unwrap()), [["2", "x", "60.0"], ["2", "y", "24.0"]]);
    assert_eq!(
        rows(&run(&dataset, &query("joined", &["id", "n"], None)).await.ok().unwrap()),
        [["2", "2"], ["2", "2"]]
    );
    let filter = Predicate::Compare { column: "total".into(), op: Compare::Lt, value: Literal::Int(30) };
    let q = query("by-town", &["Town"], Some(filter));
    assert_eq!(rows(&run(&dataset, &q).await.ok().unwrap()), [["y"]]);
    // What the view leaves out cannot be asked for.
    let q = query("large", &["consent"], None);
    assert_eq!(run(&dataset, &q).await.err().unwrap().code, Code::DataColumnUnknown);
}

/// What a column is made of is known through names, views, groups, joins and unions; a query within reads everything.
#[tokio::test]
async fn a_views_columns_are_known_by_the_columns_of_the_source() {
    let (_folder, path) = file("t.csv", CSV);
    let views = [
        ("renamed", "SELECT id AS who, \"Town\" AS place, amount * 2 AS twice, 7 AS seven FROM data WHERE consent = 1"),
        ("again", "SELECT place AS home, twice + who AS mixed FROM renamed ORDER BY twice LIMIT 9"),
        ("grouped", "SELECT place, count(*) AS n, sum(twice) AS total FROM renamed GROUP BY place"),
        ("joined", "SELECT DISTINCT a.home, d.amount FROM again a JOIN data d ON d.\"Town\" = a.home"),
        ("both", "SELECT place AS x FROM renamed UNION ALL SELECT \"Town\" FROM data"),
        ("either", "SELECT place AS x FROM renamed UNION ALL SELECT CAST(id AS VARCHAR) FROM data"),
        ("within", "SELECT id, (SELECT max(amount) FROM data) AS most FROM data"),
        ("ranked", "SELECT id, row_number() OVER (PARTITION BY \"Town\" ORDER BY amount) AS place FROM data"),
        ("star", "SELECT * FROM renamed"),
    ];
    let dataset = open(&path, &views).await.unwrap();
    // A column, what it is made of, and what it is.
    type Made = (&'static str, &'static [&'static str], Option<&'static str>);
    let cases: [(&str, &[Made]); 11] = [
        ("data", &[("id", &["id"], Some("id")), ("Town", &["Town"], Some("Town"))]),
        ("claims", &[("amount", &["amount"], Some("amount")), ("consent", &["consent"], Some("consent"))]),
        ("renamed", &[("who", &["id"], Some("id")), ("place", &["Town"], Some("Town"))]),
        ("renamed", &[("twice", &["amount"], None), ("seven", &[], None)]),
        ("again", &[("home", &["Town"], Some("Town")), ("mixed", &["amount", "id"], None)]),
        ("grouped", &[("place", &["Town"], Some("Town")), ("n", &[], None), ("total", &["amount"], None)]),
        ("joined", &[("home", &["Town"], Some("Town")), ("amount", &["amount"], Some("amount"))]),
        ("both", &[("x", &["Town"], Some("Town"))]),
        ("either", &[("x", &["Town", "id"], None)]),
        ("within", &[("id", &["id"], Some("id")), ("most", &["Town", "amount", "consent", "id"], None)]),
        ("ranked", &[("id", &["id"], Some("id")), ("place", &["Town", "amount"], None)]),
    ];
    for (view, columns) in cases {
        let found = dataset.origins(view).await.unwrap();
        for (name, sources, same) in columns {
            let (_, origin) = found.iter().find(|(found, _)| found == name).unwrap();
            let sources: std::collections::BTreeSet<String> = sources.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!((&origin.sources, origin.same.as_deref()), (&sources, *same), "{view}.{name}");
        }
    }
    let names = |found: Vec<(String, tacit_data::Origin)>| found.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(dataset.origins("star").await.unwrap()), ["who", "place", "twice", "seven"]);
    assert_eq!(dataset.origins("none").await.unwrap_err().code, Code::DataUnknown);
}

/// What decides which rows a view has is followed as well, through the names of the views on the way.
#[tokio::test]
async fn what_a_views_rows_depend_on_is_known() {
    let (_folder, path) = file("t.csv", CSV);
    let views = [
        ("plain", "SELECT id AS who, amount + 1 AS more FROM data"),
        ("renamed", "SELECT more AS most, 7 AS seven FROM plain"),
        ("filtered", "SELECT who, 7 AS seven FROM plain WHERE more > 3"),
        ("counted", "SELECT count(*) AS n FROM filtered"),
        ("grouped", "SELECT \"Town\", count(*) AS n FROM data GROUP BY \"Town\""),
        ("having", "SELECT \"Town\" FROM data GROUP BY \"Town\" HAVING sum(amount) > 3"),
        ("joined", "SELECT a.amount FROM data a JOIN plain b ON a.id = b.who"),
        ("top", "SELECT id FROM data ORDER BY amount LIMIT 1"),
        ("once", "SELECT DISTINCT who FROM plain"),
        ("within", "SELECT who, (SELECT count(*) FROM data WHERE consent = 1) AS n FROM plain"),
        ("among", "SELECT who FROM plain WHERE who IN (SELECT id FROM data WHERE \"Town\" = 'x')"),
        ("there", "SELECT who FROM plain p WHERE EXISTS (SELECT 1 FROM data d WHERE d.id = p.who AND d.amount > 9)"),
        ("either", "SELECT who FROM plain UNION ALL SELECT id FROM data WHERE consent = 1"),
    ];
    let dataset = open(&path, &views).await.unwrap();
    // A column, what it depends on, and what it does not.
    type Depends = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);
    let cases: [Depends; 15] = [
        ("plain", "who", &["id"], &["amount", "more", "Town"]),
        ("renamed", "most", &["amount", "more"], &["id", "who"]),
        ("renamed", "seven", &[], &["amount", "more", "id"]),
        ("filtered", "who", &["id", "more", "amount"], &["Town", "consent"]),
        ("filtered", "seven", &["more", "amount"], &["id"]),
        ("counted", "n", &["more", "amount"], &["Town", "consent"]),
        ("grouped", "n", &["Town"], &["amount", "id"]),
        ("having", "Town", &["Town", "amount"], &["id"]),
        ("joined", "amount", &["amount", "id", "who"], &["more", "Town"]),
        ("top", "id", &["id", "amount"], &["Town"]),
        ("once", "who", &["who", "id"], &["amount"]),
        ("within", "n", &["consent"], &["Town"]),
        ("among", "who", &["id", "Town"], &["consent"]),
        ("there", "who", &["id", "amount"], &["Town"]),
        ("either", "who", &["id", "consent"], &["Town"]),
    ];
    for (view, column, on, not) in cases {
        let found = dataset.origins(view).await.unwrap();
        let (_, origin) = found.iter().find(|(found, _)| found == column).unwrap();
        for name in on {
            assert!(origin.touches.contains(*name), "{view}.{column} depends on {name}: {:?}", origin.touches);
        }
        for name in not {
            assert!(!origin.touches.contains(*name), "{view}.{column} and {name}: {:?}", origin.touches);
        }
    }
}

#[tokio::test]
async fn no_aggregate_of_a_view_has_seen_a_row_without_consent() {
    let (_folder, path) = file("t.csv", CSV);
    let views = [("totals", "SELECT Town, sum(amount) AS total FROM data GROUP BY Town ORDER BY Town")];
    let dataset = open(&path, &views).await.unwrap();
    let consent = Predicate::Compare { column: "consent".into(), op: Compare::Eq, value: Literal::Int(1) };
    let q = query("totals", &["Town", "total"], None);
    let (batches, stats) = run_with(&dataset, &q, Some(&consent), &Limits::default()).await.ok().unwrap();
    assert_eq!(rows(&batches), [["x", "11.5"], ["y", "12.0"]]);
    assert_eq!((stats.rows_scanned, stats.rows_kept), (5, 2));
    assert_eq!(rows(&run(&dataset, &q).await.ok().unwrap()), [["x", "31.5"], ["y", "12.0"]]);
}

#[tokio::test]
async fn every_type_of_a_view_becomes_a_kind() {
    let (_folder, path) = file("t.csv", "a,b,d\n1,0.5,2024-02-29\n-2,4,1999-12-31\n");
    let sql = "SELECT a > 0 AS positive, CAST(a AS SMALLINT) AS small, CAST(d AS DATE) AS day, \
               CAST(b AS DECIMAL(10, 2)) AS dec, -0.0 * b AS zero, arrow_cast(a, 'Float32') AS f FROM data";
    let dataset = open(&path, &[("v", sql)]).await.unwrap();
    let q = query("v", &["day", "positive", "small", "dec", "zero", "f"], None);
    assert_eq!(
        rows(&run(&dataset, &q).await.ok().unwrap()),
        [["2024-02-29", "1", "1", "0.5", "0.0", "1.0"], ["1999-12-31", "0", "-2", "4.0", "0.0", "-2.0"]]
    );
    let filter = Predicate::Compare { column: "day".into(), op: Compare::Lt, value: Literal::Text("2000".into()) };
    assert_eq!(rows(&run(&dataset, &query("v", &["positive"], Some(filter))).await.ok().unwrap()), [["0"]]);
    let filter = Predicate::Compare { column: "zero".into(), op: Compare::Eq, value: Literal::Int(0) };
    assert_eq!(rows(&run(&dataset, &query("v", &["small"], Some(filter))).await.ok().unwrap()), [["1"], ["-2"]]);
}

#[tokio::test]
async fn anything_but_one_select_over_the_dataset_is_refused() {
    let (_folder, path) = file("t.csv", CSV);
    let (_other, other) = file("secret.csv", "k\n1\n");
    let other = other.display();
    let mut dataset = open(&path, &[("ok", "SELECT id FROM data")]).await.unwrap();
    for sql in [
        "",
        "SELECT",
        "SELECT 1",
        "SELECT id FROM data;",
        "SELECT id FROM data; SELECT id FROM data",
        "SELECT id FROM data; DROP TABLE data",
        "DROP TABLE data",
        "DELETE FROM data",
        "INSERT INTO data SELECT * FROM data",
        "UPDATE data SET id = 1",
        "CREATE VIEW w AS SELECT * FROM data",
        "CREATE TABLE w AS SELECT * FROM data",
        "CREATE EXTERNAL TABLE w STORED AS CSV LOCATION '/etc/passwd'",
        "COPY data TO '/tmp/out.csv'",
        "COPY (SELECT * FROM data) TO '/tmp/out.parquet'",
        "SELECT id INTO w FROM data",
        "EXPLAIN SELECT id FROM data",
        "EXPLAIN ANALYZE SELECT id FROM data",
        "SET datafusion.execution.batch_size = 1",
        "SHOW TABLES",
        "PREPARE p AS SELECT id FROM data",
        "EXECUTE p",
        "VALUES (1)",
        "TABLE data",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT r.n FROM r, data",
        "WITH data AS (SELECT 1 AS id) SELECT id FROM data",
        "SELECT * FROM later",
        "SELECT * FROM claims",
        "SELECT * FROM public.data",
        "SELECT * FROM datafusion.public.data",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM '/etc/passwd'",
        &format!("SELECT * FROM '{other}'"),
        &format!("SELECT * FROM \"{other}\""),
        &format!("SELECT id FROM data WHERE id IN (SELECT k FROM '{other}')"),
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM data, generate_series(1, 1000000000)",
        "SELECT * FROM data, range(1, 10)",
        "SELECT id, id FROM data",
        "SELECT id AS a, amount AS a FROM data",
        "SELECT age FROM data",
        "SELECT town FROM data",
        "SELECT id + 'x' FROM",
        "SELECT id FROM data WHERE $1 = 1",
    ] {
        let fault = dataset.add_view(view("v", sql)).await.err().unwrap_or_else(|| panic!("accepted: {sql}"));
        assert_eq!(fault.code, Code::DataViewMalformed, "{sql}: {fault}");
        assert!(fault.what.starts_with("view v"), "{fault}");
    }
    for name in ["data", "claims", "ok"] {
        let fault = dataset.add_view(view(name, "SELECT id FROM data")).await.err().unwrap();
        assert_eq!(fault.code, Code::DataViewMalformed, "{name}");
    }
    let list = dataset.add_view(view("v", "SELECT array_agg(id) AS ids FROM data")).await.err().unwrap();
    assert_eq!(list.code, Code::DataColumnType);
    assert_eq!(dataset.registration().views.len(), 1);
}

#[tokio::test]
async fn a_semicolon_in_a_text_is_no_second_statement() {
    let (_folder, path) = file("t.csv", CSV);
    let mut dataset = open(&path, &[]).await.unwrap();
    dataset.add_view(view("v", "SELECT id FROM data WHERE Town <> 'a;b' -- c; d")).await.unwrap();
}

#[tokio::test]
async fn length_depth_and_number_of_views_are_bounded() {
    let (_folder, path) = file("t.csv", CSV);
    let mut dataset = open(&path, &[]).await.unwrap();
    let padded = |n: usize| format!("SELECT id FROM data{}", " ".repeat(n - 19));
    assert!(dataset.add_view(view("v0", &padded(16 << 10))).await.is_ok());
    let fault = dataset.add_view(view("v1", &padded((16 << 10) + 1))).await.unwrap_err();
    assert_eq!(fault.code, Code::DataViewMalformed);
    let deep = format!("SELECT {}id{} FROM data", "(".repeat(2000), ")".repeat(2000));
    assert_eq!(dataset.add_view(view("v1", &deep)).await.unwrap_err().code, Code::DataViewMalformed);
    for i in 1..64 {
        dataset.add_view(view(&format!("v{i}"), "SELECT id FROM data")).await.unwrap();
    }
    let fault = dataset.add_view(view("v64", "SELECT id FROM data")).await.unwrap_err();
    assert_eq!(fault.code, Code::DataTooLarge);
}

#[tokio::test]
async fn a_view_that_fails_on_a_value_says_so_without_the_value() {
    let (_folder, path) = file("t.csv", "id,word,x\n1,SECRET,0.0\n");
    let views = [("cast", "SELECT CAST(word AS INT) AS n FROM data"), ("zero", "SELECT 1 / (id - id) AS n FROM data")];
    let dataset = open(&path, &views).await.unwrap();
    for (name, code) in [("cast", Code::DataQueryFailed), ("zero", Code::DataQueryFailed)] {
        let fault = run(&dataset, &query(name, &["n"], None)).await.err().unwrap();
        assert_eq!(fault.code, code, "{name}: {fault}");
        assert!(!fault.to_string().contains("SECRET"), "{fault}");
    }
}

/// A planner likes to filter first. Then whether a job fails would tell whether the filter keeps a certain row.
#[tokio::test]
async fn whether_a_view_fails_does_not_depend_on_the_filter() {
    let (_folder, path) = file("t.csv", "id,word,secret\n1,7,0\n2,word,3\n3,9,5\n");
    let dataset = open(&path, &[("v", "SELECT id, secret, CAST(word AS INT) AS n FROM data")]).await.unwrap();
    let at_least =
        |column: &str, value| Predicate::Compare { column: column.into(), op: Compare::Ge, value: Literal::Int(value) };
    for filter in [None, Some(at_least("secret", 3)), Some(at_least("secret", 4)), Some(at_least("id", 1_000))] {
        let fault = run(&dataset, &query("v", &["n"], filter.clone())).await.err();
        assert_eq!(fault.map(|f| f.code), Some(Code::DataQueryFailed), "{filter:?}");
        assert!(run(&dataset, &query("v", &["id"], filter)).await.is_ok(), "a column that is not read");
    }
    // Nor does the number of rows that a view may have.
    let limits = Limits { rows_max: 2, ..Limits::default() };
    let few = query("v", &["id"], Some(at_least("id", 3)));
    assert_eq!(run_with(&dataset, &few, None, &limits).await.err().map(|f| f.code), Some(Code::DataTooLarge));
    let (_folder, path) = file("t.csv", "id\n1\n2\n");
    let dataset = open(&path, &[("twice", "SELECT a.id FROM data a, data b")]).await.unwrap();
    let one = query("twice", &["id"], Some(at_least("id", 9)));
    assert_eq!(run_with(&dataset, &one, None, &limits).await.err().map(|f| f.code), Some(Code::DataTooLarge));
}

#[tokio::test]
async fn what_a_view_computes_that_is_no_number_is_null() {
    let (_folder, path) = file("t.csv", "id,x\n1,0.0\n2,4.0\n3,-0.0\n4,\n");
    let dataset = open(&path, &[("v", "SELECT id, x / x AS ratio, 1.0 / x AS inverse FROM data")]).await.unwrap();
    let of = async |filter| {
        run_with(&dataset, &query("v", &["id", "ratio", "inverse"], filter), None, &Limits::default()).await
    };
    let (batches, stats) = of(None).await.ok().unwrap();
    assert_eq!(
        rows(&batches),
        [["1", "NULL", "NULL"], ["2", "1.0", "0.25"], ["3", "NULL", "NULL"], ["4", "NULL", "NULL"]]
    );
    assert_eq!((stats.rows_kept, stats.not_finite), (4, 4));
    // It is NULL before the filter looks at it, which would otherwise take NaN for the largest number.
    let large = Predicate::Compare { column: "ratio".into(), op: Compare::Gt, value: Literal::Int(0) };
    assert_eq!(rows(&of(Some(large)).await.ok().unwrap().0), [["2", "1.0", "0.25"]]);
    let none = Predicate::IsNull { column: "inverse".into() };
    assert_eq!(of(Some(none)).await.ok().unwrap().1.rows_kept, 3);
}

#[tokio::test]
async fn the_first_batch_shows_the_columns_when_no_row_is_kept() {
    let (_folder, path) = file("t.csv", "id,x,t\n1,0.5,a\n");
    let dataset = open(&path, &[]).await.unwrap();
    let nobody = Predicate::Compare { column: "id".into(), op: Compare::Lt, value: Literal::Int(0) };
    let batches = run(&dataset, &query("data", &["t", "x"], Some(nobody))).await.ok().unwrap();
    assert_eq!(batches.len(), 1);
    let shown: Vec<_> = batches[0].columns.iter().map(|c| (c.name.as_str(), c.values.is_empty())).collect();
    assert_eq!(shown, [("t", true), ("x", true)]);
    assert!(matches!(batches[0].columns[1].values, tacit_types::Values::Float(_)));
    let (some, limits) = (query("data", &["t"], None), Limits::default());
    let refused = dataset.run(&some, None, &limits, |_| Err(tacit_types::Fault::new(Code::DataColumnType, "not this")));
    assert_eq!(refused.await.unwrap_err().code, Code::DataColumnType);
}

#[tokio::test]
async fn memory_rows_and_time_of_a_view_are_bounded() {
    let lines: String = (0..3000).map(|i| format!("{i},text number {i}\n")).collect();
    let (_folder, path) = file("t.csv", format!("id,note\n{lines}"));
    let views = [
        ("sorted", "SELECT note FROM data ORDER BY note"),
        ("product", "SELECT a.id FROM data a, data b"),
        ("long", "SELECT sum(a.id * b.id % 7) AS n FROM data a, data b"),
    ];
    let dataset = open(&path, &views).await.unwrap();
    let code = async |view: &str, column: &str, limits: Limits| {
        let q = query(view, &[column], None);
        run_with(&dataset, &q, None, &limits).await.err().map(|f| f.code)
    };
    let limits = Limits { memory_bytes: 16 << 20, rows_max: 1_000_000, time_max: Duration::from_secs(60) };
    assert_eq!(code("sorted", "note", limits).await, None);
    assert_eq!(code("sorted", "note", Limits { memory_bytes: 10_000, ..limits }).await, Some(Code::DataTooLarge));
    assert_eq!(code("product", "id", limits).await, Some(Code::DataTooLarge));
    let begun = std::time::Instant::now();
    let short = Limits { time_max: Duration::from_millis(50), ..limits };
    assert_eq!(code("long", "n", short).await, Some(Code::DataQueryFailed));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_long_join_ends_soon_after_its_caller_has_gone() {
    let lines: String = (0..30_000).map(|i| format!("{i}\n")).collect();
    let (_folder, path) = file("t.csv", format!("id\n{lines}"));
    // 900 million rows: minutes, if nobody could stop it.
    let views = [("long", "SELECT sum(a.id * b.id % 7) AS n FROM data a, data b")];
    let begun = std::time::Instant::now();
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dataset = open(&path, &views).await.unwrap();
            let limits = Limits { time_max: Duration::from_millis(200), ..Limits::default() };
            let outcome = run_with(&dataset, &query("long", &["n"], None), None, &limits).await;
            assert_eq!(outcome.err().unwrap().code, Code::DataQueryFailed);
        });
        // why: dropping the runtime waits for its blocking threads.
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
