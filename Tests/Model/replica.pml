/* The protocol by which a node mirrors the key store and proves a refusal, with everything that can come in between, for
   Spin to go through all of it. Scripts/model runs it. What must never be seen:

   - a key is refused that the publisher was told is active before the request arrived, and that nobody began to revoke since;
   - a refusal's proof is wrong: the key was active at its version, or that version was over before the request arrived;
   - a mirror calls itself complete at a version without being what the store was at that version.

   A step here     is, in Sources
   CHANGE          KeyStore: StoreScripts.change and .end, KeyStoreWriter's answer (which doesn't WAIT for a majority yet)
   leave           KeyReplica: Replica.disconnected, .resync, .compare (all questions undecided, late replies void)
   compare         Replica.manifestCame, Mirror.compare
   READ_BUCKET     Replica.readMore, .bucketCame, Mirror.install
   follow          Replica.follow, Mirror.finishedReading
   fetch, apply    ReplicaDriver's XREAD; Replica.changesCame, Mirror.apply
   REQUEST, ask    Replica.asked, .objectionToRefusing, .readPosition, Barrier.sent
   look, hear      ReplicaDriver's read of the position and ROLE; Replica.positionCame, .contradiction
   fence           a small write and WAIT for a majority (not there yet)
   answer          Barrier.reached, Replica.answerReached, .verdict

   What stands for what. Of three servers one begins as the primary (old) and another becomes it in the failover (new); of the
   replicas only what they acknowledged is kept. A confirmed change is one that a majority has, and the heir has it too
   (`promised`). A put is confirmed at once or never: later would be the easier case. A digest is the contents themselves:
   a bit for each of three keys, two of them in bucket 0, one in bucket 1. A version is a number up to VERSIONS, and after
   the failover the two primaries give the same numbers to different contents. Everything else may happen any number of
   times: changes back and forth, trims, lost connections, requests (one at a time: none touches another; and not for
   key 1, which is key 0 by another name).

   What is left out. Time: a wait that ends early leaves a request undecided, which is always safe. Epochs, seals, damage:
   more reasons to leave it undecided. Reads of the position that no request waits for, except where they could matter.
   Admissions, which need no proof. A node that goes on reading the old primary once that is a replica: ROLE ends it. */

#ifndef VERSIONS
#define VERSIONS 3
#endif
#define OLD 0
#define NEW 1
#define BIT(key) (1 << (key))
#define BUCKET(b) ((b) -> 4 : 3)
#define ALL 7
#define NAME(s) ((s) -> new : old)
mtype = { old, new, off, comparing, reading, following, none, sent, looked, fenced, waits, rests, reaches };

/* ---- The switches, as in -DSWITCHES=NO_HOLES+NO_TOTAL: what is taken out of the protocol, or not taken for granted ---- */
#define NO_BARRIER       1    /* the mirror alone decides */
#define EARLY_READ       2    /* a read that is on its way will do */
#define NO_PUT_WAIT      4    /* the publisher is told at once */
#define NO_PUT_WRITE     8    /* and by WAIT alone where its put changes nothing: acknowledgements of the past count */
#define NO_BARRIER_WAIT  16   /* who calls itself primary is believed */
#define NO_BARRIER_WRITE 32   /* after WAIT alone: acknowledgements of the past count */
#define NO_CONTENTS      64   /* buckets are compared by the version of their last change, and changes aren't checked */
#define NO_TOTAL         128  /* a change carries the contents of its bucket, and not of the whole */
#define NO_HOLES         256  /* missing versions aren't noticed */
#define ANY_HEIR         512  /* a replica is promoted that lacks what another has */
#define LATE_REPOINT     1024 /* the third server goes on following the old primary for a while */
#define ALL_CONFIRM      2048 /* the publisher is told when all three servers have it, and the barrier isn't fenced */
#define SPLIT_SESSION    4096 /* a session's two conversations may be with different servers that call themselves primary */
#define MOVED_SESSION    8192 /* a session goes on at the other server, and nobody says so */
#define EXACT            16384 /* the mirror has to be what was read, at that version with those contents, to refuse by it */
#define ONE_SERVER       32768 /* there is no failover */
#ifndef SWITCHES
#define SWITCHES 0
#endif
#define IS(switch) ((SWITCHES) & (switch))
#define STRANGE IS(SPLIT_SESSION + MOVED_SESSION)
#ifndef REACH
#define REACH 0
#endif
#define HERE(n) assert(REACH != n) /* fails on purpose, to show that this place is reached */

