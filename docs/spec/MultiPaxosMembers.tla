------------------------- MODULE MultiPaxosMembers -------------------------
(***************************************************************************)
(* Multi-Paxos by log adoption, as in MultiPaxosLog, with memberships that *)
(* change: P9, P10, with R13, R16, R41 to R46 and Q5.                      *)
(*                                                                         *)
(* A membership is an entry of the log.  The newest one in a log governs   *)
(* there from the moment when it is appended; a log without one is         *)
(* governed by the founding membership; what is cut off governs no longer. *)
(* A leader counts by the log that it leads with, a candidate by its own   *)
(* log as it is.                                                           *)
(*                                                                         *)
(* Left out, beside MultiPaxosLog, so that more of the rest can be         *)
(* searched:                                                               *)
(*   the commit index of a follower.  What a new leader is told of what is *)
(*     committed (P5) is as much as any leader before it has committed:    *)
(*     the most that a promise could say.  All that is done with it, P10,  *)
(*     asks for at least so much; so less would allow less.                *)
(*   snapshots, `certified` as a variable: MultiPaxosLog has both.         *)
(*                                                                         *)
(* Who may be heard and who may promise is not restricted: learners and    *)
(* servers outside of every membership take part, and are not counted.     *)
(*                                                                         *)
(* multipaxos_members.m is this module for another model checker.          *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
  Server,
  Founders,     \* the voters of the founding membership
  MaxTerm,      \* terms 1..MaxTerm
  Owners,       \* the owner tables to start from: sequences of servers
  MaxLen,       \* longest log
  Values,       \* TRUE: there are entries which are not changes
  Joint,        \* TRUE: what is not one step goes through a joint membership
  Late,         \* TRUE: a leader's own disk may be late (R5)
  Narrow,       \* TRUE: q1 = n - q2 + 1; FALSE: both quorums are majorities
  Mutation,     \* "none", or the name of a rule that is broken on purpose
  None          \* model value

VARIABLES
  \* durable, per server
  term, log, acc,
  \* per term: owner, what its owner is doing, the promises it may count, and
  \* whose log it has begun to pull
  owner, phase, prom, pull,
  \* per term, history: the leader's log, L, what it knows to be committed,
  \* and how far each server has answered "accepted": 0 is not at all, n + 1
  \* is through n
  elog, base, cmt, accd

vars == <<term, log, acc, owner, phase, prom, pull, elog, base, cmt, accd>>
ballot == <<owner, phase, prom, pull>>
hist   == <<elog, base, cmt, accd>>

Term == 1..MaxTerm
Max(a, b) == IF a > b THEN a ELSE b
Min(a, b) == IF a < b THEN a ELSE b
MaxOf(S)  == CHOOSE x \in S : \A y \in S : y <= x

----------------------------------------------------------------------------
\* Logs.  An entry is [t, new, old]: new = {} is not a change; new = old is a
\* membership; else the joint one on the way from old to new.

Cut(l, k)      == SubSeq(l, 1, k)
Same(l, m, k)  == Len(l) >= k /\ Len(m) >= k /\ Cut(l, k) = Cut(m, k)
IsPrefix(p, l) == Same(p, l, Len(p))
IsChange(e)    == e.new # {}

\* Raft's prev check: the last index at which both logs name the same term.
Join(l, m) ==
  MaxOf({k \in 0..Min(Len(l), Len(m)) : k = 0 \/ l[k].t = m[k].t})

----------------------------------------------------------------------------
\* Memberships

\* R41
GovIndex(l) == MaxOf({k \in 0..Len(l) : k = 0 \/ IsChange(l[k])})
Governing(l) ==
  IF GovIndex(l) = 0 THEN [new |-> Founders, old |-> Founders]
  ELSE [new |-> l[GovIndex(l)].new, old |-> l[GovIndex(l)].old]
IsJoint(l) == Governing(l).new # Governing(l).old

Q2Size(n) == n \div 2 + 1
Q1Size(n) == IF Narrow THEN n - Q2Size(n) + 1 ELSE Q2Size(n)

\* R13: each half on its own; who is in neither is not counted.
Halves(l) ==
  LET g == Governing(l) IN
  IF Mutation = "onehalf" THEN {g.new \cup g.old} ELSE {g.new, g.old}
IsQ1(S, l) ==
  \A h \in Halves(l) :
    Cardinality(IF Mutation = "countall" THEN S ELSE S \cap h)
      >= Q1Size(Cardinality(h))
IsQ2(S, l) ==
  \A h \in Halves(l) : Cardinality(S \cap h) >= Q2Size(Cardinality(h))

\* R43, Q5: whether one step leads from A to B.
OneStep(A, B) ==
  LET u == Cardinality(A \cup B) a == Cardinality(A) b == Cardinality(B) IN
  \/ Mutation = "anystep"
  \/ /\ u - Cardinality(A \cap B) <= 1
     /\ \/ Mutation = "onestep"
        \/ Q1Size(a) + Q2Size(b) > u /\ Q1Size(b) + Q2Size(a) > u

----------------------------------------------------------------------------
\* Terms

Led(t)       == phase[t] \in {"lead", "done"}      \* elog[t] exists
Leads(s)     == term[s] > 0 /\ owner[term[s]] = s /\ phase[term[s]] = "lead"
Runs(s)      == term[s] > 0 /\ owner[term[s]] = s /\ phase[term[s]] = "prep"
Synced(s)    == Leads(s) => Len(log[s]) = Len(elog[term[s]])
Reach(s, t)  == Join(log[s], elog[t])

NoProm == [s \in Server |-> None]

Init ==
  /\ term = [s \in Server |-> 0]
  /\ log = [s \in Server |-> << >>]
  /\ acc = [s \in Server |-> 0]
  /\ owner \in Owners
  /\ phase = [t \in Term |-> "free"]
  /\ prom = [t \in Term |-> NoProm]
  /\ pull = [t \in Term |-> None]
  /\ elog = [t \in Term |-> << >>]
  /\ base = [t \in Term |-> 0]
  /\ cmt = [t \in Term |-> 0]
  /\ accd = [t \in Term |-> [s \in Server |-> 0]]

\* What becomes of the candidacy or leadership of s when it ends.
EndedPhase(s) ==
  IF Leads(s) THEN [phase EXCEPT ![term[s]] = "done"]
  ELSE IF Runs(s) THEN [phase EXCEPT ![term[s]] = "dead"]
  ELSE phase
EndedProm(s) == IF Runs(s) THEN [prom EXCEPT ![term[s]] = NoProm] ELSE prom
EndedPull(s) == IF Runs(s) THEN [pull EXCEPT ![term[s]] = None] ELSE pull

\* s enters t because of somebody else's message.
Adopt(s, t) ==
  /\ term' = [term EXCEPT ![s] = t]
  /\ phase' = IF t > term[s] THEN EndedPhase(s) ELSE phase
  /\ prom' = IF t > term[s] THEN EndedProm(s) ELSE prom
  /\ pull' = IF t > term[s] THEN EndedPull(s) ELSE pull

----------------------------------------------------------------------------
\* Phase 1

\* R16, as far as safety is concerned: by its log it was a voter once.
MayCampaign(s) ==
  \/ s \in Founders
  \/ \E k \in 1..Len(log[s]) : s \in log[s][k].new \cup log[s][k].old

\* P1
Campaign(s, t) ==
  /\ owner[t] = s /\ phase[t] = "free" /\ t > term[s]
  /\ Synced(s) /\ MayCampaign(s)
  /\ term' = [term EXCEPT ![s] = t]
  /\ phase' = [EndedPhase(s) EXCEPT ![t] = "prep"]
  /\ prom' = EndedProm(s)
  /\ pull' = EndedPull(s)
  /\ UNCHANGED <<log, acc, owner, hist>>

\* P2, P3: the log is not looked at, nor who is a member (R14).
Promise(s, t) ==
  /\ phase[t] # "free" /\ owner[t] # s /\ Synced(s)
  /\ \/ t > term[s]
     \/ t = term[s] /\ phase[t] = "prep" /\ prom[t][s] = None
  /\ term' = [term EXCEPT ![s] = t]
  /\ phase' = IF t > term[s] THEN EndedPhase(s) ELSE phase
  /\ pull' = IF t > term[s] THEN EndedPull(s) ELSE pull
  /\ prom' = LET p == IF t > term[s] THEN EndedProm(s) ELSE prom IN
       IF phase[t] # "prep" THEN p
       ELSE [p EXCEPT ![t][s] = [acc |-> acc[s], log |-> log[s]]]
  /\ UNCHANGED <<log, acc, owner, hist>>

Promised(t) == {p \in Server : prom[t][p] # None}

\* Sets of promising peers which, with the candidate, are a Q1 of the
\* membership that governs at the candidate as its log is now (P4, P9).  A
\* promise that is late, or whose server died, is in no set.
PromiseSets(s, t) == {S \in SUBSET Promised(t) : IsQ1(S \cup {s}, log[s])}

\* P9: from outside, too, a log may be the best one.
Looked(s, S) ==
  IF Mutation = "outside"
  THEN S \cap (Governing(log[s]).new \cup Governing(log[s]).old) ELSE S

Geq(a, l, b, m) == a > b \/ (a = b /\ Len(l) >= Len(m))
IsBest(s, t, S, a, l) ==
  /\ Geq(a, l, acc[s], log[s])
  /\ \A p \in Looked(s, S) : Geq(a, l, prom[t][p].acc, prom[t][p].log)
PeerBest(s, t, b) ==
  \E S \in PromiseSets(s, t) :
    (b \in S \/ Mutation = "outside")
      /\ IsBest(s, t, S, prom[t][b].acc, prom[t][b].log)

\* P4: one chunk of the best log.  Whose it is, is decided before the first
\* one; the memberships that come with it decide nothing before it is whole
\* (P9).
PullChunk(s, t, b) ==
  /\ term[s] = t /\ Runs(s) /\ prom[t][b] # None /\ log[s] # prom[t][b].log
  /\ pull[t] = b \/ (pull[t] = None /\ PeerBest(s, t, b))
  /\ LET B == prom[t][b].log
         j == Join(log[s], B)
         l == IF j < Len(log[s]) THEN Cut(log[s], j)
              ELSE Append(log[s], B[j + 1])
     IN /\ log' = [log EXCEPT ![s] = l]
        /\ pull' = [pull EXCEPT ![t] =
             IF l = B /\ Mutation \notin {"once", "keepbest"} THEN None ELSE b]
  /\ UNCHANGED <<term, acc, owner, phase, prom, hist>>

\* The source has died.  What was pulled stays as it is.
PullEnd(s, t) ==
  /\ term[s] = t /\ Runs(s) /\ pull[t] # None
  /\ pull' = [pull EXCEPT ![t] = None]
  /\ UNCHANGED <<term, log, acc, owner, phase, prom, hist>>

\* P9: nothing changes any more: the own log is the best one, or the same as
\* the best one, among the promises of a Q1 in the membership that it brings.
HasBest(s, t) ==
  IF pull[t] = None THEN
    \/ \E S \in PromiseSets(s, t) : IsBest(s, t, S, acc[s], log[s])
    \/ \E b \in Promised(t) : log[s] = prom[t][b].log /\ PeerBest(s, t, b)
  ELSE  \* the last log pulled, without a look at promises that came since
    /\ log[s] = prom[t][pull[t]].log
    /\ \/ Mutation = "once"
       \/ Mutation = "keepbest" /\ IsQ1(Promised(t) \cup {s}, log[s])

\* P5
Elect(s, t) ==
  /\ term[s] = t /\ Runs(s) /\ HasBest(s, t)
  /\ acc' = [acc EXCEPT ![s] = t]
  /\ phase' = [phase EXCEPT ![t] = "lead"]
  /\ prom' = [prom EXCEPT ![t] = NoProm]
  /\ pull' = [pull EXCEPT ![t] = None]
  /\ elog' = [elog EXCEPT ![t] = log[s]]
  /\ base' = [base EXCEPT ![t] = Len(log[s])]
  /\ accd' = [accd EXCEPT ![t][s] = Len(log[s]) + 1]
  /\ cmt' = [cmt EXCEPT ![t] = MaxOf({0} \cup {cmt[u] : u \in 1..t - 1})]
  /\ UNCHANGED <<term, log, owner>>

----------------------------------------------------------------------------
\* Phase 2, leader

\* R41, R46: counted in the membership that the leader's log brings.
Took(t, n) == {s \in Server : accd[t][s] > n}
HasQ2(t, n) ==
  LET g == Governing(elog[t]) IN
  IF Mutation = "selfcount" /\ owner[t] \notin g.new \cup g.old
  THEN /\ owner[t] \in Took(t, n)
       /\ Cardinality(Took(t, n) \cap g.new) + 1 >= Q2Size(Cardinality(g.new))
  ELSE IsQ2(Took(t, n), elog[t])

Add(s, t, e) ==
  /\ elog' = [elog EXCEPT ![t] = Append(@, e)]
  /\ log' = IF Late THEN log ELSE [log EXCEPT ![s] = elog'[t]]
  /\ accd' = IF Late THEN accd
             ELSE [accd EXCEPT ![t][s] = Len(elog[t]) + 2]
  /\ UNCHANGED <<term, acc, ballot, base, cmt>>

