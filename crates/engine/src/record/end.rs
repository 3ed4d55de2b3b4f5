//! The record of an attempt or a job without a result: what a party knows that would contradict it. It knows its own end
//! and its own signed answers; of the others it knows what evidence shows. What none of that contradicts it lets stand: how the
//! others were lost to each other only they can say.

use tacit_governance::admission::CLOCK_SKEW_MAX_MS;

use super::*;

/// Whether one party can be lost to another without anyone's doing, whatever that party makes of it.
fn is_loss(code: Code) -> bool {
    matches!(code, Code::JobPeerLost | Code::JobDeadline | Code::JobCancelled | Code::JobBusy | Code::JobUnreachable)
}

/// Whether an attempt that ended well here can have ended for this reason at others. Once all have agreed and given their
/// input, no place is lacking and nobody has yet to decide.
fn others_can_cause(code: Code) -> bool {
    !matches!(code, Code::JobBusy | Code::JobUnreachable | Code::JobUnknown | Code::JobNotFinished | Code::JobNotOurs)
        && (!code.text().starts_with("refused.") || code == Code::RefusedContractRevoked)
}

pub(super) fn check(record: &UsageRecord, entry: &PartyEntry, own: &Own<'_>) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
    if record.result.is_some() || !record.lines.is_empty() || !record.disclosures.is_empty() {
        return wrong("usage in an attempt without result".into());
    }
    if entry.standing != Standing::TookPart {
        return wrong("this party, which is asked to sign, is said to have been away".into());
    }
    // Nobody begins before all have decided.
    if let Some(silent) = record.parties.iter().find(|p| record.attempt.0 > 0 && p.standing == Standing::Silent) {
        return wrong(format!("{} has not decided, and an attempt ran", silent.name));
    }
    if record.started.plus(2 * CLOCK_SKEW_MAX_MS) < own.job.body().created_at {
        return wrong(format!("it began at {}, before the job was written", record.started));
    }
    let same = record.attempt == own.attempt && own.attempt.0 > 0;
    if let Some(began) = own.began.filter(|_| same)
        && (began.plus(CLOCK_SKEW_MAX_MS) < record.started || record.ended.plus(CLOCK_SKEW_MAX_MS) < began)
    {
        return wrong(format!("{} to {}, and it began here at {began}", record.started, record.ended));
    }
    let me = record.parties.iter().position(|p| p.party == own.node).map(|i| Seat(i as u16));
    match &record.status {
        Status::Aborted { code, step, seat } => {
            named(record, *code, *seat, own.finished.filter(|_| same))?;
            let own_end = own.finished.filter(|_| same);
            aborted((*code, *step), seat.is_some() && *seat == me, own_end, own.untold)
        }
        Status::Refused { code, seat } => refused(*code, *seat, me, own),
        Status::Ok => Ok(()),
    }
}

/// Nobody is named as a cheat unless it is convicted, or is the one that this party itself has blamed; of two who hold
/// different jobs none, but as this party has found.
fn named(record: &UsageRecord, code: Code, seat: Option<Seat>, own: Option<&Finished>) -> Result<(), Fault> {
    let Some(named) = seat.filter(|_| matches!(code, Code::JobMisbehaved | Code::JobDisagreement)) else {
        return Ok(());
    };
    let convicted = code == Code::JobMisbehaved && record.convictions.iter().any(|c| c.seat == named);
    let blamed = matches!(own, Some(Finished::Failed { code: c, seat: s, .. }) if *c == code && *s == seat);
    match convicted || blamed {
        true => Ok(()),
        false => Err(Fault::new(Code::ReceiptRecord, format!("{named} is named for {code}, and nothing shows it"))),
    }
}

fn aborted((code, step): (Code, Option<Step>), me: bool, own: Option<&Finished>, untold: bool) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
    match own {
        // Whose vote, or whose hearing of the verdict, was lost is a loss to the others.
        Some(Finished::Ok { .. }) if me && !(untold && is_loss(code) && others_can_cause(code)) => {
            wrong(format!("this party is named for {code}, and ended well"))
        }
        Some(Finished::Ok { .. }) if !others_can_cause(code) => {
            wrong(format!("it ended by {code}, and well at this party, which no other could cause"))
        }
        // What only this party's own half can have reported of itself.
        Some(Finished::Failed { code: c, step: s, .. })
            if me && !is_loss(code) && code != Code::JobMisbehaved && (*c != code || *s != step) =>
        {
            wrong(format!("this party is named for {code}, and ended by {c}"))
        }
        _ => Ok(()),
    }
}

fn refused(code: Code, seat: Option<Seat>, me: Option<Seat>, own: &Own<'_>) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
    let Some(seat) = seat else { return wrong("a refusal of nobody".into()) };
    if Some(seat) == me && own.refusal != Some(code) {
        let said = own.refusal.map_or("admitted the job".to_owned(), |code| format!("refused by {code}"));
        return wrong(format!("this party is said to have refused by {code}, and {said}"));
    }
    Ok(())
}
