// Requests to the daemon, with the token if it wants one.

const KEY = "mqttx-token";
let asking = null;
let ask = async () => null;

/** What asks the user: `(wasWrong) => Promise<string>`. */
export function askWith(asker) {
  ask = asker;
}

/** A request that failed, with the daemon's words. */
export class ApiError extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

/** The answer to a request. A token is asked for when the daemon wants one, as often as it is wrong. */
export async function send(method, path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const headers = token === null ? {} : { Authorization: `Bearer ${utf8(token)}` };
    const answer = await fetch(path, { method, headers, cache: "no-store", ...options });
    if (answer.status !== 401) return answer;
    // Another request may have brought another token meanwhile.
    if (sessionStorage.getItem(KEY) === token) await askOnce(token !== null);
  }
}

/** The text as a header takes it: a character for each byte. */
const utf8 = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** The JSON of an answer. */
export async function order(method, path) {
  let answer;
  try {
    answer = await send(method, path);
  } catch {
    throw new ApiError(0, "the daemon does not answer", null);
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new ApiError(answer.status, body?.error ?? `HTTP ${answer.status}`, body);
  return body;
}

function askOnce(wasWrong) {
  asking ??= ask(wasWrong)
    .then((token) => sessionStorage.setItem(KEY, token))
    .finally(() => {
      asking = null;
    });
  return asking;
}
