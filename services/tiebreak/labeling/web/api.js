// The API as functions. Every write carries an Idempotency-Key, and what is sent again by itself keeps its key: a lost answer is harmless.

const TOKEN = "tiebreak.token";

/** Take a token out of `#token=...` at once: it must not stay in the address bar, the history or a screenshot. */
export function adoptToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) {
    sessionStorage.setItem(TOKEN, found);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(TOKEN);
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN, token.trim());
}

export function forgetToken() {
  sessionStorage.removeItem(TOKEN);
}

/** What the server said no with. `code` is the end of the problem's type; `status` 0: it did not answer at all. */
export class Problem extends Error {
  constructor(status, code, detail, retryAfterS) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** A random key; `crypto.randomUUID` is missing where the page is not a secure context. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

async function send(method, path, { body, key, keepalive = false, signal } = {}) {
  const headers = { authorization: `Bearer ${sessionStorage.getItem(TOKEN) ?? ""}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (method !== "GET") headers["idempotency-key"] = key ?? newKey();
  let response;
  try {
    response = await fetch(path, {
      method, headers, keepalive, signal, body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "omit", cache: "no-store", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "offline", "The server cannot be reached.", 2);
  }
  if (response.status === 204) return null;
  const said = await response.json().catch(() => ({}));
  if (response.ok) return said;
  const retryAfterS = Number(response.headers.get("retry-after")) || 1;
  throw new Problem(response.status, String(said.type ?? "").split(":").pop(), String(said.detail ?? "It did not work."), retryAfterS);
}

const at = encodeURIComponent;

export const api = {
  project: (name) => send("GET", `/v1/projects/${at(name)}`),
  claim: (name, max, waitMs, signal) => send("POST", `/v1/projects/${at(name)}/tasks:claim`, { body: { max, wait_ms: waitMs }, signal }),
  submit: (task, body, key, next = 0) => send("POST", `/v1/tasks/${at(task)}/annotations${next ? `?next=${next}` : ""}`, { body, key }),
  skip: (task, body, key) => send("POST", `/v1/tasks/${at(task)}:skip`, { body, key }),
  undo: (annotation, key) => send("POST", `/v1/annotations/${at(annotation)}:undo`, { key }),
  answers: (task) => send("GET", `/v1/tasks/${at(task)}/answers`),
  renew: (lease) => send("POST", `/v1/leases/${at(lease)}:renew`),
  release: (lease) => send("POST", `/v1/leases/${at(lease)}:release`, { keepalive: true }),
  proposals: (name) => send("GET", `/v1/projects/${at(name)}/gold/proposals`),
  keepGold: (name, body) => send("POST", `/v1/projects/${at(name)}/gold`, { body }),
  declineGold: (name, task, body) => send("POST", `/v1/projects/${at(name)}/gold/proposals/${at(task)}:decline`, { body }),
  addClass: (name, added) => send("POST", `/v1/projects/${at(name)}/classes`, { body: { name: added } }),
};
