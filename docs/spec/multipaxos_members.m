-----------------------------------------------------------------------------
-- MultiPaxosMembers.tla once more, action for action and by the same names, for
-- a model checker of the Murphi language (rumur). What is said there is not
-- repeated. Where the two differ in form:
--   * A set of servers is an array of truths. A change carries the voters that
--     it leads to and those that it comes from (equal: it is not joint).
--   * Servers are interchangeable (scalarset), so all tables of owners and all
--     founding memberships of the size given are start states.
--   * "For some set of promises" is "for all promises that are no better than
--     the one looked at": quorums only grow with the set.
--   * `Forget` drops what StateView of the TLA+ module drops.
--   * VALUES and the like are 1 for TRUE. ONEHALF is "onehalf" there, and so on.
--   * I14, a property of steps, is an assertion where a log changes.
-----------------------------------------------------------------------------

const
  -- The names of broken rules.
  NONE: 0;
  P10COMMIT: 1;  -- next change once commit >= L, not once a Q2 has accepted
  P10CHAIN: 2;   -- next change before the previous one is committed
  ONCE: 3;       -- P9: the membership adopted is not asked for a Q1
  KEEPBEST: 4;   -- P9: it is asked, but the best log is not chosen anew
  OUTSIDE: 5;    -- P9: promises from outside are not looked at for the best log
  COUNTALL: 6;   -- P9: promises from outside count towards a Q1
  SELFCOUNT: 7;  -- R46: a leader that is left out counts itself
  ONESTEP: 8;    -- Q5: any change of one voter is made in one step
  ANYSTEP: 9;    -- R43: any change at all is made in one step
  ONEHALF: 10;     -- R13: a quorum of both halves together is enough
  EARLY: 11;     -- P6: accepted_round is raised before L is reached

  -- The bounds.
  SERVERS: 3;    -- servers
  FOUNDERS: 3;   -- so many of them are voters from the start
  TERMS: 2;      -- terms
  LENGTH: 1;     -- longest log
  VALUES: 1;     -- 1: there are entries which are not changes
  JOINT: 0;      -- 1: what is not one step goes through a joint membership
  LATE: 1;       -- 1: a leader's own disk may be late (R5)
  NARROW: 0;     -- 1: q1 = n - q2 + 1; 0: both quorums are majorities
  MUTATION: NONE;

type
  Server: scalarset(SERVERS);
  Size: 0 .. SERVERS;
  Term: 1 .. TERMS;
  Round: 0 .. TERMS;
  Place: 1 .. LENGTH;
  Index: 0 .. LENGTH;
  Count: 0 .. LENGTH + 1;    -- 0: nothing accepted; n + 1: accepted through n
  Set: array[Server] of boolean;
  Entry: record
    t: Round;
    new: Set;                -- empty: not a change
    old: Set;
  end;
  Log: record
    n: Index;
    e: array[Place] of Entry;
  end;
  Promised: record
    given: boolean;
    acc: Round;
    log: Log;
  end;
  Phase: enum { FREE, PREP, LEAD, DONE, DEAD };

var
  founders: Set;
  -- durable, per server
  term: array[Server] of Round;
  log: array[Server] of Log;
  acc: array[Server] of Round;
  -- per term
  owner: array[Term] of Server;
  phase: array[Term] of Phase;
  prom: array[Term] of array[Server] of Promised;
  pull: array[Term] of Server;    -- undefined: none
  elog: array[Term] of Log;
  base: array[Term] of Index;
  cmt: array[Term] of Index;
  accd: array[Term] of array[Server] of Count;

-- Sets, entries and logs ----------------------------------------------------

function SizeOf(s: Set): Size;
var n: Size;
begin
  n := 0;
  for p: Server do
    if s[p] then n := n + 1; end;
  end;
  return n;
end;

function SizeOfBoth(s: Set; z: Set): Size;
var n: Size;
begin
  n := 0;
  for p: Server do
    if s[p] & z[p] then n := n + 1; end;
  end;
  return n;
end;

