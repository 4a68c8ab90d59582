// Deliberate defects, each of which the simulator must find: a simulator that has never found one proves nothing. They
// exist only in builds with SLUICE_MUTANTS, which `Scripts/simulate --mutants` makes apart from all others; released
// builds don't contain them.

#if SLUICE_MUTANTS
  /// A defect that can be switched on.
  public enum Mutant: String, CaseIterable, Sendable {
    /// Refuses by the mirror alone, at once.
    case noBarrier
    /// A question joins the read that is in flight already.
    case joinedRead
    /// A question that waits for one version is answered at a later one.
    case answeredPastVersion
    /// A bucket is installed without checking its count and digest.
    case uncheckedBucket
    /// Neither bucket nor total are compared after a change.
    case uncheckedChange
    /// Changes are followed over missing versions.
    case ignoredGap
    /// Any history counts as the mirrored one.
    case ignoredEpoch
    /// Ignores that a store went back, as if its newer changes were still to be read.
    case ignoredRewind
    /// A bucket is emptied before it is read again.
    case refreshInPlace
    /// Once complete, always complete.
    case latchedCompleteness
    /// A store that was never sealed can be a reason to refuse.
    case ignoredSeal
    /// A bucket that couldn't be read counts as an empty one.
    case failedReadIsEmpty
    /// Buckets from the state file count as verified.
    case trustedStateFile
    /// The mirror's age is counted from the answer, not from the sending of the read.
    case freshOfAnswer
    /// Any answer of any server keeps the mirror fresh.
    case freshOfAnything
    /// A bucket that differs counts as being as fresh as the rest.
    case forgottenAge
    /// Admits however old the mirror is.
    case unboundedAge
    /// Questions outlive the connection on which their read was sent.
    case keptQuestions
    /// Replies of earlier connections count as those of the present one.
    case formerSession
    /// Changes that a bucket has already are applied again.
    case ignoredBucketVersion
    /// Questions wait without a timeout.
    case unboundedWait
    /// Reads every bucket, whether it differs or not.
    case readsAll
    /// Ignores the other servers' confirmations.
    case noFence
    /// Forgets a replica that doesn't follow any more.
    case forgottenReplicas
    /// Takes a server that doesn't list its replicas for one without replicas.
    case hiddenReplicas
    /// Retries without a pause.
    case noPause

    // Written once before anything runs, by the simulator, which has one thread.
    nonisolated(unsafe) public static var active: Mutant?
  }
#endif
