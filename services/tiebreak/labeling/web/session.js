// What one person holds and has sent. Answers leave in order through an outbox that survives a lost connection; the next task is
// already here when one is answered. Knows nothing of the page: it calls `on` with what changed.

import { api, newKey } from "./api.js";

const PREFETCH = 3;
const WAIT_MS = 20_000;
const MAX_BACKOFF_S = 15;
const IDLE_S = 120;

// Why a task left the hands of whoever held it, by the end of the problem's type.
const LEFT = {
  erased: "That question is gone: what it was about was erased.",
  expired: "The time for that question is over.",
  withdrawn: "That question was taken back: it is decided by now.",
  settled: "That question was settled meanwhile.",
};
const ELSEWHERE = "That question went to somebody else.";

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

export class Session {
  /** `left`: what the same person had not sent yet when a token ended (`{name, outbox, spent}`). */
  constructor(project, on, left = null) {
    this.left = left;
    this.name = project;
    this.on = on;
    this.info = null;
    this.held = [];
    this.outbox = [];
    this.spent = new Set(); // leases that were answered: a claim's answer may be older than the answer to a task
    this.last = null;
    this.answered = 0;
    this.stopped = false;
    this.claiming = false;
    this.sending = null;
    this.activeAt = Date.now();
  }

  get current() {
    return this.held[0] ?? null;
  }

  /** Read the project, then keep tasks at hand and leases alive until `stop`. Throws the Problem of the first request. */
  async start() {
    this.info = await api.project(this.name);
    this.answered = this.info.you.answered;
    this.on.ready(this.info);
    if (this.left?.name === this.info.you.name) Object.assign(this, { outbox: this.left.outbox, spent: this.left.spent });
    await this.flush();
    this.fill();
    this.heart = setInterval(() => this.beat(), (this.info.lease_s * 1000) / 3);
  }

  stop() {
    this.stopped = true;
    clearInterval(this.heart);
    this.waiting?.abort();
  }

  /** A sign of life: without one for a while, leases are left to expire, so that nothing waits for somebody who is gone. */
  active() {
    const idle = this.idle;
    this.activeAt = Date.now();
    if (idle && this.info) this.fill(true);
  }

  get idle() {
    return Date.now() - this.activeAt > Math.max(IDLE_S, this.info?.lease_s ?? 0) * 1000;
  }

  async beat() {
    if (this.idle || document.hidden) return;
    for (const task of [...this.held]) {
      try {
        task.in_review = (await api.renew(task.lease.id)).in_review;
      } catch (problem) {
        if (problem.status === 401) return this.on.signedOut();
        if (!problem.passing) this.lose(task, problem.code);
      }
    }
    this.on.beat();
  }

  /** A task that is not ours any more; `why` as the server said it. What was on the screen goes at once, with a word. */
  lose(task, why) {
    const shown = task === this.current;
    this.held = this.held.filter((other) => other !== task);
    if (shown) {
      this.on.swapped(`${LEFT[why] ?? ELSEWHERE}${this.current ? " Here is the next one." : ""}`);
      this.on.task(this.current);
    }
    this.fill();
  }

  /** What a claim did not name any more left the screen: only the lease can tell why. */
  async explain(task) {
    const problem = await api.renew(task.lease.id).then(() => null, (error) => error);
    if (problem && !problem.passing && LEFT[problem.code]) this.on.notice(LEFT[problem.code]);
  }

  /** Keep `PREFETCH` tasks at hand. The server answers with everything we hold, so repeating a claim is harmless. */
  async fill(again = false) {
    if (this.claiming || this.stopped || (!again && this.held.length >= PREFETCH)) return;
    this.claiming = true;
    let backoffS = 1;
    let waitMs = 0; // the first answer tells at once how things are; only then it pays to wait
    try {
      do {
        try {
          const began = performance.now();
          const handed = await this.claim(waitMs);
          if (waitMs && performance.now() - began < 1000) await pause(1); // a server that stops does not let us wait
          // Why there is nothing may change meanwhile, and only an answer tells: the first waits are short.
          waitMs = Math.min(WAIT_MS, waitMs ? waitMs * 4 : 1000);
          if (handed && !this.held.length) {
            // All it handed out is answered already, the answer still on its way: once it is there, ask at once how things are.
            await this.flush();
            await pause(0.1);
            waitMs = 0;
          }
          backoffS = 1;
          this.on.online(true, this.outbox.length);
        } catch (problem) {
          if (this.stopped || problem.name === "AbortError") return;
          if (problem.status === 401) return this.on.signedOut();
          if (!problem.passing) return this.on.resting(problem.message);
          this.on.online(false, this.outbox.length, problem.status === 429);
          await pause(Math.max(backoffS, problem.retryAfterS ?? 0));
          backoffS = Math.min(backoffS * 2, MAX_BACKOFF_S);
          waitMs = 0; // until it has answered, the page says that it does not
        }
      } while (!this.stopped && !this.held.length);
    } finally {
      this.claiming = false;
    }
  }

  /** One claim; how many tasks the server says are ours. */
  async claim(waitMs) {
    this.waiting = new AbortController();
    const want = Math.min(10, PREFETCH + this.outbox.length);
    return this.take(await api.claim(this.name, want, waitMs, this.waiting.signal));
  }