/* ---- The store ---- */
byte history[2 * (VERSIONS + 1)]; /* the contents at each version, of the old primary and of the new one */
byte version[2];
byte promised;                    /* the last version of the old primary that a majority has */
byte trimmed;                     /* up to here the stream that the node follows is gone */
bit third;                        /* whom the third server follows; the second follows the old primary until promoted */
bool promoted, demoted;
byte told;                        /* the keys that the publisher was told are active, and that nobody began to revoke since */

#define CONTENTS(s, v) history[(s) * (VERSIONS + 1) + (v)]
#define NOW(s) CONTENTS(s, version[s])
#define PRIMARY(s) ((s) == NEW -> promoted : !demoted)        /* calls itself so */
#define MAJORITY(s) (third == (s) || (s) == OLD && !promoted) /* somebody else acknowledges its writes */
#define EVERYBODY(s) (third == (s) && ((s) == NEW -> demoted : !promoted))
#define CONFIRMS(s) (IS(NO_PUT_WAIT) || (IS(ALL_CONFIRM) -> EVERYBODY(s) : MAJORITY(s)))
#define PAST (!demoted && promised == version[OLD])           /* of the old primary a majority once acknowledged all it has */
#define HEIR(v) ((v) >= promised || IS(NO_PUT_WAIT) || IS(ANY_HEIR) && !IS(ALL_CONFIRM))

/* ---- The node ---- */
mtype phase = off;
bit control, feed;                /* the servers that its two conversations are with */
byte mirror, verified;            /* contents; a bit for each bucket */
byte applied, floor, known[2];    /* as in Mirror: applied, floor, buckets[].version */
bool agreed;                      /* totalAgreed */
byte listed;                      /* the contents by the manifest, while buckets are read */
byte change; bit changeFrom;      /* the change that is on its way */
mtype read = none;                /* the read of the position */
byte readVersion, readSince; bit readFrom;
mtype question = none;
byte asked, target, since; bit targetFrom;
bool owed;                        /* to refuse the key would be wrong */

byte b, v, w;                     /* within one step */
#define COMPLETE (verified == 3 && applied >= floor && agreed)
#define SAME(a, b, mask) (IS(NO_CONTENTS) || ((a) & (mask)) == ((b) & (mask)))
#define UNCHANGED(b) (IS(NO_CONTENTS) -> known[b] == w : SAME(mirror, NOW(control), BUCKET(b)))
#define TRUSTED (MAJORITY(readFrom) || IS(NO_BARRIER_WAIT + ALL_CONFIRM) || IS(NO_BARRIER_WRITE) && PAST)
#define HELD(s) (mirror == CONTENTS(s, applied))
#define FOLLOWS(s) ((phase == reading || phase == following) && control == (s))

/* Ends a step. What can't matter any more becomes zero, so that states that differ in nothing else are one. */
inline tidy() {
  assert(!COMPLETE || HELD(control) || STRANGE && HELD(1 - control));
#if !STRANGE && !IS(NO_CONTENTS + NO_BARRIER_WRITE + NO_PUT_WRITE)
  for (v : 0 .. VERSIONS - 1) {
    if :: v < version[OLD] && !(FOLLOWS(OLD) && v >= applied) && (promoted || !HEIR(v)) -> CONTENTS(OLD, v) = 0 :: else fi;
    if :: v < version[NEW] && !(FOLLOWS(NEW) && v >= applied) -> CONTENTS(NEW, v) = 0 :: else fi
  };
  if :: demoted -> CONTENTS(OLD, version[OLD]) = 0; version[OLD] = 0 :: else fi;
  if :: promoted -> promised = 0 :: else fi;
  if :: floor <= applied -> floor = 0 :: else fi;
  for (b : 0 .. 1) { if :: known[b] <= applied -> known[b] = 0 :: else fi };
#endif
  if :: trimmed <= applied -> trimmed = 0 :: else fi;
  b = 0; v = 0; w = 0
}
/* w: the version of a bucket's last change, as its summary says; what isn't after `applied` is all the same to the mirror. */
inline lastChange(bucket) {
  w = version[control];
  do
  :: w > applied && !((CONTENTS(control, w) ^ CONTENTS(control, w - 1)) & BUCKET(bucket)) -> w--
  :: else -> break
  od
}
inline noRead() { read = none; readVersion = 0; readSince = 0; readFrom = OLD }
inline noQuestion() { question = none; asked = 0; target = 0; targetFrom = OLD; since = 0; owed = false }
inline leave(to) {
  phase = to; applied = 0; floor = 0; verified = 0; agreed = false; listed = 0; trimmed = 0; change = 0; changeFrom = OLD;
  if :: !IS(NO_CONTENTS) -> known[0] = 0; known[1] = 0 :: else fi;
  if :: to == off -> control = OLD; feed = OLD :: else fi;
  noRead(); noQuestion()
}
inline ask() {
  read = sent;
  if :: STRANGE -> readSince = applied :: else fi;
  if :: question == waits -> question = rests :: else fi
}
inline refuse() {
  printf("| node: refuses key %d, by version %d\n", asked, applied);
  assert(!owed);
  assert(STRANGE || applied >= since && !(CONTENTS(control, applied) & BIT(asked)));
  if :: control == NEW && !demoted && applied > 0 -> HERE(1) :: else fi;
  noQuestion()
}
/* Somebody puts all keys that are active already, which changes nothing, and is told so. */
inline putAgain() { if :: CONFIRMS(NEW) -> told = told | NOW(NEW) :: else fi }

