// Deliberate defects, each of which the simulator must find: a simulator that has never found one proves nothing. They exist only in
// builds with SLUICE_MUTANTS, which `Scripts/simulate --mutants` makes apart from all others; what is shipped has no trace of them.

#if SLUICE_MUTANTS
  /// A defect that can be switched on.
  public enum Mutant: String, CaseIterable, Sendable {
    /// Refuses by the mirror alone, at once.
    case noBarrier
    /// A question joins the read that is on its way already.
    case joinedRead
    /// A question that waits for one version is answered at a later one.
    case answeredPastVersion
    /// A bucket is taken over without a look at its count and digest.
    case uncheckedBucket
    /// Neither bucket nor total are compared after a change.
    case uncheckedChange
    /// Changes are followed over missing versions.
    case ignoredGap
    /// Any history is taken for the one that is mirrored.
    case ignoredEpoch
    /// A store that went back is taken for one that is about to come up.
    case ignoredRewind
    /// A bucket is emptied before it is read again.
    case refreshInPlace
    /// Once complete, always complete.
    case latchedCompleteness
    /// A store that was never sealed may be a reason to refuse.
    case ignoredSeal
    /// A bucket that couldn't be read is taken for an empty one.
    case failedReadIsEmpty
    /// What was restored from the state file counts as verified.
    case trustedStateFile
    /// The mirror counts as fresh of the answer, not of the read.
    case freshOfAnswer
    /// The mirror counts as fresh whoever answered whatever.
    case freshOfAnything
    /// A bucket that differs counts as fresh as the rest.
    case forgottenAge
    /// Admits however old the mirror is.
    case unboundedAge
    /// Questions outlive the conversation that their read was sent in.
    case keptQuestions
    /// Replies of former conversations are taken for those of the present one.
    case formerSession
    /// Changes that a bucket has already are applied again.
    case ignoredBucketVersion
    /// Questions wait as long as it takes.
    case unboundedWait
    /// Reads every bucket, whether it differs or not.
    case readsAll
    /// Whatever the other servers say of the one that answered.
    case noFence
    /// A replica that doesn't follow any more was never there.
    case forgottenReplicas
    /// A server that doesn't say who follows it is taken for one that nobody follows.
    case hiddenReplicas
    /// Tries again without a pause.
    case noPause

    // Written once before anything runs, by the simulator, which has one thread.
    nonisolated(unsafe) public static var active: Mutant?
  }
#endif
