//! What goes wrong in a run: drawn once from the seed, and a value that a failing run writes down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::run::Scenario;

/// Milliseconds after which nothing new goes wrong, so that what hangs has no excuse.
pub const CALM_AT_MS: u64 = 60_000;
/// Milliseconds without a sign of life after which a connection counts as lost.
pub const IDLE_MS: u64 = 3_000;

/// One seat of so many is lost in an aggregation among many: as many as [`tacit_secagg::Params::new`] allows for.
pub const LOST_SHARE: usize = 20;

/// Chapters of a coordinator's life: the state of the job that it moves on.
const COORDINATOR_CHAPTERS: &[&str] =
    &["admitting", "reserving", "running", "settling", "settling", "log", "log", "succeeded", "failed"];
/// Chapters of a node's life: the request that it answers, or the attempt that it runs.
const NODE_CHAPTERS: &[&str] = &[
    "admit", "start", "attempt", "attempt", "vote", "attest", "attest", "cosign", "cosign", "logged", "close", "report",
];

/// Short moments of a job's life at which much hangs on what was stored: whether it is the coordinator
/// that dies, in which chapter, at which effect at the latest.
const MOMENTS: &[(bool, &str, u64)] = &[
    (false, "attest", 3),
    (false, "attest", 3),
    (true, "log", 12),
    (true, "log", 12),
    (false, "attempt", 40),
    (false, "vote", 6),
    (false, "vote", 6),
];

/// The kinds of faults, for counting and for switching off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A message takes longer.
    Delay,
    /// A later message arrives before an earlier one.
    Reorder,
    /// A connection is lost with what is on its way, and comes back.
    Lose,
    /// A message arrives twice, the second time much later.
    Duplicate,
    /// A message breaks off; the connection is closed.
    Truncate,
    /// A message is altered; the connection's authentication notices and closes it.
    Corrupt,
    /// Nobody reaches anybody.
    PartitionTotal,
    /// Some pairs do not reach each other.
    PartitionPartial,
    /// One direction between two is cut.
    PartitionOneWay,
    /// A cut that comes and goes.
    PartitionFlapping,
    /// Everything of one process is slow.
    Slow,
    /// A process dies before it does its next thing.
    CrashBefore,
    /// A process dies right after it has done something.
    CrashAfter,
    /// A process that died stays away.
    NeverBack,
    /// A clock is wrong.
    Skew,
    /// An owner refuses the job.
    Refuse,
    /// The operator cancels.
    Cancel,
    /// An owner's local half fails.
    LocalFault,
    /// A party alters, drops, doubles or forges its own messages.
    Cheat,
    /// The coordinator comes back with an old state.
    Backup,
    /// A node comes back with an old state.
    OldNode,
    /// A node lies in what it answers and reports.
    RogueNode,
    /// The coordinator lies in what it asks.
    RogueCoordinator,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: &[FaultKind] = &[
        FaultKind::Delay,
        FaultKind::Reorder,
        FaultKind::Lose,
        FaultKind::Duplicate,
        FaultKind::Truncate,
        FaultKind::Corrupt,
        FaultKind::PartitionTotal,
        FaultKind::PartitionPartial,
        FaultKind::PartitionOneWay,
        FaultKind::PartitionFlapping,
        FaultKind::Slow,
        FaultKind::CrashBefore,
        FaultKind::CrashAfter,
        FaultKind::NeverBack,
        FaultKind::Skew,
        FaultKind::Refuse,
        FaultKind::Cancel,
        FaultKind::LocalFault,
        FaultKind::Cheat,
        FaultKind::Backup,
        FaultKind::OldNode,
        FaultKind::RogueNode,
        FaultKind::RogueCoordinator,
    ];

    /// The word, as in `--faults`.
    pub fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The kind of that word.
    pub fn parse(word: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
    }
}

/// How often each kind of fault happened.
pub type Coverage = BTreeMap<FaultKind, u64>;