Propose(s, t) ==
  /\ Values /\ term[s] = t /\ Leads(s) /\ Len(elog[t]) < MaxLen
  /\ Add(s, t, [t |-> t, new |-> {}, old |-> {}])

\* P10
MayChange(t) ==
  IF Mutation = "p10commit"
  THEN cmt[t] >= base[t] /\ cmt[t] >= GovIndex(elog[t])
  ELSE /\ HasQ2(t, base[t])
       /\ Mutation = "p10chain" \/ cmt[t] >= GovIndex(elog[t])

Change(s, t, new, old) ==
  /\ term[s] = t /\ Leads(s) /\ Len(elog[t]) < MaxLen
  /\ MayChange(t)
  /\ Add(s, t, [t |-> t, new |-> new, old |-> old])

With(S, v) == IF v \in S THEN S \ {v} ELSE S \cup {v}

\* One voter is added or removed.
ChangeOne(s, t, v) ==
  LET now == Governing(elog[t]).new then == With(now, v) IN
  /\ ~IsJoint(elog[t])
  /\ then # {} /\ OneStep(now, then)
  /\ Change(s, t, then, then)

\* R43: what is not one step; two voters here, or one where Q5 asks for it.
ChangeJoint(s, t, v, w) ==
  LET now == Governing(elog[t]).new
      then == IF v = w THEN With(now, v) ELSE With(With(now, v), w)
  IN /\ ~IsJoint(elog[t])
     /\ then # {}
     /\ IF OneStep(now, then)
        THEN Mutation = "anystep" /\ Change(s, t, then, then)
        ELSE Joint /\ Change(s, t, then, now)