#define CHANGE(s, key, confirmed) d_step { PRIMARY(s) && version[s] < VERSIONS && (!confirmed || CONFIRMS(s)) -> \
    v = NOW(s) ^ BIT(key); version[s]++; CONTENTS(s, version[s]) = v; \
    if :: v & BIT(key) -> printf("| %e primary: key %d is put, version %d", NAME(s), key, version[s]) \
       :: else -> printf("| %e primary: key %d is revoked, version %d", NAME(s), key, version[s]); \
         told = told & ~BIT(key); if :: asked == key -> owed = false :: else fi fi; \
    if :: confirmed -> printf(", and the publisher is told so\n"); \
         told = told | v; if :: s == OLD && !promoted -> promised = version[OLD] :: else fi \
       :: else -> printf("\n") fi; \
    tidy() }
#define TRIM(n) d_step { FOLLOWS(control) && trimmed == 0 && version[feed] > applied + n -> trimmed = version[feed] - n; \
    printf("| %e primary: trims its stream up to version %d\n", NAME(feed), trimmed) }
#define FAILOVER(first) d_step { !promoted && !IS(ONE_SERVER) && first <= version[OLD] && HEIR(first) -> \
    promoted = true; version[NEW] = first; \
    for (v : 0 .. first) { CONTENTS(NEW, v) = CONTENTS(OLD, v) }; \
    if :: !IS(LATE_REPOINT) -> third = NEW; putAgain() :: else fi; \
    printf("| failover: the new primary begins at version %d, the old one goes on from %d\n", first, version[OLD]); \
    tidy() }

active proctype world() {
  do
  :: CHANGE(OLD, 0, true)  :: CHANGE(OLD, 1, true)  :: CHANGE(OLD, 2, true)
  :: CHANGE(OLD, 0, false) :: CHANGE(OLD, 1, false) :: CHANGE(OLD, 2, false)
  :: CHANGE(NEW, 0, true)  :: CHANGE(NEW, 1, true)  :: CHANGE(NEW, 2, true)
#if IS(LATE_REPOINT + ALL_CONFIRM)
  :: CHANGE(NEW, 0, false) :: CHANGE(NEW, 1, false) :: CHANGE(NEW, 2, false)
#endif
  :: TRIM(0) :: TRIM(1)
  :: FAILOVER(0) :: FAILOVER(1) :: FAILOVER(2) :: FAILOVER(3) :: FAILOVER(4)
  :: d_step { promoted && third == OLD -> third = NEW; putAgain(); printf("| third server: follows the new primary\n") }
  :: d_step { IS(NO_PUT_WRITE) && promoted && PAST && (NOW(OLD) & ~told & BIT(0)) -> told = told | BIT(0);
       printf("| old primary: key 0 is put, which changes nothing, and the publisher is told so\n") }
  :: d_step { promoted && !demoted -> demoted = true; printf("| old primary: becomes a replica of the new one");
       if
       :: IS(MOVED_SESSION) && phase != off && control == OLD ->
         control = NEW; feed = NEW; printf(", and the node's session goes on")
       :: !IS(MOVED_SESSION) && phase != off && (control == OLD || feed == OLD) -> leave(off)
       :: else
       fi;
       printf("\n"); tidy() }
  :: d_step { phase != off -> leave(off); printf("| node: loses its connections\n"); tidy() }
  od
}

#define CONNECT(c, f) d_step { phase == off && PRIMARY(c) && PRIMARY(f) && (c == f || IS(SPLIT_SESSION)) -> \
    phase = comparing; control = c; feed = f; \
    if :: f == c -> printf("| node: connects to the %e primary\n", NAME(c)) \
       :: else -> printf("| node: connects to the %e primary, and its feed to the %e one\n", NAME(c), NAME(f)) fi }
#define READ_BUCKET(bucket) d_step { phase == reading && (verified & (2 * bucket + 1)) == bucket -> \
    mirror = mirror & ~BUCKET(bucket) | NOW(control) & BUCKET(bucket); verified = verified | BIT(bucket); \
    lastChange(bucket); known[bucket] = w; if :: w > floor -> floor = w :: else fi; \
    printf("| node: reads bucket %d as of version %d\n", bucket, version[control]); tidy() }