function SizeOfEither(s: Set; z: Set): Size;
var n: Size;
begin
  n := 0;
  for p: Server do
    if s[p] | z[p] then n := n + 1; end;
  end;
  return n;
end;

function IsChange(e: Entry): boolean;
begin
  return exists p: Server do e.new[p] end;
end;

procedure ClearEntry(var e: Entry);
begin
  e.t := 0;
  for p: Server do
    e.new[p] := false;
    e.old[p] := false;
  end;
end;

procedure Empty(var l: Log);
begin
  l.n := 0;
  for i: Place do ClearEntry(l.e[i]); end;
end;

procedure Cut(var l: Log; k: Index);
begin
  for i: Place do
    if i > k then ClearEntry(l.e[i]); end;
  end;
  if l.n > k then l.n := k; end;
end;

procedure Append(var l: Log; e: Entry);
begin
  l.n := l.n + 1;
  l.e[l.n] := e;
end;

-- Whether the first k entries of both are the same.
function Same(l: Log; m: Log; k: Index): boolean;
begin
  if l.n < k | m.n < k then return false; end;
  for i: Place do
    if i <= k & l.e[i] != m.e[i] then return false; end;
  end;
  return true;
end;

function IsPrefix(p: Log; l: Log): boolean;
begin
  return Same(p, l, p.n);
end;

function Join(l: Log; m: Log): Index;
var j: Index;
begin
  j := 0;
  for i: Place do
    if i <= l.n & i <= m.n & l.e[i].t = m.e[i].t then j := i; end;
  end;
  return j;
end;

-- Memberships ---------------------------------------------------------------

-- The index of the change that governs; 0: the founding membership does.
function GovIndex(l: Log): Index;
var g: Index;
begin
  g := 0;
  for i: Place do
    if i <= l.n & IsChange(l.e[i]) then g := i; end;
  end;
  return g;
end;

procedure Governing(l: Log; var new: Set; var old: Set);
var g: Index;
begin
  g := GovIndex(l);
  if g = 0 then
    new := founders;
    old := founders;
  else
    new := l.e[g].new;
    old := l.e[g].old;
  end;
end;

function Q2Size(n: Size): Size;
begin
  return n / 2 + 1;
end;

function Q1Size(n: Size): Size;
begin
  if NARROW = 1 then return n - Q2Size(n) + 1; end;
  return Q2Size(n);
end;

-- Whether s is an election or a commit quorum of the membership that l brings.
function IsQuorum(s: Set; l: Log; is_q1: boolean): boolean;
var new: Set; old: Set; all: Set; n: Size; o: Size;
begin
  Governing(l, new, old);
  if MUTATION = ONEHALF then
    for p: Server do all[p] := new[p] | old[p]; end;
    new := all;
    old := all;
  end;
  n := SizeOf(new);
  o := SizeOf(old);
  if is_q1 then
    if MUTATION = COUNTALL then return SizeOf(s) >= Q1Size(n) & SizeOf(s) >= Q1Size(o); end;
    return SizeOfBoth(s, new) >= Q1Size(n) & SizeOfBoth(s, old) >= Q1Size(o);
  end;
  return SizeOfBoth(s, new) >= Q2Size(n) & SizeOfBoth(s, old) >= Q2Size(o);
end;

-- R43, Q5: whether one step leads from a to b.
function OneStep(a: Set; b: Set): boolean;
var u: Size;
begin
  u := SizeOfEither(a, b);
  if MUTATION = ANYSTEP then return true; end;
  if u - SizeOfBoth(a, b) > 1 then return false; end;
  return MUTATION = ONESTEP |
         (Q1Size(SizeOf(a)) + Q2Size(SizeOf(b)) > u &
          Q1Size(SizeOf(b)) + Q2Size(SizeOf(a)) > u);
end;

-- Terms ---------------------------------------------------------------------

function Led(t: Term): boolean;
begin
  return phase[t] = LEAD | phase[t] = DONE;
end;

function Leads(s: Server): boolean;
begin
  return term[s] > 0 & owner[term[s]] = s & phase[term[s]] = LEAD;
end;

