//! Lower never knows higher: the crates, lowest first, with the edges that each may have. A new edge is a line
//! here, to be argued for in review.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use tacit_tests::repo;

/// A crate's folder, its layer, the crates of the workspace that it may depend on.
type Row = (&'static str, u8, &'static [&'static str]);

const TABLE: &[Row] = &[
    ("types", 0, &[]),
    ("crypto", 1, &["types"]),
    ("protocol", 1, &["types", "crypto"]),
    ("secagg", 2, &["types", "crypto", "protocol"]),
    ("mpc", 2, &["types", "crypto", "protocol"]),
    ("psi", 2, &["types", "crypto", "protocol"]),
    ("dp", 2, &["types", "crypto"]),
    ("models", 2, &["types", "crypto"]),
    ("receipts", 2, &["types", "crypto"]),
    ("archive", 3, &["types", "crypto", "receipts"]),
    ("governance", 2, &["types", "crypto"]),
    ("jobs", 3, &["types", "crypto", "protocol", "secagg", "mpc", "psi", "dp", "models", "receipts", "governance"]),
    ("engine", 4, &["types", "crypto", "protocol", "receipts", "governance", "jobs"]),
    ("sim", 5, &["types", "crypto", "protocol", "secagg", "models", "receipts", "governance", "jobs", "engine"]),
    ("net", 5, &["types", "crypto"]),
    ("data", 5, &["types"]),
    ("policy", 5, &["types", "crypto", "governance"]),
    (
        "node",
        6,
        &[
            "types",
            "crypto",
            "protocol",
            "models",
            "receipts",
            "archive",
            "governance",
            "jobs",
            "engine",
            "net",
            "data",
            "policy",
        ],
    ),
    ("coordinator", 6, &["types", "crypto", "receipts", "archive", "governance", "engine", "net"]),
    (
        "tacit",
        7,
        &[
            "types",
            "crypto",
            "protocol",
            "models",
            "receipts",
            "archive",
            "governance",
            "jobs",
            "engine",
            "net",
            "data",
            "policy",
            "node",
            "coordinator",
        ],
    ),
    ("verify", 7, &["types", "crypto", "receipts"]),
];

/// Crates that the architecture has and that are not there yet.
const PLANNED: [&str; 1] = ["console"];

/// Libraries that only some packages may name, so that each can be replaced in one place.
const NAMED_ONLY_BY: &[(&str, &[&str])] = &[
    ("aes", &["crypto"]),
    ("aes-gcm", &["crypto"]),
    ("arrow", &["data"]),
    ("bincode", &["types"]),
    ("caseless", &["psi"]),
    ("cedar-policy", &["policy"]),
    ("clap", &["tacit", "verify", "xtask", "benches"]),
    ("coset", &["crypto"]),
    ("curve25519-dalek", &["crypto", "psi"]),
    ("datafusion", &["data"]),
    ("ed25519-dalek", &["crypto"]),
    ("hyper", &["node"]),
    ("hyper-util", &["node"]),
    ("quinn", &["net"]),
    ("rcgen", &["net"]),
    ("rustls", &["net"]),
    ("sqlx", &["node", "coordinator"]),
    ("tokio-postgres", &["data"]),
    ("unicode-normalization", &["psi"]),
    ("x509-parser", &["net"]),
];

/// Crates that do no IO: nothing that they link may.
const PURE: [&str; 12] =
    ["types", "crypto", "dp", "protocol", "secagg", "mpc", "psi", "models", "receipts", "governance", "jobs", "engine"];

struct Package {
    folder: String,
    /// Name and kind (`None`, `dev`, `build`) of each dependency.
    dependencies: Vec<(String, Option<String>)>,
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(repo::root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

fn packages() -> Vec<Package> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
    let text = |v: &serde_json::Value| v.as_str().map(str::to_owned);
    let list = metadata["packages"].as_array().expect("packages");
    list.iter()
        .map(|p| {
            let name = text(&p["name"]).expect("a name");
            let dependencies = p["dependencies"].as_array().expect("dependencies");
            Package {
                folder: name.strip_prefix("tacit-").unwrap_or(&name).to_owned(),
                dependencies: dependencies
                    .iter()
                    .map(|d| (text(&d["name"]).expect("a name"), text(&d["kind"])))
                    .collect(),
            }
        })
        .collect()
}

/// Everything that a package links when it is built for use, by name.
pub fn linked(package: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "--offline", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p}"]);
    tree.lines().filter_map(|l| l.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_crate_is_in_the_table_and_every_edge_points_down() {
    let layers: BTreeMap<&str, u8> = TABLE.iter().map(|(name, layer, _)| (*name, *layer)).collect();
    let mut below: Vec<&str> = Vec::new();
    for (name, layer, edges) in TABLE {
        for edge in *edges {
            assert!(below.contains(edge), "{name} may name {edge}, which does not stand above it in the table");
            assert!(layers[edge] < *layer || *name == "protocol", "{name} and {edge} are of one layer");
        }
        below.push(name);
    }
    let mut there = repo::crates();
    there.sort();
    let mut table: Vec<String> = TABLE.iter().map(|row| row.0.to_owned()).collect();
    table.extend(PLANNED.iter().filter(|p| there.iter().any(|t| t == *p)).map(|p| format!("{p} (no longer planned)")));
    table.sort();
    assert_eq!(there, table);
}

#[test]
fn no_crate_has_an_edge_that_the_table_lacks() {
    let packages = packages();
    let ours = |name: &str| name == "tacit" || name.starts_with("tacit-");
    for (name, _, edges) in TABLE {
        let package = packages.iter().find(|p| p.folder == *name).expect("the crate of a row");
        for (dependency, kind) in package.dependencies.iter().filter(|(d, _)| ours(d)) {
            let folder = dependency.strip_prefix("tacit-").unwrap_or(dependency);
            // Tests may look further up, but nothing may need the simulator to be built.
            let allowed = edges.contains(&folder) || (kind.as_deref() == Some("dev") && folder != "sim");
            assert!(allowed, "{name} names {folder}, which the table of layers does not allow");
        }
    }
}

#[test]
fn each_library_is_named_where_it_can_be_replaced() {
    for package in packages() {
        for (library, allowed) in NAMED_ONLY_BY {
            let names = package.dependencies.iter().any(|(d, _)| d == library);
            assert_eq!(names, allowed.contains(&package.folder.as_str()), "whether {} names {library}", package.folder);
        }
    }
}

/// The table of `docs/ARCHITECTURE.md`: layer, crate, libraries.
fn documented() -> BTreeSet<(u8, String, BTreeSet<String>)> {
    let text = repo::text("docs/ARCHITECTURE.md".as_ref());
    let (_, table) = text.split_once("| layer | crate |").expect("the table of layers");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [layer, name, _, libraries] = cells.as_slice() else { panic!("four cells: {line}") };
        let libraries = libraries.split(',').map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
        (layer.parse().expect("a layer"), name.trim_matches('`').to_owned(), libraries)
    };
    rows.map(row).collect()
}

#[test]
fn the_architecture_shows_the_layers_and_the_libraries_that_cargo_builds() {
    let packages = packages();
    let libraries = |name: &str| {
        let package = packages.iter().find(|p| p.folder == name).expect("the crate of a row");
        let held = package.dependencies.iter().filter(|(d, _)| NAMED_ONLY_BY.iter().any(|(library, _)| library == d));
        held.map(|(d, _)| d.clone()).collect()
    };
    let built: BTreeSet<_> =
        TABLE.iter().map(|(name, layer, _)| (*layer, (*name).to_owned(), libraries(name))).collect();
    let documented = documented();
    let differing: Vec<_> = built.symmetric_difference(&documented).collect();
    assert!(differing.is_empty(), "docs/ARCHITECTURE.md and the workspace differ in {differing:#?}");
}

#[test]
fn what_is_pure_links_nothing_that_does_io() {
    let io = ["tokio", "mio", "socket2", "quinn", "rustls", "sqlx-core", "datafusion", "arrow", "tacit-sim"];
    for name in PURE {
        let linked = linked(&format!("tacit-{name}"));
        assert!(linked.contains("serde") || linked.contains("minicbor"), "{name}: the list is not empty");
        for library in io {
            assert!(!linked.contains(library), "{name} links {library}");
        }
    }
}

#[test]
fn what_is_shipped_does_not_link_the_simulator_and_the_verifier_links_no_network() {
    assert!(!linked("tacit").contains("tacit-sim"));
    let verifier = linked("tacit-verify");
    let ours: Vec<&str> = verifier.iter().map(String::as_str).filter(|n| n.starts_with("tacit")).collect();
    assert_eq!(ours, ["tacit-crypto", "tacit-receipts", "tacit-types", "tacit-verify"]);
    for library in ["tokio", "mio", "quinn", "rustls", "sqlx-core", "datafusion"] {
        assert!(!verifier.contains(library), "the verifier links {library}");
    }
}

#[test]
fn there_is_one_tls_provider_and_it_is_the_one_that_is_chosen() {
    let linked = linked("tacit");
    assert!(linked.contains("aws-lc-rs"));
    for library in ["ring", "openssl-sys", "openssl", "native-tls"] {
        assert!(!linked.contains(library), "tacit links {library}");
    }
}

#[test]
fn the_pure_crates_share_one_list_of_what_they_may_not_call() {
    let reference = repo::text("crates/types/clippy.toml".as_ref());
    assert!(reference.contains("std::time::SystemTime::now") && reference.contains("std::collections::HashMap"));
    for name in PURE.iter().chain(&["sim"]) {
        assert_eq!(repo::text(format!("crates/{name}/clippy.toml").as_ref()), reference, "crates/{name}/clippy.toml");
    }
}