\* R44
LeaveJoint(s, t) ==
  LET now == Governing(elog[t]).new IN
  /\ IsJoint(elog[t])
  /\ Change(s, t, now, now)

LeaderSync(s, t) ==
  /\ term[s] = t /\ Leads(s) /\ Len(log[s]) < Len(elog[t])
  /\ log' = [log EXCEPT ![s] = Append(@, elog[t][Len(@) + 1])]
  /\ accd' = [accd EXCEPT ![t][s] = Len(log[s]) + 2]
  /\ UNCHANGED <<term, acc, ballot, elog, base, cmt>>

\* P7
LeaderCommit(s, t) ==
  /\ term[s] = t /\ Leads(s)
  /\ \E n \in cmt[t] + 1..Len(elog[t]) :
       HasQ2(t, n) /\ cmt' = [cmt EXCEPT ![t] = n]
  /\ UNCHANGED <<term, log, acc, ballot, elog, base, accd>>

----------------------------------------------------------------------------
\* Phase 2, follower

Hears(s, t) == Led(t) /\ owner[t] # s /\ term[s] <= t /\ Synced(s)
Answered(s, t, k) == [accd EXCEPT ![t][s] = Max(@, k + 1)]

FollowerCut(s, t) ==
  /\ Hears(s, t)
  /\ LET j == Reach(s, t) IN
       /\ j < Len(log[s]) /\ j < Len(elog[t])
       /\ log' = [log EXCEPT ![s] = Cut(@, j)]
  /\ Adopt(s, t)
  /\ UNCHANGED <<acc, owner, hist>>