function Runs(s: Server): boolean;
begin
  return term[s] > 0 & owner[term[s]] = s & phase[term[s]] = PREP;
end;

function Synced(s: Server): boolean;
begin
  return !Leads(s) | log[s].n = elog[term[s]].n;
end;

function Reach(s: Server; t: Term): Index;
begin
  return Join(log[s], elog[t]);
end;

function Left(t: Term): boolean;
begin
  return forall s: Server do term[s] > t end;
end;

-- R41: whether a Q2 of the membership in the leader's log has accepted n at t.
function HasQ2(t: Term; n: Index): boolean;
var s: Set; new: Set; old: Set;
begin
  for p: Server do
    s[p] := accd[t][p] > n;
  end;
  if MUTATION = SELFCOUNT then
    Governing(elog[t], new, old);
    if !new[owner[t]] & !old[owner[t]] then
      return s[owner[t]] & SizeOfBoth(s, new) + 1 >= Q2Size(SizeOf(new));
    end;
  end;
  return IsQuorum(s, elog[t], false);
end;

-- How far the log of leader t is chosen.
function Chosen(t: Term): Index;
var k: Index;
begin
  if !Led(t) then return 0; end;
  if Left(t) then return elog[t].n; end;
  k := 0;
  if cmt[t] <= elog[t].n then k := cmt[t]; end;
  for n: Place do
    if n > k & n <= elog[t].n & HasQ2(t, n) then k := n; end;
  end;
  return k;
end;

-- Changes of the state --------------------------------------------------------

procedure NoPromises(t: Term);
begin
  for p: Server do
    prom[t][p].given := false;
    prom[t][p].acc := 0;
    Empty(prom[t][p].log);
  end;
  undefine pull[t];
end;

-- What becomes of the candidacy or leadership of s when it ends.
procedure StepDown(s: Server);
begin
  if Leads(s) then
    phase[term[s]] := DONE;
  elsif Runs(s) then
    phase[term[s]] := DEAD;
    NoPromises(term[s]);
  end;
end;

-- What stays of a term that everybody has left is what was chosen in it.
procedure Forget();
var k: Index;
begin
  for t: Term do
    -- Once: a leader has accepted its own log.
    if Left(t) & phase[t] != DEAD & (!Led(t) | accd[t][owner[t]] > 0) then
      if Led(t) then
        k := 0;
        if cmt[t] <= elog[t].n then k := cmt[t]; end;
        for n: Place do
          if n > k & n <= elog[t].n & HasQ2(t, n) then k := n; end;
        end;
        Cut(elog[t], k);
        phase[t] := DONE;
      else
        phase[t] := DEAD;
      end;
      NoPromises(t);
      base[t] := 0;
      for p: Server do accd[t][p] := 0; end;
    end;
  end;
end;

-- s is in `now` then.
procedure SetLog(s: Server; l: Log; now: Term);
begin
  for t: Term do
    if Led(t) & t <= now & Same(elog[t], log[s], Chosen(t)) then
      assert "I14 nothing chosen is cut" Same(elog[t], l, Chosen(t));
    end;
  end;
  log[s] := l;
end;

-- Enters term t because of somebody else's message.
procedure Adopt(s: Server; t: Term);
begin
  if t > term[s] then
    StepDown(s);
    term[s] := t;
  end;
end;

-- Phase 1 ---------------------------------------------------------------------

-- R16, as far as safety is concerned: it was a voter at some time, by its log.
function MayCampaign(s: Server): boolean;
begin
  return founders[s] | exists i: Place do log[s].e[i].new[s] | log[s].e[i].old[s] end;
end;

ruleset t: Term do
  rule "Campaign"
    phase[t] = FREE & t > term[owner[t]] & Synced(owner[t]) & MayCampaign(owner[t])
  ==>
  begin
    StepDown(owner[t]);
    term[owner[t]] := t;
    phase[t] := PREP;
    Forget();
  end;
end;

