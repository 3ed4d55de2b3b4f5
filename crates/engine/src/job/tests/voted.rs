//! Some have voted for the end of an attempt, and one was lost.

use super::*;

fn voted(aggregates: bool) -> Finished {
    Finished::Ok {
        package: aggregates.then(|| Package::Inline(Blob(vec![1; 9]))),
        survivors: vec![Seat(0), Seat(1)],
        cells_in: 1,
        payload_bytes: 32,
        cells_out: 0,
        cells_suppressed: 0,
        opened: Vec::new(),
    }
}

fn aggregator(job: &Job) -> u8 {
    if job.aggregator == Some(key(101).id()) { 1 } else { 2 }
}

/// Two owners of rows that are counted, up to a running attempt.
fn summing(owners: &[u8]) -> Job {
    begun(spec(owners), owners)
}

/// Of an alignment what is summed says nothing of rows: who has voted begins anew with who was lost before its vote, or before it
/// heard the verdict. Of a sum of inputs nobody gives another.
#[test]
fn who_voted_for_an_alignment_begins_it_anew_with_who_was_lost() {
    for (jobs, state) in [(aligning as fn(&[u8]) -> Job, "queued"), (summing, "settling")] {
        for aggregates in [false, true] {
            let mut job = jobs(&[1, 2]);
            let dead = if aggregates { aggregator(&job) } else { 3 - aggregator(&job) };
            job.step(T0.plus(10), Input::Reachable { node: key(dead + 100).id(), reachable: false });
            finish(&mut job, 3 - dead, 20, failed(Code::JobPeerLost, ""));
            // Past what a loss is given, within what a party that may have voted is given.
            job.step(T0.plus(9_000), Input::Tick);
            assert_eq!(job.state(), "running");
            job.step(T0.plus(9_500), Input::Reachable { node: key(dead + 100).id(), reachable: true });
            finish(&mut job, dead, 9_600, voted(aggregates));
            assert_eq!(job.state(), state, "{aggregates}");
            if state != "queued" {
                assert_eq!(job.terminal().and_then(Terminal::code), Some(Code::JobPeerLost));
                continue;
            }
            job.step(T0.plus(9_800), Input::Tick);
            [1, 2].iter().for_each(|seed| answer(&mut job, *seed, 9_810, FromNode::Reserved));
            assert_eq!((job.state(), job.attempt), ("running", 2));
            [1, 2].iter().for_each(|seed| answer(&mut job, *seed, 9_820, FromNode::Started));
            let aggregator = aggregator(&job);
            [1, 2].iter().for_each(|seed| finish(&mut job, *seed, 9_900, voted(*seed == aggregator)));
            assert_eq!(job.terminal(), Some(&Terminal::Succeeded));
            assert_eq!(job.record().unwrap().attempt, Attempt(2));
        }
    }
}
