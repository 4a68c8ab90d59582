// Texts of events and commands, for the log of a failed run.

import KeyReplica

extension Simulation {
  func words(_ event: Replica.Event) -> String {
    switch event {
    case .connected(let session): "conversation \(session) begins"
    case .disconnected(let session, let reason): "conversation \(session) ends: \(reason)"
    case .manifest(let session, let read, .success(.found(let manifest))):
      "manifest \(read) of \(session): \(words(manifest.position))"
    case .manifest(let session, let read, let result): "manifest \(read) of \(session): \(result)"
    case .bucket(_, let index, .success(let raw)):
      "bucket \(index): \(raw.fields.count) records, \(raw.summary.map { String(decoding: $0, as: UTF8.self) } ?? "no summary")"
    case .bucket(_, let index, .failure(let failure)): "bucket \(index): \(failure)"
    case .position(_, let read, let fence, .success(.found(let position))):
      "position \(read), confirmed by \(fence.confirmations): \(words(position))"
    case .position(_, let read, _, let result): "position \(read): \(result)"
    case .changes(_, .success(let changes)): "changes: \(changes.map { words($0) })"
    case .changes(_, .failure(let failure)): "changes: \(failure)"
    case .asked(let question): "question \(question.number) for \(SimulatedKeys.name(question.key))"
    case .timePassed: "time passed"
    case .shutDown: "shut down"
    }
  }

  func words(_ command: Replica.Command) -> String {
    switch command {
    case .connect(let session): "connect as \(session)"
    case .disconnect(let session): "disconnect \(session)"
    case .readManifest(_, let read): "read manifest \(read)"
    case .readBucket(_, let index): "read bucket \(index)"
    case .readPosition(_, let read, let fencedBy): "read position \(read) fenced by \(fencedBy)"
    case .recordReplicas(_, let count): "record \(count) replicas"
    case .readChanges(_, let version): "read changes after \(version)"
    case .answer(let question, .admit(let account)): "answer \(question.number): admit for \(account)"
    case .answer(let question, .refuse(let reason, let proof)):
      "answer \(question.number): refuse as \(reason.rawValue) at version \(proof.version) of \(proof.epoch)"
    case .answer(let question, .undecided(let why)): "answer \(question.number): undecided, \(why.code)"
    case .note(let note): "note \(note)"
    }
  }

  private func words(_ position: StorePosition) -> String {
    "version \(position.version) of \(position.epoch), \(position.count) records, \(position.digest.hex.prefix(6))"
      + (position.sealed ? "" : ", not sealed") + (position.time.map { ", at \($0)" } ?? ", at an unknown time")
  }

  private func words(_ change: Change) -> String {
    switch change.effect {
    case .put(let key, let record, _, _):
      "\(change.version) \(SimulatedKeys.name(key)) \(String(decoding: record, as: UTF8.self))"
    case .purge(let key, _, _): "\(change.version) \(SimulatedKeys.name(key)) purged"
    case .seal: "\(change.version) seal"
    case .confirm: "\(change.version) removals confirmed"
    case .undecodable(let why): "\(change.version) undecodable: \(why)"
    }
  }
}
