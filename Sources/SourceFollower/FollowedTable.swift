// The statements for a table of API keys: the list of its keys, the reads of the outbox, and the installation of the
// trigger that fills the outbox. The columns are given as SQL expressions. The list and the trigger use the same
// expressions, so that both read a row in the same way.
//
// PostgreSQL hashes secrets, so no secret leaves the database, and the outbox contains only key IDs.
//
// The outbox contains the content of a row after a change, not only the row's key ID. With the ID alone, the follower
// would have to find the row by the hash of its secret, which reads the whole table.

import KeyReplica

/// A table of API keys, and the meaning of its columns.
public struct FollowedTable: Sendable, Hashable {
  /// The column that identifies a key.
  public enum KeyColumn: Sendable, Hashable {
    /// The key's SHA-256, in hexadecimal digits.
    case id(String)
    /// The key itself.
    case secret(String)
  }

  /// The table, its outbox or the query's columns can't be used.
  public struct Invalid: Error, Sendable, CustomStringConvertible {
    public let description: String
  }

  private let table: [String]
  private let outboxName: String
  private let key: KeyColumn
  private let account: String
  private let state: String?
  private let revision: String?
  private let expiry: String?

  /// - Parameters:
  ///   - table: A name, or a schema and a name with a dot between them.
  ///   - outbox: The outbox's name. The outbox is in the table's schema.
  ///   - key: The column with the key, or with its ID.
  ///   - account: A column or an SQL expression; so are `state` and `revision`.
  ///   - state: Its value must be `active`, `suspended` or `revoked`; nil if every row is an active key.
  ///   - revision: A number that grows with each change of a row; nil to use the numbers of the outbox.
  ///   - expiry: A column or an SQL expression with the time at which a key ends, as a timestamptz, or in seconds since
  ///     1970; nil to change no expiry.
  public init(
    table: String, outbox: String, key: KeyColumn, account: String, state: String?, revision: String?,
    expiry: String? = nil
  ) throws(Invalid) {
    self.table = try Self.parts(of: table, atMost: 2, "--table")
    outboxName = try Self.parts(of: outbox, atMost: 1, "--outbox")[0]
    (self.key, self.account, self.state, self.revision, self.expiry) = (key, account, state, revision, expiry)
  }

  /// Accepts letters, digits and _, as in nearly all tables' names.
  private static func parts(of name: String, atMost limit: Int, _ option: String) throws(Invalid) -> [String] {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    let fits = parts.allSatisfy { part in
      (1...50).contains(part.utf8.count)
        && part.utf8.allSatisfy {
          UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 | 0x20 || 0x30...0x39 ~= $0 || $0 == 0x5F
        }
    }
    guard (1...limit).contains(parts.count), fits else {
      let form = limit > 1 ? "NAME or SCHEMA.NAME" : "NAME"
      throw Invalid(
        description: "\(option): expected \(form), of 1 to 50 letters, digits and _, got \"\(name.prefix(100))\"")
    }
    return parts
  }

  // MARK: Names

  private func quoted(_ parts: [String]) -> String { parts.map { "\"\($0)\"" }.joined(separator: ".") }
  private func sibling(_ name: String) -> [String] { table.dropLast() + [name] }

  /// The table's name, quoted, as are all names below.
  var tableName: String { quoted(table) }
  /// The table's own name, because expressions may have the table's name in front of a column.
  private var alias: String { "\"\(table[table.count - 1])\"" }
  var outbox: String { quoted(sibling(outboxName)) }
  /// A table with one row, which says which store the outbox is tied to (see ``OutboxClaim``).
  var tie: String { quoted(sibling("\(outboxName)_store")) }
  private var function: String { quoted(sibling("\(outboxName)_fill")) }
  /// The channel of notifications.
  var channel: String { "\"\(outboxName)\"" }

  // MARK: Reading

  /// Key ID, account, state, revision and end of a row, as SQL. The key ID is `invalid` if no request can contain the
  /// key, and null if the row has no key.
  private var columns: String {
    let id =
      switch key {
      case .id(let expression): "lower((\(expression))::text)"
      case .secret(let expression): Self.hash(of: expression)
      }
    return "\(id), (\(account))::text, \(state.map { "(\($0))::text" } ?? "'active'::text"), "
      + (revision.map { "(\($0))::bigint" } ?? "NULL::bigint") + ", "
      + (expiry.map(Self.end) ?? "NULL::text")
  }

