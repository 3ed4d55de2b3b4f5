//! `tacit demo`: parties as processes of their own, real data, a refused job, and every receipt verified by a separate
//! program.

mod align;
mod credit;
mod people;
mod pooled;
mod scoring;
mod stage;
mod statistics;
mod world;

use serde_json::{Value, json};
use tacit_types::{Code, Fault};

use crate::cli::{Cli, DemoArgs, DemoName};
use crate::output::Out;
use stage::Stage;

/// What a demonstration does, and what to try when it is left running: a party and its arguments each.
struct Play {
    play: fn(&mut Stage) -> Result<Value, Fault>,
    to_try: &'static [(&'static str, &'static str)],
}

/// Runs a demonstration and gives the exit status.
///
/// # Errors
/// Whatever did not work.
pub async fn run(_cli: &Cli, out: &Out, args: &DemoArgs) -> Result<u8, Fault> {
    let (json, keep) = (out.json(), args.keep);
    let what = match args.what {
        DemoName::Statistics => statistics::PLAY,
        DemoName::Scoring => scoring::PLAY,
        DemoName::Align => align::PLAY,
    };
    let outcome = tokio::task::spawn_blocking(move || {
        let mut stage = Stage::new(keep, json)?;
        match (what.play)(&mut stage) {
            Ok(summary) => Ok((stage, summary)),
            Err(fault) if keep => {
                let folder = stage.world.leave();
                if !json {
                    println!("\nLeft as it is, for a look: {}", folder.display());
                }
                Err(fault)
            }
            Err(fault) => Err(fault),
        }
    });
    let (stage, mut summary) = outcome.await.map_err(|e| Fault::new(Code::Internal, e.to_string()))??;
    let sound = summary["sound"] == json!(true);
    if keep {
        summary["kept"] = stage.to_try(what.to_try);
    }
    out.value(&summary);
    if keep {
        stage.say_what_to_try(what.to_try);
        stage.world.leave();
    }
    Ok(u8::from(!sound))
}