  /** What a claim said is now what we hold. */
  take(said) {
    const before = this.current;
    const known = new Map(this.held.map((task) => [task.task_id, task]));
    const fresh = said.tasks.filter((task) => !this.spent.has(task.lease.id) && !this.owed(task));
    this.held = fresh.map((task) => {
      const old = known.get(task.task_id);
      if (!old) return { ...task, shownAt: null };
      const news = task.in_review && !old.in_review && old === before;
      Object.assign(old, { lease: task.lease, in_review: task.in_review });
      if (news) this.on.beat();
      return old;
    });
    // What is on the screen stays there, whatever the order of the answer.
    if (before && this.held.includes(before)) this.held = [before, ...this.held.filter((task) => task !== before)];
    else if (before) {
      this.on.swapped(`${ELSEWHERE}${this.current ? " Here is the next one." : ""}`);
      this.explain(before);
    }
    // Somebody added a class, or the project file changed: what is on the screen must be what is asked.
    if (said.tasks.some((task) => task.answer_schema_version !== this.info.answer_schema_version)) this.learn();
    if (!this.current) this.on.resting(said.reason ?? "loading");
    else if (this.current !== before) this.on.task(this.current);
    return said.tasks.length;
  }

  /** Whether `task`, whose lease had run out, was given to us anew with our answer still on its way: the answer takes the new lease. */
  owed(task) {
    const item = this.outbox.find((one) => one.task.task_id === task.task_id);
    if (!item) return false;
    item.body = { ...item.body, lease_token: task.lease.token };
    this.spent.add(task.lease.id);
    return true;
  }

  /** Read the project anew. Not now is no harm: the next claim tells again. */
  async learn() {
    try {
      Object.assign(this.info, await api.project(this.name));
      this.on.changed(this.info);
    } catch (problem) {
      if (problem.status === 401) this.on.signedOut();
    }
  }

  /** Answer (or, with `value` null, skip) what is on the screen, and show the next. */
  answer(value, { flagged = false, comment = "" } = {}) {
    const task = this.current;
    if (!task) return;
    this.held.shift();
    const lead = task.shownAt ? Math.min(86_400, (performance.now() - task.shownAt) / 1000) : null;
    const body = { lease_token: task.lease.token, flagged, lead_time_s: lead };
    const item = { task, value, key: newKey(), annotation: null };
    const seen = this.info.answer_schema_version;
    if (value === null) item.body = { ...body, reason: comment.slice(0, 500) };
    else item.body = { ...body, ...(typeof value === "string" ? { value } : { answer: value }), comment, answer_schema_version: seen };
    this.outbox.push(item);
    this.spent.add(task.lease.id);
    this.last = item;
    if (this.current) this.on.task(this.current);
    else this.on.resting("loading");
    this.on.answered(item, this.info.undo_s);
    this.flush().then(() => this.fill());
  }

  /** Send what waits, in order, one at a time. */
  flush() {
    this.sending ??= this.drain().finally(() => { this.sending = null; });
    return this.sending;
  }

  async drain() {
    let backoffS = 1;
    while (this.outbox.length && !this.stopped) {
      const item = this.outbox[0];
      const sent = item.body;
      try {
        item.inFlight = true;
        // The last answer in line brings the tasks after it, unless a claim is on its way already: one request less.
        const next = this.outbox.length === 1 && !this.claiming ? PREFETCH : 0;
        const call = item.value === null ? api.skip : api.submit;
        item.annotation = await call(item.task.task_id, item.body, item.key, next);
        if (item.annotation.next && !this.claiming && !this.stopped) this.take(item.annotation.next);
        this.count(item.value === null ? 0 : 1);
        if (item.annotation.state === "late") this.on.notice("Your time on that task had run out. The answer is kept, marked as late.");
      } catch (problem) {
        if (problem.status === 401) return this.on.signedOut();
        if (problem.passing) {
          this.on.online(false, this.outbox.length, problem.status === 429);
          await pause(Math.max(backoffS, problem.retryAfterS ?? 0));
          backoffS = Math.min(backoffS * 2, MAX_BACKOFF_S);
          continue;
        }
        // A claim of ours made the lease stale, and what it says of the new one may be a moment behind. The key stays: it was not used.
        for (let turn = 0; problem.code === "stale_lease" && this.claiming && item.body === sent && turn < 10; turn++) await pause(0.1);
        if (problem.code === "stale_lease" && item.body !== sent) continue;
        this.on.notice(LEFT[problem.code] ? `${LEFT[problem.code]} Your answer to it does not count.` : problem.message);
        if (this.last === item) this.forget();
      }
      backoffS = 1;
      this.outbox.shift();
      this.on.online(true, this.outbox.length);
    }
  }

  count(change) {
    this.answered = Math.max(0, this.answered + change);
    this.on.counted(this.answered);
  }

  forget() {
    this.last = null;
    this.on.undoable(false);
  }

  /** Take the last answer back: it is on the screen again, and what was there waits behind it. */
  async undo() {
    const item = this.last;
    if (!item) return;
    this.forget();
    await this.flush();
    if (!item.annotation) return;
    try {
      const said = await api.undo(item.annotation.annotation_id, newKey());
      if (item.value !== null) this.count(-1);
      if (!said.task) return this.on.notice("The answer is taken back. The task is in other hands already.");
      const inReview = said.task.in_review || item.task.in_review; // the log may not have brought it back yet
      this.held = [{ ...said.task, in_review: inReview, shownAt: null, again: true }, ...this.held.filter((task) => task.task_id !== said.task.task_id)];
      this.on.undone(item);
      this.on.task(this.current);
    } catch (problem) {
      if (problem.status === 401) return this.on.signedOut();
      this.on.notice(problem.message);
    }
  }

  async addClass(name) {
    const made = (await api.addClass(this.name, name)).name;
    await this.learn();
    if (!this.info.classes.includes(made)) this.info.classes.push(made);
    return made;
  }

  /** The tab closes: give back what is held, so that it waits for nobody. */
  leave() {
    for (const task of this.held) api.release(task.lease.id).catch(() => {});
  }
}