ruleset s: Server; t: Term do
  rule "Promise"
    phase[t] != FREE & owner[t] != s & Synced(s) &
    (t > term[s] | (t = term[s] & phase[t] = PREP & !prom[t][s].given))
  ==>
  begin
    Adopt(s, t);
    if phase[t] = PREP then
      prom[t][s].given := true;
      prom[t][s].acc := acc[s];
      prom[t][s].log := log[s];
    end;
    Forget();
  end;
end;

-- Whether the log (a, l) is as good as that of (c, m), P4.
function Geq(a: Round; l: Log; c: Round; m: Log): boolean;
begin
  return a > c | (a = c & l.n >= m.n);
end;

-- Whether candidate s has promises of a Q1 none of which is better than (a, l).
function IsBest(s: Server; t: Term; a: Round; l: Log): boolean;
var set: Set; new: Set; old: Set; ok: boolean;
begin
  if !Geq(a, l, acc[s], log[s]) then return false; end;
  Governing(log[s], new, old);
  for p: Server do
    ok := p = s | (prom[t][p].given &
                   (Geq(a, l, prom[t][p].acc, prom[t][p].log) |
                    (MUTATION = OUTSIDE & !new[p] & !old[p])));
    set[p] := ok;
  end;
  return IsQuorum(set, log[s], true);
end;

ruleset b: Server; t: Term do
  rule "PullChunk"
    Runs(owner[t]) & term[owner[t]] = t & prom[t][b].given &
    log[owner[t]] != prom[t][b].log &
    ((!isundefined(pull[t]) & pull[t] = b) |
     (isundefined(pull[t]) & IsBest(owner[t], t, prom[t][b].acc, prom[t][b].log)))
  ==>
  var l: Log; j: Index;
  begin
    l := log[owner[t]];
    j := Join(l, prom[t][b].log);
    if j < l.n then
      Cut(l, j);
    else
      Append(l, prom[t][b].log.e[j + 1]);
    end;
    SetLog(owner[t], l, t);
    pull[t] := b;
    if l = prom[t][b].log & MUTATION != ONCE & MUTATION != KEEPBEST then
      undefine pull[t];
    end;
    Forget();
  end;
end;

ruleset t: Term do
  rule "PullEnd"
    Runs(owner[t]) & term[owner[t]] = t & !isundefined(pull[t])
  ==>
  begin
    undefine pull[t];
    Forget();
  end;
end;

-- Whether what candidate s of t has is the best log.
function HasBest(s: Server; t: Term): boolean;
var set: Set;
begin
  if isundefined(pull[t]) then
    if IsBest(s, t, acc[s], log[s]) then return true; end;
    for b: Server do
      if prom[t][b].given & log[s] = prom[t][b].log &
         IsBest(s, t, prom[t][b].acc, prom[t][b].log) then
        return true;
      end;
    end;
    return false;
  end;
  if log[s] != prom[t][pull[t]].log then return false; end;
  if MUTATION = ONCE then return true; end;
  for p: Server do
    set[p] := p = s | prom[t][p].given;
  end;
  return MUTATION = KEEPBEST & IsQuorum(set, log[s], true);
end;

ruleset t: Term do
  rule "Elect"
    Runs(owner[t]) & term[owner[t]] = t & HasBest(owner[t], t)
  ==>
  begin
    acc[owner[t]] := t;
    phase[t] := LEAD;
    NoPromises(t);
    elog[t] := log[owner[t]];
    base[t] := log[owner[t]].n;
    accd[t][owner[t]] := log[owner[t]].n + 1;
    for u: Term do
      if u < t & cmt[u] > cmt[t] then cmt[t] := cmt[u]; end;
    end;
    Forget();
  end;
end;

-- Phase 2, leader -------------------------------------------------------------

procedure Add(t: Term; e: Entry);
begin
  Append(elog[t], e);
  if LATE = 0 then
    SetLog(owner[t], elog[t], t);
    accd[t][owner[t]] := elog[t].n + 1;
  end;
end;

ruleset t: Term do
  rule "Propose"
    VALUES = 1 & Leads(owner[t]) & term[owner[t]] = t & elog[t].n < LENGTH
  ==>
  var e: Entry;
  begin
    ClearEntry(e);
    e.t := t;
    Add(t, e);
    Forget();
  end;
