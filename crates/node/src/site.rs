//! The site's own policy: a file that `node.toml` names, looked at before each decision. What was edited holds from the next
//! decision on; while the file cannot be used, every job is refused.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tacit_governance::SitePolicy;
use tacit_governance::site::Asked;
use tacit_policy::{POLICY_BYTES_MAX, Policy};
use tacit_types::{Code, Fault};

use crate::config::Config;
use crate::files::io_fault;

/// A policy for one decision.
pub type Current = Arc<dyn SitePolicy + Send + Sync>;

/// Reads a policy file and holds it against the schema of this program's kinds of jobs.
///
/// # Errors
/// `config.policy` naming the file and everything that is wrong; `io.failed`.
pub fn read(path: &Path) -> Result<Policy, Fault> {
    parse(path, &text(path)?)
}

fn text(path: &Path) -> Result<Vec<u8>, Fault> {
    let failed = |e: std::io::Error| io_fault(path, &e);
    // why: what is no file, as a pipe, may never end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Fault::new(Code::ConfigPolicy, format!("{}: no file", path.display())));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Policy, Fault> {
    let named = |what: String| Fault::new(Code::ConfigPolicy, format!("{}: {what}", path.display()));
    let text = std::str::from_utf8(bytes).map_err(|e| named(e.to_string()))?;
    Policy::read(text, &kinds()).map_err(|fault| named(fault.what))
}

/// The kinds of jobs that a policy may name.
pub fn kinds() -> Vec<&'static str> {
    tacit_jobs::CATALOG.iter().map(|kind| kind.id()).collect()
}

/// What refuses everything.
struct Unusable;

impl SitePolicy for Unusable {
    fn decide(&self, _: &Asked) -> Result<(), Fault> {
        // What is wrong is the owner's to know.
        Err(Fault::new(Code::RefusedSitePolicy, "the policy file cannot be used"))
    }
}

/// The policy of a node.
pub struct Site {
    file: PathBuf,
    /// What the file had when it was last looked at, and what came of it.
    last: Mutex<(Vec<u8>, Current)>,
}

impl Site {
    /// The policy of a node's folder; none where its configuration names none.
    ///
    /// # Errors
    /// Those of [`read`]: a node does not start with a policy that it cannot use.
    pub fn open(home: &Path, config: &Config) -> Result<Option<Arc<Self>>, Fault> {
        let Some(file) = config.policy.as_ref().map(|file| home.join(file)) else { return Ok(None) };
        let bytes = text(&file)?;
        let policy = parse(&file, &bytes)?;
        tracing::info!(hash = %policy.hash(), policies = policy.lines().len(), "site policy");
        Ok(Some(Arc::new(Self { file, last: Mutex::new((bytes, Arc::new(policy))) })))
    }

    /// The policy as its file stands now.
    pub fn current(&self) -> Current {
        let read = text(&self.file);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match read {
            Ok(bytes) if bytes == last.0 => return last.1.clone(),
            Ok(bytes) => bytes,
            Err(fault) => {
                tracing::error!(%fault, "the site policy cannot be read; every job is refused");
                return Arc::new(Unusable);
            }
        };
        let policy: Current = match parse(&self.file, &bytes) {
            Ok(policy) => {
                tracing::info!(hash = %policy.hash(), policies = policy.lines().len(), "site policy");
                Arc::new(policy)
            }
            Err(fault) => {
                tracing::error!(%fault, "the site policy cannot be used; every job is refused");
                Arc::new(Unusable)
            }
        };
        *last = (bytes, policy.clone());
        policy
    }
}

/// The policy for one decision, where the site has one.
///
/// # Errors
/// `internal` where the runtime ends.
pub(crate) async fn now(site: Option<&Arc<Site>>) -> Result<Option<Current>, Fault> {
    let Some(site) = site.cloned() else { return Ok(None) };
    let look = tokio::task::spawn_blocking(move || site.current());
    look.await.map(Some).map_err(|e| Fault::new(Code::Internal, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_at_again_and_what_cannot_be_used_admits_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("site.cedar");
        let pin =
            format!("address = \"[::1]:1\"\nfingerprint = \"{}\"\norigin = \"o\"\nlog_key = \"k\"", "0".repeat(64));
        let mut config = Config::parse(&format!("name = \"a\"\nrole = \"node\"\n[coordinator]\n{pin}")).unwrap();
        assert!(Site::open(dir.path(), &config).unwrap().is_none());
        config.policy = Some("site.cedar".into());
        let started = || Site::open(dir.path(), &config).map(|_| ()).unwrap_err().code;
        assert_eq!(started(), Code::IoFailed);
        for bad in ["permit(principal, action, resource) when { context.nothing };", "permit(", "\u{1}"] {
            std::fs::write(&file, bad).unwrap();
            assert_eq!(started(), Code::ConfigPolicy, "{bad}");
        }
        std::fs::write(&file, [0xff]).unwrap();
        assert_eq!(started(), Code::ConfigPolicy);
        // One byte too long, a comment as it is.
        let long = format!("// {}", "x".repeat(POLICY_BYTES_MAX - 2));
        std::fs::write(&file, &long).unwrap();
        assert_eq!(started(), Code::ConfigPolicy);
        std::fs::write(&file, &long[..POLICY_BYTES_MAX]).unwrap();
        let site = Site::open(dir.path(), &config).unwrap().unwrap();
        let first = site.current();
        assert!(Arc::ptr_eq(&first, &site.current()), "it is read once");
        std::fs::write(&file, "permit(principal, action, resource);").unwrap();
        assert!(!Arc::ptr_eq(&first, &site.current()));
        assert_eq!(read(&file).unwrap().lines().len(), 1);
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(read(&file).map(|_| ()).unwrap_err().code, Code::ConfigPolicy);
    }
}
