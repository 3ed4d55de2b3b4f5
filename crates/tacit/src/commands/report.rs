//! `report`: what was used, charged, paid, disputed and complained about in a stretch of time, as a page to print.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tacit_receipts::printed;
use tacit_types::Fault;

use super::fetch::Fetched;
use super::money::parse_time;
use super::receipt::{trust, write};
use crate::cli::Cli;
use crate::home::Party;
use crate::output::Out;
use crate::progress::Progress;

#[derive(Args)]
pub struct ReportArgs {
    /// The beginning.
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// The end, without it.
    #[arg(long, value_name = "TIME")]
    pub until: String,
    /// The page to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The bundle that gives the page, to write beside it: `tacit-verify BUNDLE --trust FILE --report PAGE` holds it.
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(cli: &Cli, out: &Out, args: &ReportArgs) -> Result<(), Fault> {
    let (from, until) = (parse_time(&args.from)?, parse_time(&args.until)?);
    let party = Party::open(cli).await?;
    let client = party.connect().await?;
    let done = async {
        let (log, trust) = (Fetched::all(&client, out).await?, trust(&party, &client).await?);
        let bundle = log.bundle(trust.clone());
        let progress = Progress::new(out.json(), out.say("making the report", "正在生成报告"));
        let page = printed::report(&bundle, &trust, from, until)?;
        drop(progress);
        write(&args.out, page.as_bytes())?;
        if let Some(path) = &args.bundle {
            write(path, &bundle.to_bytes())?;
        }
        let proofs = page.matches(printed::PROOF_ROW).count();
        out.text(format!(
            "{}: {} {proofs}",
            args.out.display(),
            out.say(
                "open it in a browser and print it; leaves that it proves:",
                "请用浏览器打开并打印；所证明的条目数："
            )
        ));
        out.value(&json!({"report": args.out.display().to_string(), "proofs": proofs}));
        Ok(())
    }
    .await;
    client.close().await;
    party.store.close().await;
    done
}
