/* The protocol by which a refusal is proven against the source, the customers' own database, for Spin to go through all
   of it. Scripts/model runs it. What must never be seen:

   - with --prove-against source, a key is refused that was active in the source from before its request until the answer.

   A step here      is, in Sources
   source           an application's transaction; SourceFollower: FollowedTable's trigger, which fills the outbox
   OTHER            another program that writes to the store
   copy, RESTORE    a replica or a backup; a failover to it, or its restoration
   lease ends       KeyStore: ListLease; write_changes.lua and mark.lua, which check the lease
   session          SourceFollower.run, FollowSession.follow
   claim            OutboxClaim.init; its check in OutboxClaim.requireHolds and FollowedTable.removal
   elsewhere        a follower of another store that uses the same outbox
   compare          FollowPlan.began; Comparison.run reads Redis's time and the version
   list             ListSupply.read: all keys, and those in the outbox, in one snapshot
   apply            Publication.carryOut
   compared         Comparison.run reads the version again; FollowSession.ended, FollowPlan.ended
   time             FollowSession.carryOutChanges: SourceMarks.time
   outbox           FollowedTable.waitingChanges, OutboxBatch
   carry out        FollowedStore.carryOut
   mark             FollowedStore.mark, mark.lua
   remove           FollowedTable.removal
   request          KeyReplica: Replica.asked
   first            Replica.positionCame, .verdict, Barrier.awaitMark
   later            Barrier.answered, StorePosition.coversSource, Replica.verdict

   What stands for what. There is one key; a change of another key is only a new version. Versions and moments have no
   numbers here, only the results of their comparisons, so there is no limit to commits, versions, moments or sessions.
   - A version is compared with the present version: `marked` means that the mark is of the present version, and `foreign`
     that the present version isn't the follower's known one.
   - A moment is compared with Redis's present time (`ahead`: it is later), and with the time that the node's first read
     returned (`late`: it isn't older). Two reads of one clock never return the same time.
   - Rows of the outbox differ by who has read them: a follower removes the rows that it has read. The content of the last
     row is that of the source.
   A comparison may change a key here that was changed after it began. That is no more than another program may do.

   A session without the lease can't write to the store, so here it ends with its lease. Only a removal of rows that it has
   sent to the source may come later. So the two followers also stand for two sessions of one process.
   The first of them follows, unless it has such a removal left.

   A follower of another store claims the outbox at any time, and removes all rows at any time while it has the outbox.
   Its own store isn't here. It may have the ID of this store, as a copy does, so no ID is compared.

   What replica.pml shows is taken for granted: a mirror that has reached a position is what the store was there, and that
   store is the primary. A session ends with its connection, when a copy takes the store's place.

   What is left out. Time: a wait that ends early leaves a request undecided, which is always safe. Outboxes of more rows
   than are read at once, rows that can't be read, guards, confirmation by replicas: more reasons not to mark the store.
   Keys' ends. The maximum age of the mark. A standby, from which nothing is read. */

#define NOBODY 2
#define NAME(f) ((f) -> second : first)
mtype = { first, second, none, asked, waits, off, idle, began, listed, applied, timed, read, carried, sent, claiming };

/* ---- The switches, as in -DSWITCHES=LISTS+NO_CHECK: what is taken out of the protocol, or not taken for granted ---- */
#define NO_WAIT        1      /* the first read decides, by the store alone */
#define ANY_MOMENT     2      /* a later mark will do whose moment is older than the first read */
#define OLD_MARK       4      /* the mark that was there at the first read will do */
#define OTHER_VERSION  8      /* nodes take a mark of an earlier version */
#define UNTIED         16     /* followers mark the store whatever its version */
#define LATE_TIME      32     /* Redis's time is read after the source */
#define EARLY_REMOVAL  64     /* rows are removed before they are carried out */
#define NO_COMPARISON  128    /* sessions don't compare */
#define NO_CHECK       256    /* all versions that a comparison ends with are taken for the follower's own */
#define NO_SEARCH      512    /* a key that was left to its row isn't missed if the row is gone */
#define CLOCK_BACK     1024   /* Redis's clock is set back between a follower's read of it and the mark */
#define LISTS          2048   /* a source without an outbox: each mark follows a comparison */
#define NO_CLAIM       4096   /* followers don't claim the outbox, and one of another store removes rows */
#define OLD_BUILD      8192   /* followers don't claim the outbox, and there is none of another store */
#ifndef SWITCHES
#define SWITCHES 0
#endif
#define IS(switch) ((SWITCHES) & (switch))
#define CLAIMS (!IS(NO_CLAIM+OLD_BUILD+LISTS))
#ifndef REACH
#define REACH 0
#endif
#define HERE(n) assert(REACH != n) /* fails on purpose, to show that this place is reached */

