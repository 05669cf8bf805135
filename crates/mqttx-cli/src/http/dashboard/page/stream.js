// The stream of what is shown. It is read by hand, since EventSource sends no token.

import { send } from "./api.js";

const PATH = "/api/v1/dashboard";
/** The daemon says something every second; after this silence the connection is given up. */
const SILENCE = 10_000;
const FIRST_WAIT = 500;
const LONGEST_WAIT = 5000;

/**
 * Reads for ever: `take(message)` for each one, `tell(link, reason)` when the connection changes: `connecting`, `live`, `lost`.
 */
export async function follow(take, tell) {
  let wait = FIRST_WAIT;
  tell("connecting", "");
  for (;;) {
    let reason = "the daemon does not answer";
    try {
      reason = await read((message) => {
        if (message.hello) {
          wait = FIRST_WAIT;
          tell("live", "");
        }
        take(message);
      });
    } catch {
      // The network failed, or the silence was too long: that is what `reason` says.
    }
    tell("lost", reason);
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }
}

/** One connection; returns why it ended. */
async function read(take) {
  const giveUp = new AbortController();
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => giveUp.abort(), SILENCE);
  };
  try {
    const answer = await send("GET", PATH, { signal: giveUp.signal });
    if (!answer.ok) {
      const body = await answer.json().catch(() => null);
      return body?.error ?? `HTTP ${answer.status}`;
    }
    heard();
    let rest = "";
    const chunks = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await chunks.read();
      if (done) return "the daemon ended the connection";
      heard();
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      for (const message of messages) {
        if (message.startsWith("data: ")) given(take, message.slice(6));
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

/** A fault of the page is no fault of the connection: it goes on, and the console has it. */
function given(take, message) {
  try {
    take(JSON.parse(message));
  } catch (error) {
    console.error(error);
  }
}
