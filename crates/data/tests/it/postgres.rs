//! A table of a real PostgreSQL, in place.

use std::time::{Duration, Instant};

use tacit_data::inspect::Range;
use tacit_data::{Kind, Limits, Source, Sources};
use tacit_types::query::Compare;
use tacit_types::{Code, Literal, Predicate};

use crate::helpers::*;
use crate::postgres_server::{PASSWORD, PORT, Server, USER};

fn sources(host: &str, user: &str, password: &str, more: &str) -> Sources {
    let text = format!(
        "[ehr]\nhost = '{host}'\nport = {PORT}\nuser = '{user}'\ndatabase = 'postgres'\npassword = '{password}'\n{more}"
    );
    toml::from_str(&text).unwrap()
}

fn of(server: &Server) -> Sources {
    sources(server.host().to_str().unwrap(), USER, PASSWORD, "")
}

fn source(text: &str) -> Source {
    Source::parse(text).unwrap()
}

const SCHEMA: &str = r#"
    CREATE SCHEMA lab;
    CREATE TYPE colour AS ENUM ('red', 'blue');
    CREATE TABLE lab."Visits 1" (id int, small int2, big int8, paid bool, x float8, y float4, money numeric(12,3),
        "we""ird.Name" text, code char(4), day date, at timestamp, tz timestamptz, u uuid, c colour);
    INSERT INTO lab."Visits 1" VALUES
        (1, 7, 9223372036854775807, true, 0.1, 0.5, 12.345, 'x, "y"', 'ab', '2024-02-29', '2024-02-29 13:00:01.5',
            '2024-02-29 13:00:01+02', '6ecd8c99-4036-403d-bf84-cf8400f67836', 'blue'),
        (2, -7, -9223372036854775808, false, -0.0, -1, -0.001, '', 'abcd', '1999-12-31', '1999-12-31 00:00',
            '1999-12-31 00:00+00', NULL, 'red'),
        (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"#;

#[tokio::test]
async fn a_table_is_inspected_and_queried_in_place() {
    let Some(server) = Server::start() else { return };
    server.execute(SCHEMA);
    let (sources, table) = (of(&server), source("postgres://ehr/lab.Visits 1"));
    let i = inspect_source(&table, &["small"], &sources).await.unwrap();
    assert_eq!((i.rows, i.row_bucket(), i.bytes), (3, 4, None));
    assert_eq!(i.columns[2].range, Some(Range::Int { min: i64::MIN, max: i64::MAX }));
    assert_eq!(i.columns[6].range, Some(Range::Float { min: -0.001, max: 12.345 }));
    assert_eq!((i.columns[0].nullable, i.columns[1].nullable), (false, true));
    assert_eq!(i.columns[1].kind, Kind::Text);

    let columns =
        ["we\"ird.Name", "id", "big", "paid", "x", "y", "money", "code", "day", "at", "tz", "u", "c", "small"];
    let dataset = open_source(table, &[("n", "SELECT count(*) AS n FROM data")], &sources).await.unwrap();
    dataset.check().await.unwrap();
    let batches = run(&dataset, &query("data", &columns, None)).await.ok().unwrap();
    let mut found = rows(&batches);
    found.sort_by_key(|r| r[1].clone());
    let first = "x, \"y\"|1|9223372036854775807|1|0.1|0.5|12.345|ab|2024-02-29|2024-02-29T13:00:01.5|\
                 2024-02-29T11:00:01Z|6ecd8c99-4036-403d-bf84-cf8400f67836|blue|7";
    let second = "|2|-9223372036854775808|0|0.0|-1.0|-0.001|abcd|1999-12-31|1999-12-31T00:00:00|\
                  1999-12-31T00:00:00Z|NULL|red|-7";
    assert_eq!(found[0].join("|"), first);
    assert_eq!(found[1].join("|"), second);
    assert!(found[2].iter().enumerate().all(|(i, cell)| cell == if i == 1 { "3" } else { "NULL" }), "{:?}", found[2]);

    let old = Predicate::Compare { column: "day".into(), op: Compare::Lt, value: Literal::Text("2000".into()) };
    assert_eq!(rows(&run(&dataset, &query("data", &["id"], Some(old))).await.ok().unwrap()), [["2"]]);
    assert_eq!(rows(&run(&dataset, &query("n", &["n"], None)).await.ok().unwrap()), [["3"]]);
    let consent = Predicate::IsNull { column: "u".into() };
    let (batches, _) =
        run_with(&dataset, &query("n", &["n"], None), Some(&consent), &Limits::default()).await.ok().unwrap();
    assert_eq!(rows(&batches), [["2"]]);
}

#[tokio::test]
async fn a_table_in_another_order_has_the_same_commitment() {
    let Some(server) = Server::start() else { return };
    server.execute(
        "CREATE TABLE a (n int, t text); INSERT INTO a SELECT i, 'T' || i % 7 FROM generate_series(1, 20000) i;
         CREATE TABLE b (n int, t text); INSERT INTO b SELECT * FROM a ORDER BY t DESC, n DESC;
         CREATE TABLE c (n int, t text); INSERT INTO c SELECT * FROM a WHERE n <> 777;
         INSERT INTO c VALUES (777, 't0')",
    );
    let commitment = async |table: &str| {
        let i = inspect_source(&source(&format!("postgres://ehr/{table}")), &[], &of(&server)).await.unwrap();
        assert_eq!(i.rows, 20_000);
        i.commitment
    };
    let a = commitment("a").await;
    assert_eq!(a, commitment("b").await);
    assert_ne!(a, commitment("c").await);
    let dataset = open_source(source("postgres://ehr/a"), &[], &of(&server)).await.unwrap();
    let (batches, stats) =
        run_with(&dataset, &query("data", &["n"], None), None, &Limits::default()).await.ok().unwrap();
    let sum: i64 = rows(&batches).iter().map(|r| r[0].parse::<i64>().unwrap()).sum();
    assert_eq!((sum, stats.rows_scanned), (200_010_000, 20_000));
    assert!(batches.len() > 2);
}

// why: the calls that wait for the server block a thread, on which a closed connection would have to be wound up.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_database_is_told_without_the_password() {
    let Some(mut server) = Server::start() else { return };
    server.execute(
        "CREATE TABLE ok (n int); INSERT INTO ok VALUES (1); CREATE TABLE none (n int);
         CREATE TABLE bad (n int, j json); INSERT INTO bad VALUES (1, '{}');
         CREATE TABLE nan (x float8); INSERT INTO nan VALUES (1), ('NaN');
         CREATE TABLE hidden (n int); INSERT INTO hidden VALUES (1);
         CREATE ROLE reader LOGIN PASSWORD 'r'; GRANT SELECT ON ok TO reader;
         CREATE VIEW slow AS SELECT n, pg_sleep(30)::text AS t FROM ok;",
    );
    let host = server.host().to_str().unwrap().to_owned();
    let all = of(&server);
    let code = async |text: &str, sources: &Sources| {
        let fault = inspect_source(&source(text), &[], sources).await.unwrap_err();
        assert!(!fault.to_string().contains(PASSWORD), "{fault}");
        fault.code
    };
    assert_eq!(code("postgres://ehr/absent", &all).await, Code::DataTableAbsent);
    assert_eq!(code("postgres://ehr/nowhere.ok", &all).await, Code::DataTableAbsent);
    assert_eq!(code("postgres://other/ok", &all).await, Code::DataSourceUnknown);
    assert_eq!(code("postgres://ehr/none", &all).await, Code::DataEmpty);
    assert_eq!(code("postgres://ehr/bad", &all).await, Code::DataColumnType);
    assert_eq!(code("postgres://ehr/nan", &all).await, Code::DataValueNotFinite);
    let reader = sources(&host, "reader", "r", "");
    assert!(inspect_source(&source("postgres://ehr/ok"), &[], &reader).await.is_ok());
    assert_eq!(code("postgres://ehr/hidden", &reader).await, Code::DataTableAbsent);
    let wrong = sources(&host, USER, &format!("{PASSWORD}!"), "");
    assert_eq!(code("postgres://ehr/ok", &wrong).await, Code::DataSourceUnreachable);
    let hasty = sources(&host, USER, PASSWORD, "statement_seconds = 1");
    let begun = Instant::now();
    assert_eq!(code("postgres://ehr/slow", &hasty).await, Code::DataQueryFailed);
    assert!(begun.elapsed() < Duration::from_secs(15));

    let dataset = open_source(source("postgres://ehr/ok"), &[], &all).await.unwrap();
    let q = query("data", &["n"], None);
    // A later column does no harm, whatever its type.
    server.execute("ALTER TABLE ok ADD COLUMN later json");
    dataset.check().await.unwrap();
    assert_eq!(rows(&run(&dataset, &q).await.ok().unwrap()), [["1"]]);
    server.execute("DROP VIEW slow; ALTER TABLE ok DROP COLUMN later; ALTER TABLE ok ALTER COLUMN n TYPE text");
    assert_eq!(dataset.check().await.unwrap_err().code, Code::DataChanged);
    assert_eq!(run(&dataset, &q).await.err().unwrap().code, Code::DataChanged);
    server.stop();
    assert_eq!(dataset.check().await.unwrap_err().code, Code::DataSourceUnreachable);
    assert_eq!(run(&dataset, &q).await.err().unwrap().code, Code::DataSourceUnreachable);
}