/* ---- The source ---- */
bool source;                      /* the key is active */
byte outbox;                      /* there are rows that (bits 0 to 3) nobody has read, the first, the second, both */
byte claim = NOBODY;              /* the follower that has the outbox; NOBODY: one of another store */

/* ---- The store, and a copy of it ---- */
bool store, copied;               /* the key is active */
bool marked, copiedMark;          /* the mark is of the present version */
bool late, ahead;                 /* of the mark's moment */
byte lease = NOBODY;

/* ---- The node ---- */
mtype question = none;
bool fresh;                       /* the mark isn't the one that was there at the first read */
bool owed;                        /* to refuse the key would be wrong */

/* ---- The followers ---- */
mtype step[2] = off;              /* of carrying out changes from the outbox */
mtype comparison[2] = off;
bool equal[2], again[2];          /* FollowPlan: isEqual, isWantedAgain */
bool foreign[2];                  /* the present version isn't the one that the follower knows of */
bool followed[2];                 /* the first comparison is done */
bool skipped[2];                  /* it left the key to its row in the outbox, and the outbox wasn't read since */
bool held[2], momentLate[2], momentAhead[2]; /* the follower's own moment */
bool filled[2], batch[2];         /* rows were read, and by the last one the key is active */
bool list[2], waiting[2];         /* the key is active in the list, and has rows in the outbox */
byte f, g;                        /* within one step */

inline noMoment(who) { held[who] = false; momentLate[who] = false; momentAhead[who] = false }
/* Ends a step. What can't matter any more becomes zero, so that states that differ in nothing else are one. */
inline tidy() {
  if :: !marked && !IS(OTHER_VERSION) -> late = false; fresh = false; ahead = false
     :: question != waits -> late = false; fresh = false
     :: else fi;
  if :: claim == 0 && comparison[0] == off && step[0] == off -> claim = NOBODY
     :: claim == 1 && comparison[1] == off && step[1] == off -> claim = NOBODY
     :: else fi;
  for (g : 0 .. 1) {
    if :: !equal[g] && !IS(LISTS) -> noMoment(g) /* this moment will be no mark */
       :: question != waits -> momentLate[g] = false
       :: else fi
  };
  f = 0; g = 0
}
/* A new version. */
inline changed(who) {
  marked = false;
  for (g : 0 .. 1) { if :: g != who && comparison[g] != off -> foreign[g] = true :: else fi }
}
inline put(who, value) {
  store = value; changed(who);
  if :: value -> printf("active\n") :: else -> printf("not active\n") fi
}
inline noQuestion() { question = none; owed = false }
inline readRows(who) {
  filled[who] = outbox != 0; batch[who] = source && outbox != 0;
  outbox = (who == 0 -> (outbox & 5) << 1 | outbox & 10 : (outbox & 3) << 2 | outbox & 12)
}
inline dropRows(who) { outbox = outbox & (who == 0 -> 5 : 3) }
/* The follower hasn't read the rows any more. */
inline forgetRows(who) {
  outbox = (who == 0 -> outbox & 5 | (outbox & 10) >> 1 : outbox & 3 | (outbox & 12) >> 2);
  filled[who] = false; batch[who] = false
}
inline takeTime(who) {
  held[who] = true; momentLate[who] = (question == waits); momentAhead[who] = false;
  printf("| %e follower: reads Redis's time\n", NAME(who))
}
inline noList(who, to) { comparison[who] = to; list[who] = false; waiting[who] = false }
/* Ends a session, except for a removal of rows that may have been sent. */
inline end(who) {
  if
  :: filled[who] && (step[who] == carried || step[who] == sent) -> step[who] = sent; batch[who] = false
  :: else -> step[who] = off; forgetRows(who)
  fi;
  noList(who, off); noMoment(who);
  equal[who] = false; again[who] = false; foreign[who] = false; followed[who] = false; skipped[who] = false;
  if :: lease == who -> lease = NOBODY :: else fi
}
inline doubt(who) { again[who] = true; equal[who] = false }
/* If another program changed the store, everything is compared before the store is marked again. */
inline note(who) { if :: foreign[who] -> foreign[who] = false; doubt(who) :: else fi }
inline mark(who) {
  if
  :: (!foreign[who] || IS(UNTIED)) && !momentAhead[who] ->
    marked = true; late = momentLate[who]; ahead = false; fresh = true;
    printf("| %e follower: marks the store\n", NAME(who))
  :: else
  fi;
  note(who); noMoment(who)
}