  /// An SQL expression for a key's expiry as text, and an empty text for none. In JSON a timestamptz has its zone,
  /// whatever the session's DateStyle is, and a number stays a number.
  static func end(_ expression: String) -> String { "coalesce(to_jsonb(\(expression)) #>> '{}', '')" }

  private var isKey: String {
    switch key {
    case .id(let expression), .secret(let expression): "(\(expression)) IS NOT NULL"
    }
  }

  /// An SQL expression for the ID of a secret.
  static func hash(of expression: String) -> String {
    """
    CASE WHEN octet_length((\(expression))::text) <= 512 AND (\(expression))::text ~ '^[!-~]+$'
      THEN encode(sha256(convert_to((\(expression))::text, 'UTF8')), 'hex')
      WHEN (\(expression)) IS NOT NULL THEN 'invalid' END
    """
  }

  /// All keys of the table.
  var list: String {
    """
    SELECT key_id, account, state, revision::text, expires_at FROM
      (SELECT \(columns) FROM \(tableName) AS \(alias) WHERE \(isKey))
      AS listed (key_id, account, state, revision, expires_at)
    """
  }

  /// Maximum keys that a comparison skips because they have changes in the outbox.
  static let waitingKeyLimit = 100_000

  /// The keys that have changes in the outbox.
  var waitingKeys: String {
    "SELECT key_id FROM (SELECT DISTINCT key_id FROM \(outbox)) AS waiting LIMIT \(Self.waitingKeyLimit)"
  }

  /// Maximum keys whose changes are read at once.
  static let keyLimit = 1_000
  /// Maximum changes that are read at once. A batch reaches this limit only if keys were changed many times since the
  /// last batch.
  static let changeLimit = 10_000

  /// Reads the oldest changes in the outbox, in one snapshot. All changes of a key are read together, so the last
  /// change of a key has the key's content in that snapshot. The result has at least one row. The first column of each
  /// row says whether this server is a standby, and the last column says which session has the outbox in that snapshot.
  var waitingChanges: String {
    """
    SELECT pg_is_in_recovery()::text, waiting.*, (SELECT session FROM \(tie)) FROM (SELECT 1) AS server LEFT JOIN (
      SELECT id::text, key_id, account, state, revision::text, expires_at, deleted::text FROM \(outbox)
      WHERE key_id = ANY (ARRAY(SELECT key_id FROM \(outbox) ORDER BY id LIMIT \(Self.keyLimit)))
      ORDER BY \(outbox).id LIMIT \(Self.changeLimit)
    ) AS waiting ON true
    """
  }

  /// Deletes changes from the outbox, by an array of their numbers, unless another session than the given one has the
  /// outbox. The lock makes a session that begins meanwhile wait for the end of this statement.
  var removal: String {
    """
    WITH holder AS (SELECT 1 FROM \(tie) WHERE session = $2::text FOR SHARE)
    DELETE FROM \(outbox) WHERE id = ANY ($1::bigint[]) AND EXISTS (SELECT FROM holder)
    """
  }

  // MARK: The outbox's store

  /// Whether the outbox is tied to no store, to the store with the ID $2, or to one of the stores with the IDs and
  /// names $4, which that store replaces. Without a store, $2 is empty.
  private var isAllowed: String {
    "(store IN ('', $2::text) OR store = ANY (string_to_array($4::text, ' ')) "
      + "OR name = ANY (string_to_array($4::text, ' ')))"
  }

  /// Gives the outbox to the session $1, unless it is tied to another store. If it was tied to a replaced store, ties it
  /// to the store with the ID $2 and the name $3. Returns a row if the session has the outbox.
  var claim: String {
    """
    UPDATE \(tie) SET session = $1::text, store = CASE store WHEN '' THEN '' ELSE $2::text END,
      name = CASE store WHEN '' THEN '' ELSE $3::text END
    WHERE \(isAllowed) RETURNING session
    """
  }