#[tokio::test]
async fn no_statement_of_ours_can_write() {
    let Some(server) = Server::start() else { return };
    // A view whose function writes: in a read-only transaction the server refuses it.
    server.execute(
        "CREATE TABLE ok (n int); INSERT INTO ok VALUES (1); CREATE TABLE written (n int);
         CREATE FUNCTION leak() RETURNS int LANGUAGE sql AS 'INSERT INTO public.written VALUES (1) RETURNING n';
         CREATE VIEW sly AS SELECT leak() AS n FROM ok;",
    );
    let fault = inspect_source(&source("postgres://ehr/sly"), &[], &of(&server)).await.unwrap_err();
    assert_eq!(fault.code, Code::DataQueryFailed, "{fault}");
    assert_eq!(server.execute("SELECT count(*) FROM written").trim(), "0");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_reported_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    for host in [folder.path().to_str().unwrap(), "127.0.0.1"] {
        // Port 1 of this machine is not a database.
        let text = format!("[ehr]\nhost = '{host}'\nport = 1\nuser = 'u'\ndatabase = 'd'\npassword = 'hunter2'");
        let fault =
            inspect_source(&source("postgres://ehr/t"), &[], &toml::from_str(&text).unwrap()).await.unwrap_err();
        assert_eq!(fault.code, Code::DataSourceUnreachable);
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_listener_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!("[ehr]\nhost = '127.0.0.1'\nport = {port}\nuser = 'u'\ndatabase = 'd'\nconnect_seconds = 1");
    let begun = Instant::now();
    let fault = inspect_source(&source("postgres://ehr/t"), &[], &toml::from_str(&text).unwrap()).await.unwrap_err();
    assert_eq!(fault.code, Code::DataSourceUnreachable);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