end;

-- P10.
function MayChange(t: Term): boolean;
begin
  if MUTATION = P10COMMIT then
    return cmt[t] >= base[t] & cmt[t] >= GovIndex(elog[t]);
  end;
  return HasQ2(t, base[t]) & (MUTATION = P10CHAIN | cmt[t] >= GovIndex(elog[t]));
end;

procedure Change(t: Term; new: Set; old: Set);
var e: Entry;
begin
  e.t := t;
  e.new := new;
  e.old := old;
  Add(t, e);
  Forget();
end;

function IsJoint(l: Log): boolean;
begin
  return GovIndex(l) > 0 & l.e[GovIndex(l)].new != l.e[GovIndex(l)].old;
end;

-- One voter is added or removed.
ruleset t: Term; v: Server do
  rule "ChangeOne"
    Leads(owner[t]) & term[owner[t]] = t & elog[t].n < LENGTH &
    MayChange(t) & !IsJoint(elog[t])
  ==>
  var now: Set; old: Set; then_: Set;
  begin
    Governing(elog[t], now, old);
    then_ := now;
    then_[v] := !now[v];
    if SizeOf(then_) > 0 & OneStep(now, then_) then
      Change(t, then_, then_);
    end;
  end;
end;

-- Two voters change, by a joint membership (R43); one, where Q5 asks for it.
ruleset t: Term; v: Server; w: Server do
  rule "ChangeJoint"
    (JOINT = 1 | MUTATION = ANYSTEP) & Leads(owner[t]) & term[owner[t]] = t &
    elog[t].n < LENGTH & MayChange(t) & !IsJoint(elog[t])
  ==>
  var now: Set; old: Set; then_: Set;
  begin
    Governing(elog[t], now, old);
    then_ := now;
    then_[v] := !now[v];
    then_[w] := !now[w];
    if SizeOf(then_) > 0 then
      if OneStep(now, then_) then
        Change(t, then_, then_);
      elsif JOINT = 1 then
        Change(t, then_, now);
      end;
    end;
  end;
end;

ruleset t: Term do
  rule "LeaveJoint"
    Leads(owner[t]) & term[owner[t]] = t & elog[t].n < LENGTH &
    MayChange(t) & IsJoint(elog[t])
  ==>
  var new: Set; old: Set;
  begin
    Governing(elog[t], new, old);
    Change(t, new, new);
  end;
end;

ruleset t: Term do
  rule "LeaderSync"
    Leads(owner[t]) & term[owner[t]] = t & log[owner[t]].n < elog[t].n
  ==>
  var l: Log;
  begin
    l := log[owner[t]];
    Append(l, elog[t].e[l.n + 1]);
    SetLog(owner[t], l, t);
    accd[t][owner[t]] := l.n + 1;
    Forget();
  end;
end;

ruleset t: Term; n: Place do
  rule "LeaderCommit"
    Leads(owner[t]) & term[owner[t]] = t & n > cmt[t] & n <= elog[t].n & HasQ2(t, n)
  ==>
  begin
    cmt[t] := n;
    Forget();
  end;
end;

-- Phase 2, follower -----------------------------------------------------------

function Hears(s: Server; t: Term): boolean;
begin
  return Led(t) & owner[t] != s & term[s] <= t & Synced(s);
end;

procedure Answer(s: Server; t: Term; k: Index);
begin
  if acc[s] = t & accd[t][s] < k + 1 then accd[t][s] := k + 1; end;
end;

