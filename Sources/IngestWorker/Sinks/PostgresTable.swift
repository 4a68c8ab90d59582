// The table in PostgreSQL, and its schema version. The version is in the table's comment, which a dump and a restore
// keep and which needs no maintenance. A table without such a comment, but with suitable columns, was made by an
// operator, and is used.

import PostgresClient

/// The table of payloads in a database.
struct PostgresTable {
  /// The table's name, quoted.
  let name: String

  /// Changes of the table, in order; a table at version N has had the first N of them.
  private var migrations: [String] {
    [
      """
      CREATE TABLE \(name) (
        id uuid PRIMARY KEY,
        account text NOT NULL,
        key_id text NOT NULL,
        received_at timestamptz NOT NULL,
        content_type text,
        content_encoding text,
        undone text,
        path text NOT NULL,
        node text NOT NULL,
        traceparent text,
        body bytea NOT NULL,
        stored_at timestamptz NOT NULL DEFAULT now()
      )
      """
    ]
  }

  private static let comment = "payloads stored by Sluice, version "

  /// One statement for any number of rows. Existing rows are skipped, and their IDs aren't returned.
  var insertion: String {
    """
    INSERT INTO \(name) (id, account, key_id, received_at, content_type, content_encoding, undone, path, node, traceparent,
      body)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
      $8::text[], $9::text[], $10::text[], $11::bytea[])
    ON CONFLICT (id) DO NOTHING
    RETURNING id
    """
  }

  /// Creates the table, or updates it to this build's version, if needed.
  func migrate(_ connection: PostgresConnection, _ patience: CancellationCheck) throws(PostgresFailure) {
    guard try version(connection, patience) < migrations.count else { return }
    _ = try connection.run("BEGIN", patience)
    // Several workers may start at the same moment. If this fails, the connection is closed, which rolls back the
    // transaction.
    var lock = PostgresValues()
    lock.add("sluice \(name)")
    _ = try connection.run("SELECT pg_advisory_xact_lock(hashtext($1::text))", patience, with: lock)
    let version = try version(connection, patience)
    for migration in migrations.dropFirst(version) { _ = try connection.run(migration, patience) }
    _ = try connection.run("COMMENT ON TABLE \(name) IS '\(Self.comment)\(migrations.count)'", patience)
    _ = try connection.run("COMMIT", patience)
  }

  /// The version of the table; 0 if there is no table.
  private func version(_ connection: PostgresConnection, _ patience: CancellationCheck) throws(PostgresFailure) -> Int {
    var values = PostgresValues()
    values.add(name)
    let rows = try connection.run(
      """
      SELECT relpersistence::text, obj_description(oid, 'pg_class') FROM pg_class WHERE oid = to_regclass($1::text)
      """, patience, with: values)
    guard let row = rows.first else { return 0 }
    if row[0] == Array("u".utf8) {
      throw .broken("the table \(name) is UNLOGGED: what is stored in it doesn't survive a crash")
    }
    let comment = row[1].map { String(decoding: $0, as: UTF8.self) } ?? ""
    guard comment.hasPrefix(Self.comment), let version = Int(comment.dropFirst(Self.comment.count)) else {
      return migrations.count
    }
    guard version <= migrations.count else {
      throw .broken(
        "the table \(name) has schema version \(version), this build knows up to \(migrations.count): run the newer "
          + "ingest-worker")
    }
    return version
  }
}