FollowerAdd(s, t) ==
  /\ Hears(s, t)
  /\ LET j == Reach(s, t) IN
       /\ j = Len(log[s]) /\ j < Len(elog[t])
       /\ log' = [log EXCEPT ![s] = Append(@, elog[t][j + 1])]
       /\ accd' = IF acc[s] = t THEN Answered(s, t, j + 1) ELSE accd
  /\ Adopt(s, t)
  /\ UNCHANGED <<acc, owner, elog, base, cmt>>

\* P6
StaleTail(s, t) ==
  LET r == Reach(s, t) IN Len(log[s]) > r /\ log[s][r + 1].t < t
Through(s, t) ==
  Reach(s, t) >= IF Mutation = "early" THEN Min(1, base[t]) ELSE base[t]

FollowerCutTail(s, t) ==
  /\ Led(t) /\ owner[t] # s /\ term[s] = t /\ acc[s] < t
  /\ Reach(s, t) >= base[t] /\ StaleTail(s, t)
  /\ log' = [log EXCEPT ![s] = Cut(@, Reach(s, t))]
  /\ UNCHANGED <<term, acc, ballot, hist>>

FollowerAccept(s, t) ==
  /\ Led(t) /\ owner[t] # s /\ term[s] = t /\ acc[s] < t
  /\ Through(s, t) /\ ~StaleTail(s, t)
  /\ acc' = [acc EXCEPT ![s] = t]
  /\ accd' = Answered(s, t, Reach(s, t))
  /\ UNCHANGED <<term, log, ballot, elog, base, cmt>>

