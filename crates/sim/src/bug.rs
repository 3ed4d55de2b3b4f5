//! Planted bugs. A simulator that does not find them is blind, so each has a test that does.

use serde::{Deserialize, Serialize};

/// A mistake that a driver or a party could make. None of them is in shipped code: the simulator's
/// own drivers and wrappers make them when told to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bug {
    /// A node answers an admission that is written but not synced.
    AnswerBeforeSync,
    /// A node sends its attestation before the chain's head is on disk.
    AttestBeforeStore,
    /// A restarted node begins its chain of attestations anew.
    ForgetChain,
    /// A node decides a repeated request again instead of giving the stored answer.
    DropDedupe,
    /// A node counts a job against its quota after it has answered.
    QuotaAfterAnswer,
    /// A restarted node runs an attempt again that it had begun.
    RerunBurned,
    /// A node seeds the attempts of a job alike.
    ReuseSeed,
    /// A node hands out its part of the key for a receipt that lacks an attestation.
    AcceptIncomplete,
    /// Coordinator and node are content with one cosignature.
    ReleaseBeforeQuorum,
    /// A masked input leaves before the disk says that it has.
    ForgetInputSent,
    /// A machine hears that its record is durable, and it is not.
    SkipPersist,
    /// A witness cosigns whatever it is shown.
    WitnessCosignsFork,
    /// A node makes up its own mind about how a job ended.
    CloseByOwnVerdict,
    /// A node's local half opens a number that the job does not list.
    OpenUndisclosed,
    /// A node meters something that follows from its data.
    MeterByInput,
    /// The coordinator asks before it has stored why.
    AskBeforeStore,
    /// The coordinator acknowledges a report that it has not stored.
    AcknowledgeBeforeStore,
    /// The coordinator signs a receipt anew each time it is asked to append it.
    AppendTwice,
    /// The coordinator publishes a checkpoint before the log's files are synced.
    CheckpointBeforeFiles,
    /// The coordinator forgets when to wake.
    ForgetWake,
    /// The coordinator tells parties an end that may still change.
    TellEarly,
    /// A driver panics where it should write.
    Panic,
    /// A party's vector is counted twice.
    DoubleCount,
    /// A party of a round opens its shares before the decision is on disk.
    OpenBeforeDecision,
    /// The aggregator leaves a survivor out of the list that it sends to some.
    ForgeSurvivors,
    /// A party reports survivors whose input is not in the sum.
    MisreportSurvivors,
    /// A party signs what it did not check: its openings for a second set of survivors.
    VoteTwice,
    /// The bytes of a message are altered on their way and nobody notices.
    UndetectedCorruption,
    /// A machine's record is written and not synced.
    PersistWithoutSync,
    /// A restarted party goes on in the attempt that it lost.
    ResumeAttempt,
    /// A node charges a job again each time that it is asked about it.
    ChargeTwice,
    /// The coordinator tells of a receipt before any witness has seen it, and the nodes ask for no proof.
    AcceptWithoutProof,
    /// The joint halves know no floor.
    IgnoreFloor,
    /// A node folds some of its rows twice.
    FoldTwice,
    /// The coordinator takes the answer to a request that it gave up for that to its next.
    TakeStaleAnswer,
    /// A node does not ask how the jobs ended that are open here.
    ForgetToAsk,
    /// A restarted node has forgotten what it signed and did not see in the log.
    ForgetAttestation,
    /// A restarted node has forgotten what it voted for.
    ForgetVote,
    /// A node that was away when it would have been asked asks for no record.
    ForgetOwed,
    /// The coordinator acknowledges a late attestation and drops it.
    DropLate,
    /// A node begins an attempt at a job that it has not admitted.
    RunUnadmitted,
    /// A node that runs an attempt goes over to another assignment for it.
    ChangeAssignment,
    /// A node signs whatever record it is shown.
    AttestBlindly,
    /// A node signs whatever it is told of an attempt without a result.
    AttestAnyEnd,
    /// A node hands out its part of the key for a receipt over another record than the one that it attested.
    AcceptAnyRecord,
    /// A node takes a checkpoint that no witness has seen for a proof.
    TrustProof,
    /// The operator opens a result without checking the proof of its receipt.
    OpenUnproven,
    /// The coordinator has whatever it is handed as a late attestation logged.
    LogUnchecked,
    /// A dealer begins every attempt with the same randomness.
    DealAlike,
    /// A recipient's node puts calls to its seat again that it has put, and forgets that it did.
    AskTwice,
    /// A recipient's node gives the answers of a batch to its calls in another order.
    MixAnswers,
    /// A job that was to be verified is planned without.
    RunUnverified,
    /// The recipient takes numbers without checking their codes and the seal.
    OpenUnchecked,
    /// The dealer gets the seed of the seal, which is kept from it.
    LeakSeal,
    /// A restarted node has forgotten the queries that it answered and the keys that others brought.
    ForgetSpent,
    /// A node with an older disk admits jobs without having read the log.
    ForgetLog,
    /// A node leaves what an attempt that was lost had found where the next one puts its own.
    KeepLeftovers,
}

impl Bug {
    /// Those of a job's life.
    pub const LIFE: &[Bug] = &[
        Bug::DealAlike,
        Bug::AnswerBeforeSync,
        Bug::AttestBeforeStore,
        Bug::ForgetChain,
        Bug::DropDedupe,
        Bug::QuotaAfterAnswer,
        Bug::RerunBurned,
        Bug::ReuseSeed,
        Bug::AcceptIncomplete,
        Bug::ReleaseBeforeQuorum,
        Bug::ForgetInputSent,
        Bug::SkipPersist,
        Bug::WitnessCosignsFork,
        Bug::CloseByOwnVerdict,
        Bug::OpenUndisclosed,
        Bug::MeterByInput,
        Bug::AskBeforeStore,
        Bug::AcknowledgeBeforeStore,
        Bug::AppendTwice,
        Bug::CheckpointBeforeFiles,
        Bug::ForgetWake,
        Bug::TellEarly,
        Bug::PersistWithoutSync,
        Bug::ChargeTwice,
        Bug::AcceptWithoutProof,
        Bug::IgnoreFloor,
        Bug::FoldTwice,
        Bug::TakeStaleAnswer,
        Bug::ForgetToAsk,
        Bug::ForgetAttestation,
        Bug::DropLate,
        Bug::ForgetVote,
        Bug::ForgetOwed,
    ];

    /// Those of verified scores.
    pub const VERIFIED: &[Bug] = &[Bug::RunUnverified, Bug::OpenUnchecked, Bug::LeakSeal];

    /// Those of secure aggregation alone.
    pub const SECAGG: &[Bug] = &[
        Bug::SkipPersist,
        Bug::DoubleCount,
        Bug::ReuseSeed,
        Bug::OpenBeforeDecision,
        Bug::ForgeSurvivors,
        Bug::MisreportSurvivors,
        Bug::VoteTwice,
        Bug::UndetectedCorruption,
        Bug::PersistWithoutSync,
        Bug::ResumeAttempt,
        Bug::Panic,
    ];

    /// Those of alignments, searches and counts.
    pub const ALIGN: &[Bug] = &[
        Bug::PersistWithoutSync,
        Bug::ForgetSpent,
        Bug::KeepLeftovers,
        Bug::ReuseSeed,
        Bug::UndetectedCorruption,
        Bug::MeterByInput,
    ];

    /// Those of a window of scores online.
    pub const WINDOW: &[Bug] =
        &[Bug::AskTwice, Bug::MixAnswers, Bug::FoldTwice, Bug::UndetectedCorruption, Bug::ResumeAttempt];
}