  /// Ties the outbox to the store with the ID $2 and the name $3, unless another session has the outbox or it is tied
  /// to another store. Returns a row if it does.
  var bind: String {
    """
    UPDATE \(tie) SET store = $2::text, name = $3::text WHERE session = $1::text AND \(isAllowed) RETURNING session
    """
  }

  /// Ties the outbox to the store with the ID $1 and the name $2, whatever it was tied to, and takes it from its
  /// session. Returns a row.
  var move: String {
    "UPDATE \(tie) SET store = $1::text, name = $2::text, session = '' RETURNING session"
  }

  /// The ID and name of the store that the outbox is tied to.
  var tiedStore: String { "SELECT store, name FROM \(tie)" }

  var listen: String { "LISTEN \(channel)" }

  // MARK: Installing

  /// Identifies the expressions that the trigger was made from. It is stored in the comment of the trigger's function,
  /// so that a trigger for other columns is noticed.
  var fingerprint: String {
    "Sluice, 3, " + KeyID(secret: "\(tableName) \(outbox) \(columns) \(body)".utf8).hex
  }

  /// The trigger's function. It writes to the outbox only if the key, account, state, revision or expiry has changed:
  /// most updates of such a table only set the time of the last use.
  private var body: String {
    """
    #variable_conflict use_column
    DECLARE
      sluice_old record;
      sluice_new record;
    BEGIN
      IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO \(outbox) (key_id, deleted) VALUES ('', true);
        PERFORM pg_notify('\(outboxName)', '');
        RETURN NULL;
      END IF;
      IF TG_OP <> 'INSERT' THEN
        SELECT listed.* INTO sluice_old FROM
          (SELECT \(columns) FROM (SELECT OLD.*) AS \(alias)) AS listed (key_id, account, state, revision, expires_at);
      END IF;
      IF TG_OP <> 'DELETE' THEN
        SELECT listed.* INTO sluice_new FROM
          (SELECT \(columns) FROM (SELECT NEW.*) AS \(alias)) AS listed (key_id, account, state, revision, expires_at);
      END IF;
      IF TG_OP = 'UPDATE' THEN
        IF sluice_old IS NOT DISTINCT FROM sluice_new THEN
          RETURN NULL;
        END IF;
        IF sluice_old.key_id IS NOT NULL AND sluice_old.key_id IS DISTINCT FROM sluice_new.key_id THEN
          INSERT INTO \(outbox) (key_id, account, state, revision, deleted)
            VALUES (sluice_old.key_id, sluice_old.account, 'revoked', sluice_old.revision, true);
        END IF;
      END IF;
      IF TG_OP = 'DELETE' THEN
        IF sluice_old.key_id IS NOT NULL THEN
          INSERT INTO \(outbox) (key_id, account, state, revision, deleted)
            VALUES (sluice_old.key_id, sluice_old.account, 'revoked', sluice_old.revision, true);
        END IF;
      ELSIF sluice_new.key_id IS NOT NULL THEN
        INSERT INTO \(outbox) (key_id, account, state, revision, expires_at, deleted)
          VALUES (sluice_new.key_id, sluice_new.account, sluice_new.state, sluice_new.revision,
            sluice_new.expires_at, false);
      END IF;
      PERFORM pg_notify('\(outboxName)', '');
      RETURN NULL;
    END
    """
  }

