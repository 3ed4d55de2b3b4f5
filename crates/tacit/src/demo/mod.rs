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

use std::time::Duration;

use serde_json::{Value, json};
use tacit_types::{Code, Fault};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::{Cli, DemoArgs, DemoName};
use crate::output::Out;
use stage::Stage;

/// What a demonstration does, and what to try when it is left running: a party and its arguments each.
struct Play {
    play: fn(&mut Stage) -> Result<Value, Fault>,
    to_try: &'static [(&'static str, &'static str)],
}

/// How long what plays may take to notice that it was interrupted.
const HALT_WAIT: Duration = Duration::from_secs(3);

/// The signals that end a demonstration.
struct Signals([(SignalKind, Signal); 3]);

impl Signals {
    /// From now on they end nothing by themselves.
    fn new() -> Result<Self, Fault> {
        let listen = |kind| match signal(kind) {
            Ok(signal) => Ok((kind, signal)),
            Err(e) => Err(Fault::new(Code::Internal, format!("signals: {e}"))),
        };
        let [hangup, interrupt, terminate] = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
        Ok(Self([listen(hangup)?, listen(interrupt)?, listen(terminate)?]))
    }

    /// The exit status of the first that comes, as shells have it.
    async fn received(&mut self) -> u8 {
        let [hangup, interrupt, terminate] = &mut self.0;
        let kind = tokio::select! {
            _ = hangup.1.recv() => hangup.0,
            _ = interrupt.1.recv() => interrupt.0,
            _ = terminate.1.recv() => terminate.0,
        };
        128u8.saturating_add(u8::try_from(kind.as_raw_value()).unwrap_or(0))
    }
}

/// Runs a demonstration and gives the exit status. A signal stops its processes and removes its folder, kept or not: keys
/// lie in it.
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
    let mut signals = Signals::new()?;
    let mut stage = Stage::new(keep, json)?;
    let halt = stage.world.halt();
    let (done, mut outcome) = oneshot::channel();
    let play = move || match (what.play)(&mut stage) {
        Ok(summary) => Ok((stage, summary)),
        Err(fault) if keep && !stage.world.is_halted() => {
            let folder = stage.world.leave();
            if !json {
                println!("\nLeft as it is, for a look: {}", folder.display());
            }
            Err(fault)
        }
        Err(fault) => Err(fault),
    };
    // why: a thread of its own, which the end of the program does not wait for.
    std::thread::spawn(move || _ = done.send(play()));
    let outcome = tokio::select! {
        outcome = &mut outcome => outcome,
        status = signals.received() => {
            halt.now();
            // Whatever it comes to, it is dropped, and with it the folder.
            drop(tokio::time::timeout(HALT_WAIT, outcome).await);
            halt.sweep()?;
            out.text(out.say("stopped; nothing is left running, and the folder is removed", "已停止；进程均已结束，文件夹已删除"));
            return Ok(status);
        }
    };
    let (stage, mut summary) = outcome.map_err(|_| Fault::new(Code::Internal, "the demonstration panicked"))??;
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