ruleset s: Server; t: Term do
  rule "FollowerCut"
    Hears(s, t) & Reach(s, t) < log[s].n & Reach(s, t) < elog[t].n
  ==>
  var l: Log;
  begin
    l := log[s];
    Cut(l, Reach(s, t));
    SetLog(s, l, t);
    Adopt(s, t);
    Forget();
  end;

  rule "FollowerAdd"
    Hears(s, t) & Reach(s, t) = log[s].n & Reach(s, t) < elog[t].n
  ==>
  var l: Log;
  begin
    l := log[s];
    Append(l, elog[t].e[l.n + 1]);
    SetLog(s, l, t);
    Answer(s, t, l.n);
    Adopt(s, t);
    Forget();
  end;

  rule "FollowerCutTail"
    Led(t) & owner[t] != s & term[s] = t & acc[s] < t & Reach(s, t) >= base[t] &
    Reach(s, t) < log[s].n & log[s].e[Reach(s, t) + 1].t < t
  ==>
  var l: Log;
  begin
    l := log[s];
    Cut(l, Reach(s, t));
    SetLog(s, l, t);
    Forget();
  end;

  rule "FollowerAccept"
    Led(t) & owner[t] != s & term[s] = t & acc[s] < t &
    (Reach(s, t) >= base[t] | (MUTATION = EARLY & Reach(s, t) > 0)) &
    (Reach(s, t) = log[s].n | log[s].e[Reach(s, t) + 1].t >= t)
  ==>
  begin
    acc[s] := t;
    Answer(s, t, Reach(s, t));
    Forget();
  end;
end;

ruleset s: Server do
  rule "Crash"
    Leads(s) | Runs(s)
  ==>
  begin
    StepDown(s);
    Forget();
  end;
end;

-- Start -------------------------------------------------------------------------

ruleset w: Server; x: Server; y: Server; z: Server do
  startstate
  var n: Size;
  begin
    n := 0;
    for s: Server do
      founders[s] := n < FOUNDERS;
      if n < FOUNDERS then n := n + 1; end;
      term[s] := 0;
      acc[s] := 0;
      Empty(log[s]);
    end;
    for t: Term do
      owner[t] := w;
      if t = 2 then owner[t] := x; end;
      if t = 3 then owner[t] := y; end;
      if t > 3 then owner[t] := z; end;
      phase[t] := FREE;
      NoPromises(t);
      Empty(elog[t]);
      base[t] := 0;
      cmt[t] := 0;
      for s: Server do accd[t][s] := 0; end;
    end;
  end;
end;

-- Invariants --------------------------------------------------------------------

invariant "I1 one value is chosen per index"
  forall t: Term do forall u: Term do
    !Led(t) | !Led(u) | cmt[t] > cmt[u] | Same(elog[t], elog[u], cmt[t])
  end end;

invariant "I8 accepted_round is below the term"
  forall s: Server do acc[s] <= term[s] end;

invariant "I9 accepted_round stands for the leader's log through L"
  forall s: Server do
    acc[s] = 0 | acc[s] != term[s] |
    (IsPrefix(log[s], elog[acc[s]]) & log[s].n >= base[acc[s]])
  end;

-- A term that everybody has left was looked at before.
invariant "I10 what is chosen is in every log elected later"
  forall t: Term do forall u: Term do
    t >= u | !Led(t) | !Led(u) | Left(u) | Same(elog[t], elog[u], Chosen(t))
  end end;

function Matching(l: Log; m: Log): boolean;
begin
  return forall k: Place do
    k > l.n | k > m.n | l.e[k].t != m.e[k].t | Same(l, m, k)
  end;
end;

invariant "I12 log matching"
  forall s: Server do
    (forall r: Server do Matching(log[s], log[r]) end) &
    (forall t: Term do Matching(log[s], elog[t]) end)
  end;

-- How many changes in l nobody has chosen.
function Open(l: Log): Index;
var k: Index; n: Index;
begin
  k := 0;
  for i: Place do
    if exists t: Term do Led(t) & i <= Chosen(t) & Same(elog[t], l, i) end then k := i; end;
  end;
  n := 0;
  for i: Place do
    if i > k & i <= l.n & IsChange(l.e[i]) then n := n + 1; end;
  end;
  return n;
end;

invariant "I17 at most one change is open"
  (forall s: Server do Open(log[s]) <= 1 end) &
  (forall t: Term do Open(elog[t]) <= 1 end);

invariant "P5 what was promised to be committed is in the log"
  forall t: Term do phase[t] != LEAD | cmt[t] <= elog[t].n end;
