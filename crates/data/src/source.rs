//! Where a dataset lies.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tacit_types::{Code, Fault, Name};

/// The place of a dataset, as the owner gave it. The node stores it; it never leaves the node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A CSV file (RFC 4180, UTF-8, with a header line).
    Csv {
        /// Absolute path.
        path: PathBuf,
    },
    /// A Parquet file.
    Parquet {
        /// Absolute path.
        path: PathBuf,
    },
    /// A PostgreSQL table or view.
    Postgres {
        /// The database's name in this node's configuration, never an address.
        source: Name,
        /// The schema.
        schema: String,
        /// The table.
        table: String,
    },
}

/// Bytes of a PostgreSQL identifier (NAMEDATALEN less one); the server would cut a longer one short.
const IDENTIFIER_BYTES_MAX: usize = 63;

impl Source {
    /// Reads what a person types: `claims.csv`, `claims.parquet`, `postgres://NAME/TABLE` or
    /// `postgres://NAME/SCHEMA.TABLE` (schema `public` when absent). A relative path is made absolute
    /// against the current folder, because the node may run in another one.
    ///
    /// # Errors
    /// `data.format_unknown` for any other form; `args.name_malformed` when NAME is not a name, so that an
    /// address with a password in it is refused before it is stored. Neither quotes more than the form.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            return Self::parse_postgres(rest);
        }
        if text.contains("://") {
            return Err(Fault::new(Code::DataFormatUnknown, "an address is not a source"));
        }
        let absolute =
            || std::path::absolute(text).map_err(|e| Fault::new(Code::DataFileAbsent, format!("{text}: {}", e.kind())));
        let extension = Path::new(text).extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("csv") => Ok(Source::Csv { path: absolute()? }),
            Some("parquet") => Ok(Source::Parquet { path: absolute()? }),
            _ => Err(Fault::new(Code::DataFormatUnknown, text.chars().take(200).collect::<String>())),
        }
    }

    fn parse_postgres(rest: &str) -> Result<Self, Fault> {
        let unknown = |why: &str| Fault::new(Code::DataFormatUnknown, format!("postgres://: {why}"));
        let (source, relation) = rest.split_once('/').ok_or_else(|| unknown("NAME/TABLE is expected"))?;
        // why: the text may be a whole address with a password, so it is not quoted.
        let source =
            Name::new(source).map_err(|f| Fault::new(f.code, "postgres://NAME/TABLE: NAME is not a plain name"))?;
        let (schema, table) = relation.split_once('.').unwrap_or(("public", relation));
        for part in [schema, table] {
            let plain = !part.is_empty()
                && part.len() <= IDENTIFIER_BYTES_MAX
                && !part.chars().any(|c| c.is_control() || matches!(c, '/' | '?' | '#' | '%' | '"' | '.'));
            if !plain {
                return Err(unknown("SCHEMA and TABLE are plain names of at most 63 bytes"));
            }
        }
        Ok(Source::Postgres { source, schema: schema.to_owned(), table: table.to_owned() })
    }
}

/// Opens a regular file for reading; a folder, a device or a pipe is not one.
///
/// # Errors
/// `data.file_absent`.
pub(crate) fn open_file(path: &Path) -> Result<File, Fault> {
    let absent = |why: String| Fault::new(Code::DataFileAbsent, format!("{}: {why}", path.display()));
    // why: the kind is asked before opening, since opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(|e| absent(e.kind().to_string()))?;
    if !metadata.is_file() {
        return Err(absent("not a regular file".to_owned()));
    }
    File::open(path).map_err(|e| absent(e.kind().to_string()))
}

/// The place in a message: a path, or `postgres://NAME/SCHEMA.TABLE`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Csv { path } | Source::Parquet { path } => write!(f, "{}", path.display()),
            Source::Postgres { source, schema, table } => write!(f, "postgres://{source}/{schema}.{table}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_forms_are_read() {
        let Source::Csv { path } = Source::parse("some/claims.CSV").unwrap() else { panic!("not a csv") };
        assert!(path.is_absolute() && path.ends_with("some/claims.CSV"));
        assert_eq!(Source::parse("/d/x.parquet").unwrap(), Source::Parquet { path: "/d/x.parquet".into() });
        let table = |schema: &str, table: &str| Source::Postgres {
            source: Name::new("ehr").unwrap(),
            schema: schema.into(),
            table: table.into(),
        };
        assert_eq!(Source::parse("postgres://ehr/visits").unwrap(), table("public", "visits"));
        assert_eq!(Source::parse("postgresql://ehr/lab.Visits 1").unwrap(), table("lab", "Visits 1"));
        for text in ["/d/x.parquet", "postgres://ehr/lab.visits"] {
            let source = Source::parse(text).unwrap();
            assert_eq!(source.to_string(), text);
            assert_eq!(serde_json::from_str::<Source>(&serde_json::to_string(&source).unwrap()).unwrap(), source);
        }
    }

    #[test]
    fn anything_else_is_refused_and_no_password_is_quoted() {
        for bad in ["", "claims", "claims.txt", "claims.csv.gz", "http://h/x.csv", "file:///x.csv", "s3://b/x.parquet"]
        {
            assert_eq!(Source::parse(bad).unwrap_err().code, Code::DataFormatUnknown, "{bad}");
        }
        for bad in
            ["postgres://ehr", "postgres://ehr/", "postgres://ehr/a.b.c", "postgres://ehr/a?b", "postgres://ehr/.t"]
        {
            assert_eq!(Source::parse(bad).unwrap_err().code, Code::DataFormatUnknown, "{bad}");
        }
        let long = "t".repeat(IDENTIFIER_BYTES_MAX);
        assert!(Source::parse(&format!("postgres://ehr/{long}")).is_ok());
        assert_eq!(Source::parse(&format!("postgres://ehr/{long}t")).unwrap_err().code, Code::DataFormatUnknown);
        let fault = Source::parse("postgres://user:hunter2@db.example:5432/t").unwrap_err();
        assert_eq!(fault.code, Code::ArgsNameMalformed);
        assert!(!fault.to_string().contains("hunter2"));
    }
}