#define OTHER(value) d_step { store != value -> printf("| another program: makes the key "); put(NOBODY, value); tidy() }
#define RESTORE(isBehind) d_step { store = copied; marked = copiedMark; late = false; ahead = isBehind; noQuestion(); \
    lease = NOBODY; for (f : 0 .. 1) { end(f) }; \
    printf("| Redis: the copy takes the store's place"); \
    if :: isBehind -> printf(", and its clock is behind\n") :: else -> printf("\n") fi; tidy() }

active proctype world() {
  do
  :: d_step { true -> source = !source; if :: !IS(LISTS) -> outbox = outbox | 1 :: else fi;
       if :: source -> printf("| source: the key becomes active\n")
          :: else -> printf("| source: the key ends\n"); owed = false fi;
       tidy() }
  :: OTHER(true) :: OTHER(false)
  :: d_step { true -> printf("| another program: changes another key\n"); changed(NOBODY); tidy() }
  :: d_step { claim != NOBODY && CLAIMS -> claim = NOBODY; printf("| elsewhere: claims the outbox\n"); tidy() }
  :: d_step { outbox != 0 && (claim == NOBODY && CLAIMS || IS(NO_CLAIM)) ->
       outbox = 0; printf("| elsewhere: removes all rows from the outbox\n"); tidy() }
  :: d_step { lease != NOBODY -> f = lease; printf("| %e follower: its lease ends\n", NAME(f)); end(f); tidy() }
  :: d_step { true -> copied = store; copiedMark = marked; printf("| Redis: a copy is made\n"); tidy() }
  :: RESTORE(false) :: RESTORE(true)
  :: d_step { !held[0] && !held[1] || IS(CLOCK_BACK) ->
       ahead = true; momentAhead[0] = held[0]; momentAhead[1] = held[1]; printf("| Redis: its clock is set back\n"); tidy() }
  :: d_step { ahead || momentAhead[0] || momentAhead[1] ->
       ahead = false; momentAhead[0] = false; momentAhead[1] = false;
       printf("| Redis: its clock passes all moments\n"); tidy() }
  od
}