/// A time in which some cannot reach some.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Partition {
    /// Which kind, for counting.
    pub kind: FaultKind,
    /// From, in milliseconds of the run.
    pub from: u64,
    /// Until.
    pub until: u64,
    /// Sender and receiver of every direction that is cut.
    pub cut: Vec<(usize, usize)>,
}

/// The death of a process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Crash {
    /// Which process.
    pub process: usize,
    /// In which chapter of its life its effects are counted, such as `settling` or `attest`; over all
    /// when absent.
    pub chapter: Option<String>,
    /// At which of its effects there: a write, a sync or a message.
    pub effect: u64,
    /// Right after the effect, or just before.
    pub after: bool,
    /// Milliseconds until it is back; never when absent.
    pub restart: Option<u64>,
}

/// What a dishonest party does to one of its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Alters a byte.
    Alter,
    /// Keeps the message.
    Drop,
    /// Sends it and then another under the same address.
    Equivocate,
    /// Alters the signed body and signs it again.
    Forge,
    /// Sends some receivers another list than others, well signed; in a window, a message under the next step as well.
    Split,
    /// Sends it late.
    Late,
}

/// A dishonest party's plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cheat {
    /// Which party.
    pub seat: usize,
    /// The number of the phase among those of the protocol; in a window, of its message from which on it may.
    pub phase: usize,
    /// What it does.
    pub deed: Deed,
}

/// What a dishonest process of a job's life does beside what it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trick {
    /// A node alters what it answers.
    AlterAnswer,
    /// A node gives an earlier answer to another question.
    ReplayAnswer,
    /// A node keeps an answer until the next and swaps the two.
    SwapAnswers,
    /// A node signs a refusal of what it admits.
    DecideTwice,
    /// A node attests another record than the one that it is shown.
    AttestAnother,
    /// A node gives two attestations one number.
    ForkChain,
    /// A node keeps its part of a result's key.
    WithholdRelease,
    /// A node reports another end of an attempt than it had.
    ReportAnother,
    /// A node counts other cells than it gave, and reports and attests that count.
    CountAnother,
    /// A node hands in as late what is no attestation of its own.
    HandInJunk,
    /// The coordinator orders an attempt twice, with two aggregators.
    StartTwice,
    /// The coordinator orders an attempt of some with another aggregator than of others.
    StartApart,
    /// A node deals under one signed root and says that it holds another one of its own.
    TellTwoRoots,
    /// The aggregator of a checked sum gives out secrets or a digest of another one.
    GiveWrongSum,
    /// The coordinator orders attempts out of turn, also of refused jobs, and again.
    StartUnasked,
    /// The coordinator alters a job, or signs one in its operator's place.
    AlterJob,
    /// The coordinator has a node attest an altered record, and shows it the receipt over the true one.
    AlterRecord,
    /// The coordinator has a node attest that an attempt ended by another party's misbehaviour, or by a refusal.
    AccuseAParty,
    /// The coordinator shows some witnesses another history.
    ForkLog,
    /// The coordinator shows receipts as logged that no witness has seen.
    ShowUnwitnessed,
    /// The coordinator asks for decisions again.
    ReplayAdmission,
    /// The coordinator tells a node an end that is none.
    CloseEarly,
}

impl Trick {
    /// Those of a node.
    pub const NODE: &[Trick] = &[
        Trick::AlterAnswer,
        Trick::ReplayAnswer,
        Trick::SwapAnswers,
        Trick::DecideTwice,
        Trick::AttestAnother,
        Trick::ForkChain,
        Trick::WithholdRelease,
        Trick::ReportAnother,
        Trick::CountAnother,
        Trick::HandInJunk,
        Trick::TellTwoRoots,
        Trick::GiveWrongSum,
    ];
    /// Those of a coordinator.
    pub const COORDINATOR: &[Trick] = &[
        Trick::StartTwice,
        Trick::StartApart,
        Trick::StartUnasked,
        Trick::AlterJob,
        Trick::AlterRecord,
        Trick::AccuseAParty,
        Trick::ForkLog,
        Trick::ShowUnwitnessed,
        Trick::ReplayAdmission,
        Trick::CloseEarly,
    ];
}