----------------------------------------------------------------------------
\* A crash and the restart are one step.  A leader loses what it had not
\* synced (R60), and neither it nor a candidate goes on in that term.
Crash(s) ==
  /\ Leads(s) \/ Runs(s)
  /\ phase' = EndedPhase(s)
  /\ prom' = EndedProm(s)
  /\ pull' = EndedPull(s)
  /\ UNCHANGED <<term, log, acc, owner, hist>>

Next ==
  \E s \in Server :
    \/ Crash(s)
    \/ \E t \in Term :
         \/ Campaign(s, t) \/ Promise(s, t)
         \/ \E b \in Server : PullChunk(s, t, b)
         \/ PullEnd(s, t) \/ Elect(s, t)
         \/ Propose(s, t)
         \/ \E v \in Server : ChangeOne(s, t, v)
         \/ \E v, w \in Server : ChangeJoint(s, t, v, w)
         \/ LeaveJoint(s, t)
         \/ LeaderSync(s, t) \/ LeaderCommit(s, t)
         \/ FollowerCut(s, t) \/ FollowerAdd(s, t)
         \/ FollowerCutTail(s, t) \/ FollowerAccept(s, t)

Spec == Init /\ [][Next]_vars

\* For Owners: all tables.  (Servers are not alike where not all of them are
\* founders, so none stands for all its renamings here; members.c and
\* multipaxos_members.m leave such repetitions out.)
All == [Term -> Server]

----------------------------------------------------------------------------
\* Invariants

\* How far the log of leader t is chosen: by what it has committed, and by
\* what a Q2 of the membership that it leads with has accepted.
Chosen(t) ==
  MaxOf({n \in 0..Len(elog[t]) : n <= cmt[t] \/ HasQ2(t, n)})

I1_Agreement ==
  \A t, u \in Term : Led(t) /\ Led(u) /\ cmt[t] <= cmt[u] =>
    Same(elog[t], elog[u], cmt[t])

I8_AccBelowTerm == \A s \in Server : acc[s] <= term[s]

I9_AcceptedHoldsL ==
  \A s \in Server : (acc[s] > 0 /\ acc[s] = term[s]) =>
    IsPrefix(log[s], elog[acc[s]]) /\ Len(log[s]) >= base[acc[s]]

I10_ChosenSafe ==
  \A t, u \in Term : t < u /\ Led(t) /\ Led(u) =>
    Same(elog[t], elog[u], Chosen(t))

Matching(l, m) ==
  \A k \in 1..Min(Len(l), Len(m)) : l[k].t = m[k].t => Same(l, m, k)
I12_LogMatching ==
  /\ \A s, r \in Server : Matching(log[s], log[r])
  /\ \A s \in Server, t \in Term : Matching(log[s], elog[t])

\* I17: at most one change in a log is not chosen.
ChosenIn(l) ==
  MaxOf({k \in 0..Len(l) : k = 0 \/ \E t \in Term :
    Led(t) /\ k <= Chosen(t) /\ Same(elog[t], l, k)})
OneOpen(l) ==
  Cardinality({k \in ChosenIn(l) + 1..Len(l) : IsChange(l[k])}) <= 1
I17_OneOpenChange ==
  /\ \A s \in Server : OneOpen(log[s])
  /\ \A t \in Term : OneOpen(elog[t])

P5_CommitInL == \A t \in Term : phase[t] = "lead" => cmt[t] <= Len(elog[t])

\* Two states that differ only in the history of terms which everybody has
\* left behave alike: what stays of such a term is what was chosen in it.
Left(t) == \A s \in Server : term[s] > t
StateView ==
  <<term, log, acc, owner, cmt,
    [t \in Term |->
       IF Left(t) THEN <<Led(t), IF Led(t) THEN Cut(elog[t], Chosen(t))
                                           ELSE << >> >>
       ELSE <<phase[t], prom[t], pull[t], elog[t], base[t], accd[t]>>]>>

\* Step properties.
I7_NothingBelowPromise ==
  [][\A s \in Server, t \in Term :
       accd'[t][s] # accd[t][s] => term[s] <= t]_vars
I8_Monotone ==
  [][\A s \in Server : acc'[s] >= acc[s] /\ term'[s] >= term[s]]_vars
\* In a term below the one that chose it, a candidate or a leader whose
\* messages come late may make a server cut it: that server has not answered
\* in the term that chose it, and is not counted there.
I14_NoChosenCut ==
  [][\A s \in Server, t \in Term :
       (Led(t) /\ term'[s] >= t /\ Same(elog[t], log[s], Chosen(t))) =>
          Same(elog[t], log'[s], Chosen(t))]_vars
=============================================================================