#define REQUEST(key) d_step { question == none && phase == following && COMPLETE && !(mirror & BIT(key)) -> \
    question = waits; asked = key; since = (STRANGE -> 0 : version[control]); owed = (told & BIT(key)) != 0; \
    printf("| request: key %d\n", key); \
    if :: IS(NO_BARRIER) -> refuse() \
       :: IS(EARLY_READ) && read != none -> question = rests \
       :: else -> if :: read == none -> ask() :: else fi fi }

active proctype node() {
  do
  :: CONNECT(OLD, OLD) :: CONNECT(NEW, NEW) :: CONNECT(OLD, NEW) :: CONNECT(NEW, OLD)
  :: d_step { phase == comparing ->                   /* compare */
       for (b : 0 .. 1) {
         lastChange(b);
         if :: UNCHANGED(b) -> verified = verified | BIT(b); known[b] = w :: else -> known[b] = 0 fi
       };
       applied = version[control]; floor = applied; listed = NOW(control); agreed = SAME(mirror, listed, ALL);
       phase = reading; printf("| node: compares with the %e primary, at version %d\n", NAME(control), applied); tidy() }
  :: READ_BUCKET(0) :: READ_BUCKET(1)
  :: d_step { phase == reading && verified == 3 ->    /* follow */
       phase = following;
       if :: floor <= applied -> agreed = SAME(mirror, listed, ALL); if :: !agreed -> leave(comparing) :: else fi :: else fi;
       listed = 0; tidy() }
  :: d_step { phase == following && change == 0 && applied < version[feed] && trimmed < version[feed] -> /* fetch */
       changeFrom = feed; if :: trimmed > applied -> change = trimmed + 1 :: else -> change = applied + 1 fi;
       printf("| %e primary: sends the change to version %d\n", NAME(feed), change) }
  :: d_step { phase == following && change != 0 ->    /* apply */
       printf("| node: gets the change to version %d\n", change);
       if
       :: change != applied + 1 && !IS(NO_HOLES) -> HERE(2); leave(comparing)
       :: else ->
         w = CONTENTS(changeFrom, change); v = w ^ CONTENTS(changeFrom, change - 1); /* the key that it is about */
         b = (v & BUCKET(1) -> 1 : 0); applied = change; change = 0; changeFrom = OLD;
         if
         :: applied > known[b] -> mirror = mirror & ~v | w & v; known[b] = applied;
           if :: !SAME(mirror, w, BUCKET(b)) -> verified = verified & ~BIT(b) :: else fi
         :: else
         fi;
         if :: verified == 3 && applied >= floor ->
              if :: !agreed -> HERE(3) :: else fi;
              agreed = SAME(mirror, w, (IS(NO_TOTAL) -> 0 : ALL))
            :: else fi;
         if :: verified != 3 || applied >= floor && !agreed -> leave(comparing) :: else fi
       fi;
       tidy() }
  :: d_step { phase == following && read == none && (question == waits || IS(EARLY_READ) || STRANGE) -> ask() }
  :: d_step { read == sent && PRIMARY(control) ->     /* look */
       read = looked; readVersion = version[control]; readFrom = control;
       printf("| %e primary: says that it is at version %d\n", NAME(control), readVersion) }
  :: d_step { read == looked ->                       /* fence */
       if :: TRUSTED -> read = fenced :: else -> HERE(4); noRead(); if :: question == rests -> noQuestion() :: else fi fi }
  :: d_step { read == fenced ->                       /* hear */
       printf("| node: hears that the store is at version %d\n", readVersion);
       if
       :: readVersion < readSince || readVersion < floor ||
          readVersion == applied && COMPLETE && !SAME(mirror, CONTENTS(readFrom, applied), ALL) -> leave(comparing)
       :: else ->
         if :: question == rests -> question = reaches; target = readVersion; targetFrom = readFrom :: else fi;
         noRead()
       fi }
  :: d_step { question == reaches && applied >= target -> /* answer */
       if
       :: mirror & BIT(asked) -> printf("| node: admits key %d\n", asked); noQuestion()
       :: !(mirror & BIT(asked)) && !COMPLETE -> noQuestion()
       :: !(mirror & BIT(asked)) && COMPLETE ->
         if
         :: IS(EXACT) && applied > target -> question = waits; target = 0; targetFrom = OLD
         :: IS(EXACT) && applied == target && mirror != CONTENTS(targetFrom, target) -> leave(comparing)
         :: else -> refuse()
         fi
       fi }
  :: REQUEST(0) :: REQUEST(2)
  od
}