/// A dishonest process of a job's life, and what it does. The first process is the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rogue {
    /// Which.
    pub process: usize,
    /// What it does now and then.
    pub tricks: Vec<Trick>,
}

/// A copy of the coordinator's disk, put back after its next death.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backup {
    /// In which chapter of its life its effects are counted; over all when absent.
    pub chapter: Option<String>,
    /// The copy is made at the first sync there at or after so many effects.
    pub effect: u64,
}

/// A copy of a node's disk, put back after its next death. All jobs of such a run are of the contract with room for one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OldNode {
    /// Which node.
    pub node: usize,
    /// The copy is made at the first sync at or after so many effects; before anything when 0.
    pub effect: u64,
}

/// Everything that goes wrong in one run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Faults {
    /// The longest ordinary delay of a message, in milliseconds.
    pub delay: u64,
    /// Messages that take so long that later ones overtake them, in a thousand.
    pub reorder: u32,
    /// Messages that are lost with their connection, in a thousand.
    pub lose: u32,
    /// Messages that arrive twice, in a thousand.
    pub duplicate: u32,
    /// Messages that break off, in a thousand.
    pub truncate: u32,
    /// Messages that are altered and noticed, in a thousand.
    pub corrupt: u32,
    /// Cuts.
    pub partitions: Vec<Partition>,
    /// A slow process and its extra delay in milliseconds.
    pub slow: Option<(usize, u64)>,
    /// Deaths.
    pub crashes: Vec<Crash>,
    /// How far each process's clock is off, in milliseconds.
    pub skew: Vec<i64>,
    /// The party that refuses.
    pub refuse: Option<usize>,
    /// When the operator cancels.
    pub cancel: Option<u64>,
    /// The party whose local half fails.
    pub local_fault: Option<usize>,
    /// Dishonest parties.
    pub cheats: Vec<Cheat>,
    /// The earlier moment with the state of which the coordinator comes back.
    pub backup: Option<Backup>,
    /// The node that comes back with the state of an earlier moment.
    #[serde(default)]
    pub old_node: Option<OldNode>,
    /// The process of a job's life that lies.
    #[serde(default)]
    pub rogue: Option<Rogue>,
}

impl Faults {
    /// Draws the faults of a run of `processes` processes, of which `parties` hold data. The first
    /// process of a job's life is the coordinator.
    pub fn draw(seed: u64, scenario: Scenario, processes: usize, parties: usize) -> Self {
        let mut d = Dice::new(seed, "faults");
        let mut faults = Self { delay: *d.pick(&[2, 10, 50, 200]), ..Self::default() };
        // One run in eight is quiet: what fails there fails without an excuse.
        if d.chance(125) {
            return faults;
        }
        let mut rate = |likely: u32, rates: &[u32]| if d.chance(likely) { *d.pick(rates) } else { 0 };
        faults.reorder = rate(400, &[50, 300]);
        faults.duplicate = rate(400, &[20, 100, 400]);
        faults.lose = rate(250, &[2, 8, 30]);
        faults.truncate = rate(100, &[2, 10]);
        faults.corrupt = rate(100, &[2, 10]);
        if d.chance(300) {
            faults.draw_partitions(&mut d, processes);
        }
        if d.chance(150) {
            faults.slow = Some((d.below(processes as u64) as usize, *d.pick(&[100, 700, 2_500])));
        }
        if d.chance(550) {
            faults.draw_crashes(&mut d, scenario, processes);
        }
        match scenario {
            Scenario::Life => faults.draw_life(&mut d, processes, parties),
            Scenario::Window => faults.draw_liar(&mut d, parties),
            _ => faults.draw_cheats(&mut d, parties),
        }
        faults
    }