  /// Statements that create the outbox and the trigger, or replace the trigger, in one transaction.
  /// - Parameter first: The first number of the outbox, in microseconds since 1970. So an outbox that was dropped and
  ///   created again doesn't use a number twice.
  public func installation(first: UInt64) -> [String] {
    let (name, trigger) = (tableName, "\"\(outboxName)\"")
    return [
      "BEGIN",
      // Tries the expressions on existing rows: in the trigger, a failing expression would make the application's own
      // changes fail.
      "DO $sluice$ BEGIN PERFORM listed.* FROM (\(list) LIMIT 10000) AS listed; END $sluice$",
      // In the order in which the application's changes take both tables. In the other order, an installation and a
      // transaction of the application could each wait for the other, and PostgreSQL would abort one of them.
      "LOCK TABLE \(name) IN ACCESS EXCLUSIVE MODE",
      """
      CREATE TABLE IF NOT EXISTS \(outbox) (
        id bigint GENERATED BY DEFAULT AS IDENTITY (START WITH \(first)) PRIMARY KEY,
        key_id text NOT NULL,
        account text,
        state text,
        revision bigint,
        expires_at text,
        deleted boolean NOT NULL
      )
      """,
      // An outbox that an earlier build created lacks this column.
      "ALTER TABLE \(outbox) ADD COLUMN IF NOT EXISTS expires_at text",
      "CREATE INDEX IF NOT EXISTS \"\(outboxName)_key_id\" ON \(outbox) (key_id)",
      "COMMENT ON TABLE \(outbox) IS 'changes of API keys that key-publisher follow has not published yet'",
      """
      CREATE TABLE IF NOT EXISTS \(tie) (
        id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
        store text NOT NULL DEFAULT '',
        name text NOT NULL DEFAULT '',
        session text NOT NULL DEFAULT ''
      )
      """,
      "INSERT INTO \(tie) DEFAULT VALUES ON CONFLICT DO NOTHING",
      "COMMENT ON TABLE \(tie) IS 'the key store that gets the changes of the outbox, and the session of key-publisher follow'",
      """
      CREATE OR REPLACE FUNCTION \(function)() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $sluice$
      \(body)
      $sluice$
      """,
      "COMMENT ON FUNCTION \(function)() IS '\(fingerprint)'",
      "DROP TRIGGER IF EXISTS \(trigger) ON \(name)",
      "DROP TRIGGER IF EXISTS \"\(outboxName)_truncate\" ON \(name)",
      """
      CREATE TRIGGER \(trigger) AFTER INSERT OR UPDATE OR DELETE ON \(name)
        FOR EACH ROW EXECUTE FUNCTION \(function)()
      """,
      """
      CREATE TRIGGER \"\(outboxName)_truncate\" AFTER TRUNCATE ON \(name)
        FOR EACH STATEMENT EXECUTE FUNCTION \(function)()
      """,
      // The triggers must also fire for changes that logical replication applies.
      "ALTER TABLE \(name) ENABLE ALWAYS TRIGGER \(trigger)",
      "ALTER TABLE \(name) ENABLE ALWAYS TRIGGER \"\(outboxName)_truncate\"",
      "COMMIT",
    ]
  }

  /// The statements as a script for an administrator, with the rights that a follower needs.
  /// - Parameter first: As for ``installation(first:)``.
  public func installationText(first: UInt64) -> String {
    """
    -- Run this as the owner of \(tableName). A follower with another user needs:
    --   GRANT SELECT ON \(tableName) TO follower;
    --   GRANT SELECT, DELETE ON \(outbox) TO follower;
    --   GRANT SELECT, UPDATE ON \(tie) TO follower;

    """ + installation(first: first).map { $0 + ";\n" }.joined()
  }

  /// Returns four texts: the comment of the trigger's function, how many of the two triggers are enabled, the outbox's
  /// name, and the name of the table with its store. All but the second are null if the object doesn't exist.
  var check: String {
    """
    SELECT obj_description(to_regprocedure('\(function)()'), 'pg_proc'),
      (SELECT count(*)::text FROM pg_trigger WHERE tgrelid = to_regclass('\(tableName)')
        AND tgname IN ('\(outboxName)', '\(outboxName)_truncate') AND tgenabled IN ('O', 'A')),
      to_regclass('\(outbox)')::text, to_regclass('\(tie)')::text
    """
  }

  /// Why the outbox wouldn't get the table's changes; nil if it gets them.
  /// - Parameter row: The result of ``check``.
  func objection(to row: [String?]) -> String? {
    guard row.count == 4, row[2] != nil, let comment = row[0], row[1] == "2" else {
      return "there is no trigger on \(tableName) that fills \(outbox), or it is disabled: run the same command with "
        + "--install, or run what --print-install prints as the table's owner"
    }
    guard comment == fingerprint else {
      return "the trigger on \(tableName) was installed with other columns or by another version of Sluice: run the "
        + "same command with --install"
    }
    guard row[3] != nil else {
      return "the table \(tie), which says which store the outbox \(outbox) is tied to, doesn't exist: run the same "
        + "command with --install"
    }
    return nil
  }
}