#define LEADS(f) (lease == f)
#define FOLLOW(f) \
  :: d_step { step[f] == off && lease == NOBODY && (f == 0 || step[0] != off) -> /* session */ \
       printf("| %e follower: begins\n", NAME(f)); lease = f; step[f] = idle; \
       comparison[f] = (CLAIMS -> claiming : idle); \
       if :: IS(NO_COMPARISON) -> followed[f] = true; equal[f] = true :: else fi } \
  :: d_step { LEADS(f) && comparison[f] == claiming -> /* claim */ \
       printf("| %e follower: claims the outbox\n", NAME(f)); claim = f; comparison[f] = idle; tidy() } \
  :: d_step { LEADS(f) && comparison[f] == idle && step[f] == idle && (!followed[f] || !IS(NO_COMPARISON)) -> /* compare */ \
       printf("| %e follower: begins to compare\n", NAME(f)); comparison[f] = began; again[f] = false; \
       if :: !followed[f] -> foreign[f] = false :: else fi; /* from here on it knows the version */ \
       if :: IS(LISTS) -> takeTime(f) :: else fi; tidy() } \
  :: d_step { LEADS(f) && comparison[f] == began -> /* list */ \
       printf("| %e follower: reads the list\n", NAME(f)); comparison[f] = listed; \
       waiting[f] = outbox != 0; list[f] = source && !waiting[f]; tidy() } \
  :: d_step { LEADS(f) && comparison[f] == listed -> /* apply */ \
       if \
       :: store != list[f] && !waiting[f] -> \
         printf("| %e follower: by the list, makes the key ", NAME(f)); put((followed[f] -> NOBODY : f), list[f]) \
       :: else \
       fi; \
       skipped[f] = skipped[f] || waiting[f] && !followed[f] && !IS(NO_SEARCH); noList(f, applied); tidy() } \
  :: d_step { LEADS(f) && comparison[f] == applied && step[f] == idle -> /* compared */ \
       comparison[f] = idle; if :: IS(NO_CHECK) -> foreign[f] = false :: else fi; \
       if \
       :: IS(LISTS) -> mark(f); again[f] = false; equal[f] = false \
       :: else -> printf("| %e follower: has compared\n", NAME(f)); \
         if :: !followed[f] -> note(f); followed[f] = true :: else fi; \
         if :: !again[f] -> equal[f] = true :: else fi \
       fi; \
       tidy() } \
  :: d_step { LEADS(f) && step[f] == idle && followed[f] && comparison[f] != claiming -> /* time */ \
       step[f] = timed; if :: !IS(LATE_TIME) -> takeTime(f) :: else fi; tidy() } \
  :: d_step { LEADS(f) && step[f] == timed && CLAIMS && claim != f -> /* outbox: another session has it */ \
       printf("| %e follower: has lost the outbox\n", NAME(f)); end(f); tidy() } \
  :: d_step { LEADS(f) && step[f] == timed && (!CLAIMS || claim == f) -> /* outbox */ \
       printf("| %e follower: reads the outbox\n", NAME(f)); step[f] = read; readRows(f); \
       if :: IS(EARLY_REMOVAL) -> dropRows(f) :: else fi; \
       if :: skipped[f] && !filled[f] -> HERE(3); doubt(f) :: else fi; skipped[f] = false; tidy() } \
  :: d_step { LEADS(f) && step[f] == read -> /* carry out */ \
       step[f] = carried; if :: IS(LATE_TIME) -> takeTime(f) :: else fi; \
       if :: filled[f] -> note(f); printf("| %e follower: by the outbox, makes the key ", NAME(f)); put(f, batch[f]) \
          :: else fi; \
       tidy() } \
  :: d_step { LEADS(f) && step[f] == carried -> /* mark */ \
       if :: equal[f] -> mark(f) :: else -> note(f); noMoment(f) fi; \
       step[f] = (filled[f] -> sent : idle); batch[f] = false; tidy() } \
  :: d_step { step[f] == sent -> /* remove */ \
       if :: CLAIMS && claim != f -> printf("| %e follower: removes no rows, as it has lost the outbox\n", NAME(f)); HERE(5) \
          :: else -> printf("| %e follower: removes rows from the outbox\n", NAME(f)); dropRows(f) fi; \
       if :: comparison[f] == off && lease == 1 - f -> HERE(2) :: else fi; \
       forgetRows(f); step[f] = (comparison[f] == off -> off : idle); tidy() } \
  :: d_step { step[f] == sent && comparison[f] == off -> /* the removal never comes */ \
       forgetRows(f); step[f] = off; tidy() }

active proctype followers() {
  do
  FOLLOW(0)
  FOLLOW(1)
  od
}

#define COVERS (!ahead && (late || IS(ANY_MOMENT)) && (fresh || IS(OLD_MARK)) && (marked || IS(OTHER_VERSION)))
inline refuse() { printf("| node: refuses the key\n"); assert(!owed); noQuestion() }

active proctype node() {
  do
  :: d_step { question == none -> question = asked; owed = source; printf("| request\n") }
  :: d_step { question == asked -> /* first */
       if
       :: store -> printf("| node: admits the key\n"); noQuestion()
       :: !store && IS(NO_WAIT) -> refuse()
       :: else -> printf("| node: reads the position and Redis's time\n"); question = waits; late = ahead; fresh = false;
         if :: late && marked -> HERE(4) :: else fi;
         momentLate[0] = momentAhead[0]; momentLate[1] = momentAhead[1]
       fi;
       tidy() }
  :: d_step { question == waits && COVERS -> /* later */
       printf("| node: reads the position, whose mark is late enough\n");
       if
       :: store -> printf("| node: admits the key\n"); noQuestion()
       :: else -> if :: !owed && lease == 1 -> HERE(1) :: else fi; refuse()
       fi;
       tidy() }
  :: d_step { question != none -> noQuestion(); printf("| node: leaves the key undecided\n"); tidy() }
  od
}