    /// Draws for an aggregation among many the losses that it must bear: of twenty seats one, of which the first cheats, the second
    /// dies and comes back, and the others stay away. The aggregator, without whom there is no sum, is spared.
    pub fn draw_losses(seed: u64, parties: usize, aggregator: usize) -> Self {
        let mut d = Dice::new(seed, "losses");
        let mut faults = Self { delay: *d.pick(&[2, 10, 50]), ..Self::default() };
        let mut lost: Vec<usize> = Vec::new();
        while lost.len() < parties / LOST_SHARE {
            let seat = d.below(parties as u64) as usize;
            if seat != aggregator && !lost.contains(&seat) {
                lost.push(seat);
            }
        }
        for (i, seat) in lost.into_iter().enumerate() {
            if i == 0 {
                let name = *d.pick(&["deal", "masked", "vote"]);
                let phase = crate::wiretap::phases().position(|p| p.name == name).unwrap_or_default();
                let deeds = [Deed::Alter, Deed::Drop, Deed::Equivocate, Deed::Forge, Deed::Late];
                faults.cheats.push(Cheat { seat, phase, deed: *d.pick(&deeds) });
                continue;
            }
            let restart = (i == 1).then(|| d.between(10, 8_000));
            // Its keys are out by then: who is lost between its word to take part and its keys ends the attempt.
            let (effect, after) = (d.between(3, 10), d.chance(500));
            faults.crashes.push(Crash { process: seat, chapter: None, effect, after, restart });
        }
        faults
    }

    fn draw_partitions(&mut self, d: &mut Dice, processes: usize) {
        let pairs: Vec<(usize, usize)> =
            (0..processes).flat_map(|a| (0..processes).filter(move |b| *b != a).map(move |b| (a, b))).collect();
        let kind = *d.pick(&[
            FaultKind::PartitionTotal,
            FaultKind::PartitionPartial,
            FaultKind::PartitionOneWay,
            FaultKind::PartitionFlapping,
        ]);
        let (a, b) = *d.pick(&pairs);
        let cut = match kind {
            FaultKind::PartitionTotal => pairs,
            FaultKind::PartitionOneWay => vec![(a, b)],
            _ => vec![(a, b), (b, a)],
        };
        let mut from = d.below(6_000);
        let windows = if kind == FaultKind::PartitionFlapping { d.between(3, 8) } else { 1 };
        for _ in 0..windows {
            let until = from + if windows > 1 { d.between(50, 900) } else { d.between(100, 12_000) };
            self.partitions.push(Partition { kind, from, until, cut: cut.clone() });
            from = until + d.between(50, 1_500);
        }
    }

    fn draw_crashes(&mut self, d: &mut Dice, scenario: Scenario, processes: usize) {
        // The operator, the last process of a job's life, is a person: it asks again anyway.
        let mortal = if scenario == Scenario::Life { processes - 1 } else { processes };
        if scenario == Scenario::Life && d.chance(300) {
            self.draw_moment(d, mortal);
        }
        for _ in 0..d.between(1, 3) {
            let process = d.below(mortal as u64) as usize;
            let chapters = match (scenario, process) {
                (Scenario::Life, 0) => COORDINATOR_CHAPTERS,
                (Scenario::Life, _) => NODE_CHAPTERS,
                _ => &[],
            };
            let chapter = (!chapters.is_empty() && d.chance(600)).then(|| (*d.pick(chapters)).to_owned());
            let far = if chapter.is_some() { *d.pick(&[6, 25]) } else { *d.pick(&[12, 60, 250]) };
            // Some are away for longer than any phase waits.
            let away = if d.chance(200) { (10_500, 25_000) } else { (10, 8_000) };
            let restart = if d.chance(150) { None } else { Some(d.between(away.0, away.1)) };
            // The coordinator has no second; without it nothing ends and nothing is wrong.
            let restart = if scenario == Scenario::Life && process == 0 { restart.or(Some(9_000)) } else { restart };
            self.crashes.push(Crash { process, chapter, effect: d.between(1, far), after: d.chance(500), restart });
        }
    }

    fn draw_moment(&mut self, d: &mut Dice, mortal: usize) {
        let (coordinator, chapter, far) = *d.pick(MOMENTS);
        let process = if coordinator { 0 } else { d.between(1, mortal as u64 - 1) as usize };
        // Who voted and is soon back is waited for.
        let soon = coordinator || (chapter == "vote" && d.chance(700));
        let restart = if soon { Some(d.between(10, 8_000)) } else { Some(d.between(10_500, 25_000)) };
        let (effect, after) = (d.between(1, far), d.chance(500));
        self.crashes.push(Crash { process, chapter: Some(chapter.to_owned()), effect, after, restart });
    }

    fn draw_cheats(&mut self, d: &mut Dice, parties: usize) {
        if !d.chance(350) {
            return;
        }
        let seats = colluders(parties).min(d.between(1, 3) as usize);
        let first = d.below(parties as u64) as usize;
        for i in 0..seats {
            for _ in 0..d.between(1, 2) {
                let deeds = [Deed::Alter, Deed::Drop, Deed::Equivocate, Deed::Forge, Deed::Split, Deed::Late];
                let phase = d.below(crate::wiretap::phases().count() as u64) as usize;
                self.cheats.push(Cheat { seat: (first + i) % parties, phase, deed: *d.pick(&deeds) });
            }
        }
    }

    /// One party of a window that lies in one to three ways, each from one of its first messages on.
    fn draw_liar(&mut self, d: &mut Dice, parties: usize) {
        if !d.chance(350) {
            return;
        }
        let seat = d.below(parties as u64) as usize;
        let deeds = [Deed::Alter, Deed::Drop, Deed::Equivocate, Deed::Split, Deed::Late];
        for _ in 0..d.between(1, 3) {
            self.cheats.push(Cheat { seat, phase: d.below(16) as usize, deed: *d.pick(&deeds) });
        }
    }

    fn draw_life(&mut self, d: &mut Dice, processes: usize, parties: usize) {
        if d.chance(250) {
            let sizes: [i64; 4] = [30, 4_000, 200_000, 400_000];
            self.skew = (0..processes).map(|_| d.pick(&sizes) * (d.below(3) as i64 - 1)).collect();
        }
        if d.chance(80) {
            self.refuse = Some(d.below(parties as u64) as usize);
        }
        if d.chance(120) {
            self.cancel = Some(d.below(4_000));
        }
        if d.chance(60) {
            self.local_fault = Some(d.below(parties as u64) as usize);
        }
        if d.chance(80) {
            self.draw_backup(d);
        }
        if d.chance(250) {
            let node = d.chance(500);
            let tricks = if node { Trick::NODE } else { Trick::COORDINATOR };
            let process = if node { d.between(1, parties as u64) as usize } else { 0 };
            let some = (0..d.between(2, 5)).map(|_| *d.pick(tricks)).collect();
            self.rogue = Some(Rogue { process, tricks: some });
        }
        if self.rogue.is_none() && self.backup.is_none() && d.chance(60) {
            self.draw_old_node(d, parties);
        }
    }

    /// An old state shows when a job that it does not know has its receipt.
    fn draw_old_node(&mut self, d: &mut Dice, parties: usize) {
        let node = d.below(parties as u64) as usize;
        self.old_node = Some(OldNode { node, effect: d.below(3) * 6 });
        let chapter = d.chance(700).then(|| "close".to_owned());
        let effect = if chapter.is_some() { d.between(1, 3) } else { d.between(20, 120) };
        let restart = Some(d.between(100, 2_000));
        self.crashes.push(Crash { process: node + 1, chapter, effect, after: true, restart });
    }

    /// An old state shows when the log has grown since: two copies of one log then sign two histories.
    fn draw_backup(&mut self, d: &mut Dice) {
        let log = d.chance(700);
        let from = if log { d.between(1, 12) } else { 20 };
        self.backup = Some(Backup { chapter: log.then(|| "settling".to_owned()), effect: from });
        let effect = if log { d.between(8, 24) } else { d.between(40, 120) };
        let restart = Some(d.between(100, 2_000));
        self.crashes.push(Crash { process: 0, chapter: log.then(|| "log".to_owned()), effect, after: true, restart });
    }

    /// Switches off every kind that is not in the list.
    pub fn only(&mut self, kinds: &[FaultKind]) {
        let on = |kind: FaultKind| kinds.contains(&kind);
        let keep = |value: &mut u32, kind| *value = if on(kind) { *value } else { 0 };
        self.delay = if on(FaultKind::Delay) { self.delay } else { 1 };
        keep(&mut self.reorder, FaultKind::Reorder);
        keep(&mut self.duplicate, FaultKind::Duplicate);
        keep(&mut self.lose, FaultKind::Lose);
        keep(&mut self.truncate, FaultKind::Truncate);
        keep(&mut self.corrupt, FaultKind::Corrupt);
        self.partitions.retain(|p| on(p.kind));
        self.crashes.retain(|c| on(if c.after { FaultKind::CrashAfter } else { FaultKind::CrashBefore }));
        self.crashes.iter_mut().filter(|c| c.restart.is_none() && !on(FaultKind::NeverBack)).for_each(|c| {
            c.restart = Some(1_000);
        });
        self.slow = self.slow.filter(|_| on(FaultKind::Slow));
        self.refuse = self.refuse.filter(|_| on(FaultKind::Refuse));
        self.cancel = self.cancel.filter(|_| on(FaultKind::Cancel));
        self.local_fault = self.local_fault.filter(|_| on(FaultKind::LocalFault));
        self.backup = self.backup.take().filter(|_| on(FaultKind::Backup));
        self.old_node = self.old_node.take().filter(|_| on(FaultKind::OldNode));
        let kind = |rogue: &Rogue| if rogue.process == 0 { FaultKind::RogueCoordinator } else { FaultKind::RogueNode };
        self.rogue = self.rogue.take().filter(|rogue| on(kind(rogue)));
        if !on(FaultKind::Skew) {
            self.skew.clear();
        }
        if !on(FaultKind::Cheat) {
            self.cheats.clear();
        }
    }

    /// The death of a process that is due, given how many effects it has had in all and in a chapter.
    pub fn crash_at(&self, process: usize, all: u64, chapter: &str, there: u64) -> Option<&Crash> {
        self.crashes.iter().find(|c| {
            let effects = match &c.chapter {
                None => all,
                Some(name) if name == chapter => there,
                Some(_) => return false,
            };
            c.process == process && c.effect == effects
        })
    }

    /// How far a process's clock is off.
    pub fn skew_of(&self, process: usize) -> i64 {
        self.skew.get(process).copied().unwrap_or(0)
    }
}

/// How many of so many parties may collude.
pub fn colluders(parties: usize) -> usize {
    tacit_secagg::Params::new(parties as u16).map_or(0, |p| usize::from(p.corrupt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_drawn_and_every_kind_can_be_switched_off() {
        let quiet = Faults { delay: 1, ..Faults::default() };
        let mut some = BTreeMap::new();
        for seed in 0..2_000 {
            for (scenario, processes) in [(Scenario::Life, 6), (Scenario::Secagg, 4), (Scenario::Window, 4)] {
                let all = Faults::draw(seed, scenario, processes, 4);
                assert_eq!(all, Faults::draw(seed, scenario, processes, 4));
                for kind in FaultKind::ALL {
                    let mut one = all.clone();
                    one.only(&[*kind]);
                    *some.entry(*kind).or_insert(0) += u32::from(one != quiet);
                }
                let mut none = all.clone();
                none.only(&[]);
                assert_eq!(none, quiet);
                let mut same = all.clone();
                same.only(FaultKind::ALL);
                assert_eq!(same, all);
            }
        }
        let never_alone = [FaultKind::NeverBack];
        for kind in FaultKind::ALL.iter().filter(|k| !never_alone.contains(k)) {
            assert!(some[kind] > 20, "{} was drawn {} times", kind.word(), some[kind]);
            assert_eq!(FaultKind::parse(&kind.word()), Some(*kind));
        }
    }
}
